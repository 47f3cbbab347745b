"""Losses on heatmaps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sshpe_lib.augment.limits import check_choice
from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import constant


def added(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return functools.reduce(torch.add, terms)


def averaged(terms: Sequence[Tensor]) -> Tensor:
    """The mean of one tensor or more; that of one is itself, so that a GPU has nothing to do."""
    return terms[0] if len(terms) == 1 else added(terms) / len(terms)


def heatmap_mse(
    predicted: Tensor, target: Tensor, weight: Tensor | None = None, top: int | None = None
) -> Tensor:
    """Half the mean squared error of weighted heatmaps, averaged over batch, keypoints and pixels.

    predicted, target: (B, K, H, W); weight: (B, K), 0 for a keypoint that teaches nothing (it stays in the
    denominator, and counts as perfect). With `top`, only so many keypoints of every sample count, the hardest
    (OHKM). Returns a scalar. Source: the reference implementation of the supervised loss L of Eq. 1 of Pose-MUM,
    `0.5 * MSE(w p, w t)` per keypoint, and `JointsOHKMMSELoss` of HRNet, after CPN (Chen et al. 2018).

    Raises:
        SSHPEError: other shapes, or nothing to average; fewer than `top` keypoints, or `top` below 1.
    """
    _check_shapes(predicted, target, weight)
    _check_any(predicted)
    if top is None and _learned(predicted, target):
        return _MeanSquares.apply(predicted, target, lambda errors: _of_heat(errors, weight), 0.5)
    dtype = torch.promote_types(predicted.dtype, target.dtype)
    predicted, target = predicted.to(dtype), target.to(dtype)
    if weight is not None:
        predicted, target = (maps * weight[:, :, None, None] for maps in (predicted, target))
    if top is None:
        return 0.5 * F.mse_loss(predicted, target)
    return _hardest(0.5 * F.mse_loss(predicted, target, reduction="none").mean((2, 3)), top)


def offset_mse(
    predicted: Tensor, target: Tensor, weight: Tensor | None = None, top: int | None = None
) -> Tensor:
    """Half the squared errors of UDP's heat and of its two offsets, which count inside the target's discs only.

    predicted, target: (B, 3 K, H, W), per keypoint heat, dx and dy; weight: (B, K), on the heat alone (the
    target of a keypoint that teaches nothing is empty, and with it its offsets). Returns a scalar: the terms of a
    keypoint added up, averaged over pixels, over keypoints, or with `top` over every sample's `top` hardest, and
    over the batch. Source: `JointsMSELoss_offset` of UDP; the choice of the hardest is `heatmap_mse`'s.

    Raises:
        SSHPEError: other shapes, or nothing to average; fewer than `top` keypoints, or `top` below 1.
    """
    _check_shapes(predicted, target, weight, channels=3)
    _check_any(predicted)
    if top is None and _learned(predicted, target):
        return _MeanSquares.apply(predicted, target, lambda errors: _of_offsets(errors, target, weight), 1.5)
    predicted, target = predicted.unflatten(1, (-1, 3)), target.unflatten(1, (-1, 3))
    # Split and not indexed: on the way back two parts are put together, where two indices each fill a whole with 0.
    heat, offsets = (predicted - target).split((1, 2), dim=2)
    heat, offsets = heat.squeeze(2), offsets * target[:, :, :1]
    if weight is not None:
        heat = heat * weight[:, :, None, None]
    # The mean over a pair of offsets is half their sum, and their sum is what counts.
    losses = 0.5 * _squared(heat).mean((2, 3)) + _squared(offsets).mean((2, 3, 4))
    return losses.mean() if top is None else _hardest(losses, top)


def _check_shapes(predicted: Tensor, target: Tensor, weight: Tensor | None = None, channels: int = 1) -> None:
    """Raises SSHPEError for shapes that would be broadcast, as (B, 1, H, W) is; channels: of a keypoint."""
    shape = tuple(predicted.shape)
    if len(shape) != 4 or target.shape != shape or shape[1] % channels:
        each = "" if channels == 1 else f"{channels} "
        raise SSHPEError(
            f"heatmaps have shape {shape} and their target {tuple(target.shape)}; give two of one shape, "
            f"(B, {each}K, H, W)"
        )
    if weight is not None and weight.shape != (shape[0], shape[1] // channels):
        raise SSHPEError(
            f"the weight has shape {tuple(weight.shape)}, and heatmaps of {shape} take (B, K), "
            f"({shape[0]}, {shape[1] // channels})"
        )


def _check_any(predicted: Tensor) -> None:
    """Raises SSHPEError for heatmaps without a pixel, whose mean is no number."""
    if not predicted.numel():
        raise SSHPEError(
            f"heatmaps have shape {tuple(predicted.shape)}, and there is no mean of nothing; give a person at least"
        )


def _of_heat(errors: Tensor, weight: Tensor | None) -> Tensor:
    """The errors of maps (B, K, H, W) times the squares of their weights, in the errors' layout."""
    if weight is None:
        return errors
    return torch.mul(errors, weight.square()[:, :, None, None], out=torch.empty_like(errors))


