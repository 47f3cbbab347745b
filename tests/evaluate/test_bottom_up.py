"""Whole images measured: a network that knows the answer must get all of it back, and ranks share the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.data import coco, whole_images
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.bottom_up import MOST, BottomUpEvaluation
from sshpe_lib.evaluate.multi_scale import region
from sshpe_lib.geometry import transform_points
from sshpe_lib.grouping import Grouping
from sshpe_lib.skeleton import COCO17

SIDE = 128
CROWD = SyntheticPeople(images=6, seed=41, height=128, width=256, people=(1, 3), difficulty=0.0)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """(whole images, ground truth) of rendered crowds."""
    annotations = build(CROWD, tmp_path_factory.mktemp("crowd"), progress=False)
    return whole_images.load(annotations, annotations.parent / "images"), coco.ground_truth(annotations)


class Oracle(nn.Module):
    """Answers with the true heatmaps of the images it is asked about in turn, and one tag a person.

    scales: in the order in which it is asked. Mirrored images are answered as the trained network would.
    """

    def __init__(self, images, truth: dict, scales=(1.0,), flip: bool = False, unbiased: bool = False):
        super().__init__()
        self.images, self.unbiased, self.calls = images, unbiased, 0
        self.scales, self.flip = scales, flip
        self.people = [
            np.array([a["keypoints"] for a in truth["annotations"] if a["image_id"] == number]).reshape(
                -1, 17, 3
            )
            for number in images.ids
        ]

    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        ways = 2 if self.flip else 1
        scale, mirrored = self.scales[self.calls // ways % len(self.scales)], bool(self.calls % ways)
        self.calls += 1
        coarse, fine = (self._answer(inputs.shape, scale, stride) for stride in (4, 2))
        outputs = [torch.cat(coarse, dim=1), fine[0]]
        if mirrored:
            order = list(COCO17.flip_order)
            tags = outputs[0][:, 17:].flip(3)[:, order]
            outputs = [
                torch.cat([outputs[0][:, :17].flip(3)[:, order], tags], dim=1),
                outputs[1].flip(3)[:, order],
            ]
        return outputs

    def _answer(self, shape, scale: float, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
        size = shape[3] // stride, shape[2] // stride
        shown = region(self.images.size(0), SIDE, scale, min(self.scales), self.unbiased)
        matrix = replace(shown, size=size).matrix()
        codec = CrowdHeatmap(size, 1.5, self.unbiased)
        points = torch.zeros(shape[0], MOST, 17, 2)
        visible = torch.zeros(shape[0], MOST, 17)
        tags = torch.zeros(shape[0], 17, size[1], size[0])
        for row, people in enumerate(self.people[: shape[0]]):
            points[row, : len(people)] = torch.from_numpy(transform_points(people[..., :2], matrix)).float()
            visible[row, : len(people)] = torch.from_numpy(people[..., 2] > 0).float()
            tags[row] = self._nearest(points[row, : len(people)], visible[row, : len(people)], size)
        return codec.encode(points, visible), tags

    @staticmethod
    def _nearest(points: torch.Tensor, visible: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Everywhere the tag of the person whose joint is nearest, (K, h, w)."""
        y, x = torch.meshgrid(*(torch.arange(side) for side in reversed(size)), indexing="ij")
        apart = torch.hypot(x - points[..., 0, None, None], y - points[..., 1, None, None])
        return 4.0 * apart.masked_fill(visible[..., None, None] == 0, torch.inf).argmin(0)


@pytest.mark.parametrize("unbiased", [False, True], ids=["official", "unbiased"])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 2.0)], ids=["single", "multi"])
@pytest.mark.parametrize("flip", [False, True], ids=["once", "mirrored"])
def test_a_network_that_knows_the_answer_is_measured_as_one(
    crowd, unbiased: bool, scales, flip: bool
) -> None:
    images, truth = crowd
    evaluation = BottomUpEvaluation(
        images, Grouping(unbiased=unbiased), ground_truth=truth,
        side=SIDE, scales=scales, flip=flip, unbiased=unbiased,
    )  # fmt: skip
    oracle = Oracle(images, truth, scales, flip, unbiased)
    found = evaluation.predict({"oracle": oracle})["oracle"]
    assert [len(people) for people, _ in found] == [len(people) for people in oracle.people]
    statistics = evaluation.measure(evaluation.results(found))
    assert statistics["AP50"] > 95 and statistics["AP"] > 80
    assert statistics["AR"] >= statistics["AP"] - 1e-9


