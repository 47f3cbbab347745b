"""Predict every person of a set of crops, and measure the predictions with COCO's OKS AP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sshpe_lib import geometry, progress
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.codec import Codec
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.top_down import Crops
from sshpe_lib.evaluate.evaluation import Evaluation, answering
from sshpe_lib.evaluate.flip import flip_test
from sshpe_lib.evaluate.results import rescore, to_results
from sshpe_lib.skeleton import Skeleton


@dataclass(frozen=True)
class TopDownEvaluation(Evaluation):
    """The reference's protocol: one crop a box, the codec's decoding, rescoring, OKS-NMS, average precision."""

    crops: Crops
    codec: Codec
    batch_size: int = 64
    flip: bool = False
    nms: float = 0.9
    score_threshold: float = 0.2

    @property
    def skeleton(self) -> Skeleton:
        return self.crops.instances.skeleton

    @torch.no_grad()
    def predict(self, networks: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
        """Keypoints of every crop in image pixels with their scores, (N, K, 3)."""
        predicted = {name: torch.zeros(len(self.crops), len(self.skeleton), 3) for name in networks}
        starts = range(self.rank * self.batch_size, len(self.crops), self.world * self.batch_size)
        bar = progress.bar(len(starts), "predict", unit="batch", show=self.progress)
        with answering(networks, self.device):
            for start in starts:
                rows = np.arange(start, min(start + self.batch_size, len(self.crops)))
                images = normalize(self.crops.batch(rows).image.to(self.device))
                for name, network in networks.items():
                    with self.autocast():
                        heatmaps = self._heatmaps(network, images)
                    points, scores = self.codec.decode(heatmaps.float())
                    predicted[name][rows] = torch.cat([points, scores[..., None]], dim=-1).cpu()
                bar.update()
        bar.close()
        return {name: self._to_image(self.reduce(crop).numpy()) for name, crop in predicted.items()}

    def _heatmaps(self, network: nn.Module, images: Tensor) -> Tensor:
        if not self.flip:
            return network(images)
        return flip_test(
            network, images, self.skeleton.flip_order,
            shift=not self.codec.unbiased, flip=self.codec.flip,
        )  # fmt: skip

    def _to_image(self, predicted: np.ndarray) -> np.ndarray:
        predicted = predicted.astype(np.float64)
        for row, (center, size) in enumerate(zip(self.crops.center, self.crops.size, strict=True)):
            matrix = self.crops.crop_matrix(center, size)
            predicted[row, :, :2] = geometry.transform_points(
                predicted[row, :, :2], geometry.invert_affine(matrix)
            )
        return predicted

    def results(self, predicted: np.ndarray) -> list[dict]:
        """COCO results of (N, K, 3) predictions: rescored, suppressed by OKS-NMS."""
        instances: Instances = self.crops.instances
        scores = rescore(predicted[..., 2], instances.box_scores, self.score_threshold)
        return to_results(
            instances.image_ids,
            predicted[..., :2],
            predicted[..., 2],
            scores,
            self.crops.size.prod(axis=1),
            category_id=self.ground_truth["categories"][0]["id"],
            sigmas=self.skeleton.sigmas,
            nms=self.nms,
        )