def _of_offsets(errors: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """The errors of `offset_mse` times the squares of what they count: the weight, or the target's heat."""
    found = torch.empty_like(errors)
    given, heat = errors.unflatten(1, (-1, 3)), target.unflatten(1, (-1, 3))[:, :, :1]
    to_heat, to_offsets = found.unflatten(1, (-1, 3)).split((1, 2), dim=2)
    square = constant(1.0, errors.device) if weight is None else weight.square()[:, :, None, None, None]
    torch.mul(given[:, :, :1], square, out=to_heat)
    torch.mul(given[:, :, 1:], heat.square(), out=to_offsets)
    return found


def _learned(predicted: Tensor, target: Tensor) -> bool:
    """Whether a GPU learns from a loss: there, every kernel over maps counts beside those of a small network."""
    return predicted.device.type != "cpu" and predicted.requires_grad and not target.requires_grad


class _MeanSquares(torch.autograd.Function):
    """A share of the mean of squared errors, each of which counts as `weigh` says; back it is one kernel over maps.

    weigh: gives errors times how much their squares count, in their layout. Of the same, autograd makes a kernel for
    every operation, in float32. Sums are taken in another order.
    """

    @staticmethod
    def forward(
        ctx: Any, predicted: Tensor, target: Tensor, weigh: Callable[[Tensor], Tensor], share: float
    ) -> Tensor:
        errors = predicted - target.to(torch.promote_types(target.dtype, torch.float32))
        weighed = weigh(errors)
        # As they lie in memory, in any layout of maps.
        rows = (maps.as_strided((maps.numel(),), (1,)) for maps in (errors, weighed))
        found = torch.dot(*rows) * (share / errors.numel())
        ctx.save_for_backward(weighed)
        ctx.dtype, ctx.share = predicted.dtype, share
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (weighed,) = ctx.saved_tensors
        found = torch.empty_like(weighed, dtype=ctx.dtype)
        slope = gradients[0] * (2 * ctx.share / weighed.numel())
        return torch.mul(weighed, slope, out=found), None, None, None


def _squared(errors: Tensor) -> Tensor:
    """Their squares; the way back is one operation, where that of a power is three."""
    return F.mse_loss(errors, constant(0.0, errors.device, errors.dtype).expand_as(errors), reduction="none")


def _hardest(losses: Tensor, top: int) -> Tensor:
    """The mean of the `top` largest of every sample's losses, (B, K)."""
    if not 1 <= top <= losses.shape[1]:
        raise SSHPEError(
            f"there are no {top} hardest of {losses.shape[1]} keypoints; choose fewer (train.hard_keypoints)"
        )
    return losses.topk(top, dim=1).values.mean()


def masked_mse(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean squared error of (B, K, H, W) heatmaps where a mask (B, H, W) is 1, one number a sample, (B,).

    Pixels under the mask's 0 (crowds, people without keypoints) count as perfect. Source: `HeatmapLoss` of
    HigherHRNet.

    Raises:
        SSHPEError: other shapes.
    """
    _check_shapes(predicted, target)
    if mask.shape != (len(predicted), *predicted.shape[2:]):
        raise SSHPEError(
            f"the mask has shape {tuple(mask.shape)}, and heatmaps of {tuple(predicted.shape)} take (B, H, W); "
            "give one mask for all keypoints, without an axis of channels"
        )
    return (F.mse_loss(predicted, target, reduction="none") * mask[:, None]).mean((1, 2, 3))


def associative_embedding(
    tags: Tensor, index: Tensor, push: Literal["exp", "max"] = "exp"
) -> tuple[Tensor, Tensor]:
    """What pushes the mean tags of people apart, and what pulls the tags of one person together: (B,) each.

    tags: (B, N), one number a pixel of every joint's map; index: (B, P, K) int64, where each joint's tag is read,
    -1 for none; people without joints are padding. push: "exp", exp(-d^2) of two people's distance d, or "max",
    `max(0, 1 - |d|)`; half its mean over ordered pairs. Pull is the variance of a person's tags, averaged over
    people. A sample with nobody has 0 of both, with one person no push. Computed and given in float32 at least.
    Source: Newell et al. (2017), `AELoss` of HigherHRNet.

    Raises:
        SSHPEError: an unknown push, or other shapes.
    """
    check_choice("associative embedding's push", push, ("exp", "max"))
    if tags.ndim != 2 or index.ndim != 3 or len(tags) != len(index):
        raise SSHPEError(
            f"tags have shape {tuple(tags.shape)} and their index {tuple(index.shape)}; give (B, N) and (B, P, K) of "
            "the same images"
        )
    there = index >= 0
    # In float16, the squares of tags in the hundreds would be infinite.
    read = tags.gather(1, index.clamp_min(0).flatten(1)).view(index.shape)
    read = read.to(torch.promote_types(tags.dtype, torch.float32))
    joints = there.sum(-1)
    mean = (read * there).sum(-1) / joints.clamp_min(1)
    variance = ((read - mean[..., None]).square() * there).sum(-1) / joints.clamp_min(1)
    person = joints > 0
    people = person.sum(-1)
    pull = (variance * person).sum(-1) / people.clamp_min(1)
    distance = mean[:, :, None] - mean[:, None, :]
    near = torch.exp(-distance.square()) if push == "exp" else (1 - distance.abs()).clamp_min(0)
    pairs = (
        person[:, :, None]
        & person[:, None, :]
        & ~torch.eye(index.shape[1], dtype=torch.bool, device=index.device)
    )
    pushed = 0.5 * (near * pairs).sum((1, 2)) / (people * (people - 1)).clamp_min(1)
    return pushed, pull
