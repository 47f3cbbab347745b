"""Exchange of tiles between the images of a batch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sshpe_lib.errors import SSHPEError
from sshpe_lib.transfer import up_to


class _Permute(torch.autograd.Function):
    """A permutation of tiles; its gradient is the inverse permutation, exact and without scatter."""

    @staticmethod
    def forward(ctx, features: Tensor, source: Tensor, back: Tensor | None) -> Tensor:
        ctx.save_for_backward(source, back)
        return _gather(features, source)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        source, back = ctx.saved_tensors
        # A permutation itself, as what NumPy moves on a CPU has no second gradient.
        return _Permute.apply(gradient, inverse(source) if back is None else back, source), None, None


def _gather(features: Tensor, source: Tensor) -> Tensor:
    batch, channels, height, width = features.shape
    rows, cols, _ = source.shape
    # One strip = one image row of one tile, of all channels or of one. It is contiguous in memory in either layout, so
    # a single index_select copies every strip once.
    last = features.is_contiguous(memory_format=torch.channels_last) and channels > 1
    planes = 1 if last else channels
    if features.device.type == "cpu" and features.numel() and not last:
        return _take(features, source)
    strip = up_to(planes * height * cols, features.device)
    within = strip.view(planes, rows, height // rows, cols)  # of an image
    images = source.permute(2, 0, 1).contiguous()[:, None, :, None]
    index = torch.add(within, images, alpha=len(strip)).flatten()
    if last:
        strips = features.permute(0, 2, 3, 1).reshape(batch * len(strip), channels * width // cols)
        return strips.index_select(0, index).view(batch, height, width, channels).permute(0, 3, 1, 2)
    strips = features.reshape(batch * len(strip), width // cols)
    return strips.index_select(0, index).view(features.shape)


def _take(features: Tensor, source: Tensor) -> Tensor:
    """`_gather` of planes on a CPU, where NumPy moves such short strips in a fraction of the time."""
    batch, channels, height, width = features.shape
    rows, cols, _ = source.shape
    plane = height * cols  # strips of one
    # Of one plane of each image first, then of all: to add rows of `cols` alone takes longer than to move the strips.
    images = torch.arange(batch).index_select(0, source.permute(2, 0, 1).flatten()).view(batch, rows, 1, cols)
    first = torch.arange(plane).view(rows, height // rows, cols) + images * (channels * plane)
    index = first.view(batch, 1, plane) + torch.arange(channels)[:, None] * plane
    mixed = features.new_empty(features.shape)
    strips, taken = (_array(one).reshape(-1, width // cols) for one in (features, mixed))
    # No index is out of range; "raise", which looks for one, would take all elsewhere first.
    np.take(strips, index.flatten().numpy(), axis=0, out=taken, mode="clip")
    return mixed


def _array(tensor: Tensor) -> np.ndarray:
    """The tensor as NumPy has it, which knows no bfloat16."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)


def permute(features: Tensor, source: Tensor, back: Tensor | None = None) -> Tensor:
    """Give tile (r, c) of slot b the same tile of slot source[r, c, b]; tiles never move inside an image.

    features: (B, C, H, W); source: (rows, cols, B) long, a permutation of the slots for every tile; back: its
    inverse, for the gradient, computed where left out. Where the tiles do not divide H or W, the map is resized
    (bilinear) to the next smaller multiple or, where it has fewer pixels than tiles, to one pixel a tile, permuted, and
    resized back, as MUM's code does: this loses detail, and the inverse permutation no longer restores it.

    Raises:
        SSHPEError: the features have other than four dimensions, or are of another number of images than the source.
    """
    rows, cols, batch = source.shape
    if features.ndim != 4:
        raise SSHPEError(f"a mix takes (B, C, H, W), and meets {tuple(features.shape)}; give it a batch")
    if features.shape[0] != batch:
        raise SSHPEError(
            f"the mix was drawn for {batch} images and meets {features.shape[0]}; draw one for every batch"
        )
    height, width = features.shape[-2:]
    if height % rows == 0 and width % cols == 0:
        return _Permute.apply(features, source, back)
    fitting = (max(height // rows, 1) * rows, max(width // cols, 1) * cols)
    resized = F.interpolate(features, fitting, mode="bilinear", align_corners=False)
    return F.interpolate(
        _Permute.apply(resized, source, back), (height, width), mode="bilinear", align_corners=False
    )


def compose(first: Tensor, then: Tensor) -> Tensor:
    """The one permutation that equals `first` followed by `then`; all (rows, cols, B)."""
    return first.gather(-1, then)


def inverse(source: Tensor) -> Tensor:
    """The permutation that undoes `source`."""
    slots = torch.arange(source.shape[-1], device=source.device).expand_as(source)
    return torch.empty_like(source).scatter_(-1, source, slots)