def test_unbiased_reading_is_nearer_to_the_truth(crowd) -> None:
    """The mean distance of found from true joints, in image pixels; heatmaps have half the input's resolution."""
    images, truth = crowd
    distance = {}
    for unbiased in (False, True):
        evaluation = BottomUpEvaluation(
            images, Grouping(unbiased=unbiased), ground_truth=truth, side=SIDE, flip=False, unbiased=unbiased
        )
        oracle = Oracle(images, truth, unbiased=unbiased)
        apart = []
        for (people, _), true in zip(evaluation.predict({"o": oracle})["o"], oracle.people, strict=True):
            for person in true:
                seen = person[:, 2] > 0
                nearest = [
                    np.linalg.norm((one[:, :2] - person[:, :2])[seen], axis=1).mean() for one in people
                ]
                apart.append(min(nearest))
        distance[unbiased] = np.mean(apart)
    assert distance[True] < 0.6 * distance[False] < 1.5


def test_ranks_share_the_images_and_agree(crowd) -> None:
    images, truth = crowd
    whole = BottomUpEvaluation(images, Grouping(), ground_truth=truth, side=SIDE, flip=False, batch_size=6)
    alone = whole.predict({"o": Oracle(images, truth)})["o"]
    parts = []

    class Half(Oracle):
        """Answers about the images of one rank, which come three at a time."""

        def __init__(self, rank: int):
            super().__init__(images, truth)
            self.people = self.people[3 * rank :]

    for rank in range(2):
        one = replace(
            whole, batch_size=3, rank=rank, world=2, reduce=lambda tensor: parts.append(tensor) or tensor
        )
        one.predict({"o": Half(rank)})
    together = parts[0] + parts[1]
    for row, (people, scores) in enumerate(alone):
        np.testing.assert_array_equal(together[row, : len(people), :-1].numpy(), people)
        np.testing.assert_array_equal(together[row, : len(people), -1, 0].numpy(), scores)


