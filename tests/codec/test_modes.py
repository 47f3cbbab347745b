"""A codec reads heatmaps under autocast, and in a graph that is traced, as it does alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap, dark_refine
from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.errors import SSHPEError

CODECS = [MSRAHeatmap(), UDPHeatmap(), UDPHeatmap(rescale=True), UDPHeatmap(target="offset")]


def drawn(codec: Codec, seed: int, batch: int = 3) -> torch.Tensor:
    """Heatmaps of joints anywhere, with noise."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, 17, 2, generator=generator) * torch.tensor(codec.input_size)
    heatmaps, _ = codec.encode(points, torch.ones(batch, 17))
    return heatmaps + 0.01 * torch.randn(heatmaps.shape, generator=generator)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("learns", [False, True])
def test_autocast_changes_no_answer(codec, dtype, learns):
    heatmaps = drawn(codec, 0).requires_grad_(learns)  # with a gradient, a CPU blurs by matrices, too
    alone = codec.decode(heatmaps)
    with torch.autocast("cpu", dtype):
        found = codec.decode(heatmaps)
    assert all(torch.equal(one, other) for one, other in zip(found, alone, strict=True))


def test_autocast_does_not_change_where_dark_finds_a_peak():
    heatmaps, pixels = drawn(UDPHeatmap(), 0), torch.full((3, 17, 2), 20.0)
    alone = dark_refine(pixels, heatmaps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(dark_refine(pixels, heatmaps), alone)


class Decoded(nn.Module):
    def __init__(self, codec: Codec):
        super().__init__()
        self.codec = codec

    def forward(self, heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.codec.decode(heatmaps)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_sizes_in_a_list_are_those_of_a_tuple(codec):
    listed = replace(codec, input_size=list(codec.input_size), heatmap_size=list(codec.heatmap_size))
    assert listed == codec and hash(listed) == hash(codec)
    points, visible = torch.zeros(2, 17, 2, device="meta"), torch.ones(2, 17, device="meta")
    assert listed.encode(points, visible)[0].is_meta
    assert CrowdHeatmap([8, 6]) == CrowdHeatmap((8, 6))


@pytest.mark.parametrize("codec", [MSRAHeatmap(), UDPHeatmap(), UDPHeatmap(target="offset")], ids=repr)
@pytest.mark.parametrize(
    ("points", "visible"),
    [((2, 17, 3), (2, 17)), ((2, 17, 2), (2, 17, 1)), ((2, 17, 2), (2, 1)), ((17, 2), (17,))],
)
def test_points_of_other_shapes_are_refused(codec, points, visible):
    with pytest.raises(SSHPEError, match=r"points have shape .* and visibilities .*; give \(B, K, 2\) and"):
        codec.encode(torch.zeros(points), torch.ones(visible))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # sizes are checked, and become constants
@pytest.mark.filterwarnings("ignore:.torch.jit.trace.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_a_traced_graph_reads_other_heatmaps_than_its_example(codec):
    graph = torch.jit.trace(Decoded(codec), drawn(codec, 0))
    other = drawn(codec, 1)
    for one, alone in zip(graph(other), codec.decode(other), strict=True):
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-3)
