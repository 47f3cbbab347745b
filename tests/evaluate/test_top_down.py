"""Crops measured: how the networks are asked, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.top_down import Crops
from sshpe_lib.evaluate.flip import flip_test
from sshpe_lib.evaluate.oks import oks_matrix
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.geometry import flip_heatmaps
from sshpe_lib.skeleton import COCO17
from tests import toy

SIZES = {"input_size": (48, 64), "heatmap_size": (12, 16)}


def evaluation(
    people: Instances, codec: Codec | None = None, category: int = 1, **settings
) -> TopDownEvaluation:
    codec = codec or MSRAHeatmap(**SIZES)
    crops = Crops(people, SIZES["input_size"], unbiased=codec.unbiased)
    truth = toy.ground_truth(people, category)
    return TopDownEvaluation(crops, codec, ground_truth=truth, **settings)


class Noise(nn.Module):
    """Answers every image with the same heatmaps, which are not symmetric, and only in evaluation mode."""

    def __init__(self, channels: int = 17):
        super().__init__()
        self.maps = torch.rand(1, channels, 16, 12, generator=torch.Generator().manual_seed(0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return self.maps.expand(len(images), -1, -1, -1)


@pytest.mark.parametrize("training", [True, False])
def test_networks_predict_in_evaluation_mode_and_are_left_in_theirs(tmp_path: Path, training: bool) -> None:
    network = Noise().train(training)
    evaluation(toy.instances(tmp_path, 3)).predict({"noise": network})
    assert network.training == training


class Flipped(Noise):
    """Answers with its own flip test."""

    def __init__(self, shift: bool, flip: Callable = flip_heatmaps, channels: int = 17):
        super().__init__(channels)
        self.shift, self.flip = shift, flip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return flip_test(super().forward, images, COCO17.flip_order, shift=self.shift, flip=self.flip)


@pytest.mark.parametrize(("codec", "shift"), [(MSRAHeatmap(**SIZES), True), (UDPHeatmap(**SIZES), False)])
def test_mirrored_answers_are_shifted_where_the_codec_is_biased(
    tmp_path: Path, codec: Codec, shift: bool
) -> None:
    made = evaluation(toy.instances(tmp_path, 1), codec)
    found = replace(made, flip=True).predict({"noise": Noise()})["noise"]
    np.testing.assert_array_equal(found, made.predict({"flipped": Flipped(shift)})["flipped"])


def test_mirrored_offsets_are_turned_round_too(tmp_path: Path) -> None:
    codec = UDPHeatmap(**SIZES, target="offset")
    made = evaluation(toy.instances(tmp_path, 1), codec)
    found = replace(made, flip=True).predict({"noise": Noise(3 * 17)})["noise"]
    flipped = Flipped(shift=False, flip=codec.flip, channels=3 * 17)
    np.testing.assert_array_equal(found, made.predict({"flipped": flipped})["flipped"])


def predicted(people: int) -> np.ndarray:
    """Keypoints of people in one place, (P, 17, 3), of scores from 0.3 to 0.9."""
    found = np.zeros((people, 17, 3))
    found[..., 2] = np.linspace(0.3, 0.9, 17)
    return found


def test_a_score_is_the_mean_of_joints_above_the_threshold_times_that_of_the_box(tmp_path: Path) -> None:
    people = replace(toy.instances(tmp_path, 1), box_scores=np.array([0.5], np.float32))
    scores = np.linspace(0.3, 0.9, 17)
    (result,) = evaluation(people, score_threshold=0.6).results(predicted(1))
    assert result["score"] == pytest.approx(0.5 * scores[scores > 0.6].mean())


@pytest.mark.parametrize(("above", "left"), [(-0.01, 1), (0.01, 2)])
def test_two_predictions_are_one_person_above_an_oks_in_the_padded_box(
    tmp_path: Path, above: float, left: int
) -> None:
    people = replace(toy.instances(tmp_path, 2), image_ids=np.array([1, 1]))
    found = predicted(2)
    found[1, :, 0] += 4
    made = evaluation(people)
    alike = oks_matrix(found, made.crops.size.prod(axis=1), COCO17.sigmas)[0, 1]
    assert oks_matrix(found, people.areas, COCO17.sigmas)[0, 1] < alike - 0.02
    assert len(replace(made, nms=alike + above).results(found)) == left


def test_results_are_of_the_ground_truths_category(tmp_path: Path) -> None:
    (result,) = evaluation(toy.instances(tmp_path, 1), category=7).results(predicted(1))
    assert result["category_id"] == 7


def test_crowdposes_statistics_have_a_split_by_crowding(tmp_path: Path) -> None:
    people = toy.instances(tmp_path, 3)
    made = evaluation(people, protocol="crowdpose")
    assert "AP-easy" in made.measure(made.results(people.keypoints.astype(float)))