def test_alone_a_process_asks_nobody_else(crowd) -> None:
    images, truth = crowd
    whole = BottomUpEvaluation(images, Grouping(), ground_truth=truth, side=SIDE, flip=False)

    def others(tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the other ranks are asked")

    few = replace(whole, rank=1, world=2, reduce=others).alone(images=images.select(range(2)), batch_size=2)
    assert (few.batch_size, few.side, few.grouping) == (2, SIDE, whole.grouping)
    wanted, found = (one.predict({"o": Oracle(images, truth)})["o"] for one in (whole, few))
    assert len(found) == 2
    for one, other in zip(found, wanted, strict=False):
        np.testing.assert_array_equal(one[0], other[0])


class Blind(nn.Module):
    """Sees nobody."""

    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        assert not self.training
        size = inputs.shape[2] // 4, inputs.shape[3] // 4
        return [inputs.new_zeros(len(inputs), 34, *size)]


def test_modes_are_left_as_found_and_nobody_found_is_no_error(crowd) -> None:
    images, truth = crowd
    blind = Blind().train()
    evaluation = BottomUpEvaluation(images, Grouping(), ground_truth=truth, side=SIDE)
    statistics = evaluation({"blind": blind})["blind"]
    assert blind.training and statistics["AP"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("channel", [3, 20], ids=["a heatmap", "a tag"])
def test_an_answer_that_is_not_finite_is_an_error_and_no_empty_image(
    crowd, value: float, channel: int
) -> None:
    """Not in `predict` itself, where other ranks may wait: all learn of it when they have met."""
    images, truth = crowd
    evaluation = BottomUpEvaluation(
        images, Grouping(), ground_truth=truth, side=SIDE, flip=False, batch_size=1
    )
    network = Oracle(images, truth)

    def broken(module: nn.Module, given: object, outputs: list[torch.Tensor]) -> None:
        if network.calls == 3:
            outputs[0][0, channel, 5, 7] = value

    network.register_forward_hook(broken)
    found = evaluation.predict({"network": network})["network"]
    assert [bool(np.isfinite(people).all()) for people, _ in found] == [True, True, False, True, True, True]
    assert found[2][0].shape == (1, 17, 3) and np.isnan(found[2][1]).all()
    with pytest.raises(SSHPEError, match=rf"\(image {images.ids[2]}\) has keypoints that are not finite"):
        evaluation.results(found)


@pytest.mark.parametrize(
    ("unbiased", "scales", "read"),
    [
        (False, (1.0,), (SIDE, 2 * SIDE)),
        (False, (0.5, 1.0, 2.0), (SIDE, 2 * SIDE)),
        (True, (1.0,), (SIDE // 4, SIDE // 2)),
        (True, (0.5, 1.0, 2.0), (SIDE // 2, SIDE)),
    ],
)
def test_heatmaps_are_read_at_the_resolution_of_the_convention(crowd, unbiased: bool, scales, read) -> None:
    """The official one's is that of the input at scale 1, UDP's that of the largest scale's heatmaps."""
    images, truth = crowd
    sizes = set()

    def nobody(heatmaps: torch.Tensor, tags: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        sizes.add(tuple(heatmaps.shape[1:]))
        return np.zeros((0, 17, 4)), np.zeros(0)

    made = BottomUpEvaluation(
        images, nobody, ground_truth=truth, side=SIDE, scales=scales, flip=False, unbiased=unbiased
    )
    made.predict({"blind": Blind()})
    assert sizes == {read}


def test_images_of_other_sizes_are_never_asked_about_together(tmp_path: Path) -> None:
    """Somebody in the middle of every input is found in the middle of every image."""
    sizes = np.array([[96, 64], [64, 96], [96, 64], [80, 80]], np.int32)
    names = tuple(f"{row}.png" for row in range(len(sizes)))
    for name, (width, height) in zip(names, sizes.tolist(), strict=True):
        cv2.imwrite(str(tmp_path / name), np.zeros((height, width, 3), np.uint8))
    ids = np.arange(1, len(sizes) + 1)
    images = whole_images.WholeImages(tmp_path / "a.json", tmp_path, names, ids, sizes, COCO17, 1)

    def middle(heatmaps: torch.Tensor, tags: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        height, width = heatmaps.shape[1:]
        return np.tile([width / 2, height / 2, 1.0, 0.0], (1, 17, 1)), np.ones(1)

    made = BottomUpEvaluation(images, middle, ground_truth={}, side=64, flip=False)
    for (people, _), size in zip(made.predict({"blind": Blind()})["blind"], sizes, strict=True):
        np.testing.assert_allclose(people[0, 0, :2], size / 2, atol=1)


def found_of(crowd, scores: np.ndarray) -> np.ndarray:
    """What becomes of the scores of people who are found in an image, in this order."""
    images, truth = crowd

    def found(heatmaps: torch.Tensor, tags: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(scores), 17, 4)) * scores[:, None, None], scores

    made = BottomUpEvaluation(images, found, ground_truth=truth, side=SIDE, flip=False)
    people, told = made.predict({"blind": Blind()})["blind"][0]
    np.testing.assert_array_equal(people[:, 0, 2], told)  # each person with its own score
    return told


def test_the_surest_people_come_first_and_faint_ones_are_kept(crowd) -> None:
    assert found_of(crowd, np.array([0.02, 0.5, 0.3, 0.9])).tolist() == [0.9, 0.5, 0.3, 0.02]


def test_of_too_many_people_the_surest_are_kept(crowd) -> None:
    rising = np.arange(1.0, MOST + 3)
    assert found_of(crowd, rising).tolist() == rising[:1:-1].tolist()


def test_as_many_people_are_kept_as_the_reference_knows_in_an_image(crowd) -> None:
    """30, `MAX_NUM_PEOPLE` of HigherHRNet."""
    assert len(found_of(crowd, np.linspace(1.0, 0.1, 40))) == 30


def test_crowdpose_statistics_have_a_split_by_crowding(crowd) -> None:
    images, truth = crowd
    evaluation = BottomUpEvaluation(
        images, Grouping(), ground_truth=truth, side=SIDE, flip=False, protocol="crowdpose", visibility=True
    )
    statistics = evaluation({"o": Oracle(images, truth)})["o"]
    assert {"AP", "AP-vis", "AP-invis"} < statistics.keys() and "APM" not in statistics
    assert {"AP-easy", "AP-medium", "AP-hard"} & statistics.keys()
