"""Whole images at several scales: equal to the references, and consistent with each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.multi_scale import Scale, aggregate, region
from sshpe_lib.geometry import transform_points, warp
from sshpe_lib.skeleton import COCO17
from tests.goldens import load

FLIP = COCO17.flip_order


@pytest.fixture(scope="module")
def sizes() -> dict[str, np.ndarray]:
    return load("data_multiscale.npz")


@pytest.fixture(scope="module")
def answers() -> dict[str, np.ndarray]:
    return load("data_aggregate.npz")


def test_sizes_and_regions_equal_the_references(sizes) -> None:
    below = []
    for width, height, side, scale, smallest, *expected in sizes["rows"].tolist():
        image, (official, plain, unbiased) = (int(width), int(height)), np.array(expected).reshape(3, 6)
        found = region(image, int(side), scale, smallest)
        np.testing.assert_allclose(found.center, official[2:4])
        if found.size == tuple(official[:2]):
            np.testing.assert_allclose(found.extent, official[4:] * 200, atol=1e-3)
        else:
            below.append(image)
        assert found.size == tuple(plain[:2])
        assert (
            np.abs(found.center - plain[2:4]).max() <= 1
        )  # of 166.5 it takes the even neighbour, and not the upper
        np.testing.assert_allclose(found.extent, plain[4:] * 200, atol=1e-3)
        found = region(image, int(side), scale, smallest, unbiased=True)
        assert found.size == tuple(unbiased[:2])
        if scale == smallest:  # whose region it takes for every scale, as the next test shows
            np.testing.assert_allclose(found.center, unbiased[2:4], atol=1e-3)
            np.testing.assert_allclose(found.extent, unbiased[4:], atol=1e-3)
    assert below == [(333, 500)] * 5  # of 768.8 the official code takes 768, and not the next multiple


def test_a_side_between_multiples_of_64_becomes_the_next_one() -> None:
    """`get_multi_scale_size` of HigherHRNet: the short side of the smallest scale, `(side + 63) // 64 * 64`."""
    assert region((640, 480), 500).size == (704, 512)
    assert region((640, 480), 513).size == (768, 576)
    assert [region((640, 480), 500, scale, 0.5).size[1] for scale in (0.5, 1)] == [256, 512]


@pytest.mark.parametrize("scale", [0.5, 1, 2])
@pytest.mark.parametrize("kind", ["orig", "udp"])
def test_inputs_equal_the_references(sizes, scale: float, kind: str) -> None:
    image = sizes["image"]
    made = region((image.shape[1], image.shape[0]), 128, scale, 0.5, unbiased=kind == "udp")
    assert (*made.size[::-1], 3) == tuple(sizes[f"{kind}_{scale}_shape"])
    expected = sizes[f"{kind}_{scale}"]
    stride = made.size[1] // expected.shape[0]
    found = warp(image, made.matrix(), made.size)[::stride, ::stride]
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 2 and (difference > 1).mean() < 1e-3


@pytest.mark.parametrize("unbiased", [False, True])
def test_every_scale_shows_the_same_region(unbiased: bool) -> None:
    made = [region((333, 500), 512, scale, 0.5, unbiased) for scale in (0.5, 1, 2)]
    assert all(one.size == (int(256 * s), int(448 * s)) for one, s in zip(made, (1, 2, 4), strict=True))
    corners = np.array([[0.0, 0.0], [332.0, 499.0]])
    shares = [transform_points(corners, one.matrix()) / (np.array(one.size) - unbiased) for one in made]
    for share in shares[1:]:
        np.testing.assert_allclose(share, shares[0], atol=1e-9)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("project", [0, 1])
@pytest.mark.parametrize("scales", [[1], [2, 1, 0.5]])
def test_aggregates_equal_the_references(answers, align: int, project: int, scales: list[float]) -> None:
    def read(scale: float, index: int) -> torch.Tensor:
        return torch.from_numpy(answers[f"net_{scale}_{index}"].astype(np.float32))

    given = [Scale(s, [read(s, 0), read(s, 1)], [read(s, 2), read(s, 3)]) for s in scales]
    heat, tags = aggregate(given, FLIP, bool(align), (32, 40) if project else None)
    name = f"align{align}_p2i{project}_n{len(scales)}"
    for kind, found in (("heat", heat), ("tags", tags)):
        assert found.shape == tuple(answers[f"{name}_{kind}_shape"])
        np.testing.assert_allclose(found[:, :, ::4, ::4], answers[f"{name}_{kind}"], rtol=0, atol=1e-5)


def test_the_order_of_scales_does_not_matter_and_one_output_is_enough() -> None:
    maps = {s: torch.randn(1, 34, int(8 * s), int(12 * s)) for s in (0.5, 1, 2)}
    first, other = (
        aggregate([Scale(s, [maps[s]]) for s in order], FLIP) for order in ((0.5, 1, 2), (2, 0.5, 1))
    )
    assert torch.equal(first[0], other[0]) and torch.equal(first[1], other[1])
    heat, tags = aggregate([Scale(0.5, [maps[0.5]])], FLIP)
    assert torch.equal(heat, maps[0.5][:, :17]) and torch.equal(tags[..., 0], maps[0.5][:, 17:])


def test_a_network_that_mirrors_with_its_input_is_left_alone() -> None:
    maps = torch.randn(1, 34, 8, 12)
    order = [*FLIP, *(17 + index for index in FLIP)]
    heat, tags = aggregate([Scale(1, [maps], [maps.flip(3)[:, order]])], FLIP)
    torch.testing.assert_close(heat, maps[:, :17])
    assert torch.equal(tags[..., 0], tags[..., 1])


def test_tags_need_scale_1_among_several() -> None:
    maps = torch.zeros(1, 34, 8, 8)
    with pytest.raises(SSHPEError, match="tags are read at scale 1"):
        aggregate([Scale(0.5, [maps]), Scale(2, [maps])], FLIP)
    with pytest.raises(SSHPEError, match="tags are read at scale 1"):
        aggregate([], FLIP)


@pytest.mark.parametrize(
    "arguments", [((0, 5), 64), ((5, 5), 0), ((5, 5), 64, 0.5, 1.0), ((5, 5), 64, 1.0, 0.0)]
)
def test_an_impossible_region_is_refused(arguments) -> None:
    with pytest.raises(SSHPEError, match="all must be positive"):
        region(*arguments)
