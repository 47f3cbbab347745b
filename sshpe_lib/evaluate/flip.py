"""The flip test: a network's answer averaged with its answer to the mirrored image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sshpe_lib.geometry import flip_heatmaps, flip_images


def flip_test(
    network: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    flip_order: Sequence[int],
    shift: bool,
    flip: Callable[[torch.Tensor, Sequence[int]], torch.Tensor] = flip_heatmaps,
) -> torch.Tensor:
    """Average the heatmaps of images and of their mirror images.

    images: (B, C, H, W); `flip_order` is that of the skeleton; `flip` mirrors an answer, a codec's `flip` where
    there are offsets among its channels. Returns (B, C', H', W'). `shift` moves the mirrored heatmaps one pixel
    to the right (their first column stays), as HRNet does to make up for a stride that is the ratio of sizes:
    right for a codec that is not `unbiased`, and wrong for UDP. Pose-MUM's protocol uses no flip test at all.
    Call it in eval mode and without gradients.
    """
    mirrored = network(flip_images(images))
    return merge(network(images), mirrored, flip_order, shift, flip)


def merge(
    answer: torch.Tensor,
    mirrored: torch.Tensor,
    flip_order: Sequence[int],
    shift: bool,
    flip: Callable[[torch.Tensor, Sequence[int]], torch.Tensor] = flip_heatmaps,
) -> torch.Tensor:
    """The average of the answers (B, C, H, W) to images and to their mirror images; arguments as `flip_test`."""
    mirrored = flip(mirrored, flip_order)
    if shift:
        mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], dim=-1)
    return (answer + mirrored) / 2
