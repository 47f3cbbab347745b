"""A codec reads heatmaps under autocast, and in a graph that is traced, as it does alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sshpe_lib.codec import Codec, MSRAHeatmap, UDPHeatmap, dark_refine

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


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # sizes are checked, and become constants
@pytest.mark.filterwarnings("ignore:.torch.jit.trace.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_a_traced_graph_reads_other_heatmaps_than_its_example(codec):
    graph = torch.jit.trace(Decoded(codec), drawn(codec, 0))
    other = drawn(codec, 1)
    for one, alone in zip(graph(other), codec.decode(other), strict=True):
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-3)
