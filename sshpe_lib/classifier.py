"""A trunk that learns to tell procedural objects apart."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from sshpe_lib import seeding
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.config import Pretraining
from sshpe_lib.data import objects
from sshpe_lib.data.loaders import in_passes
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import resnet
from sshpe_lib.models.layout import layout_of

Pictures = tuple[np.ndarray, np.ndarray]  # (N, H, W, 3) uint8 RGB, labels (N,) int64


class ObjectClassifier(nn.Module):
    """The trunk of a SimpleBaseline, global average pooling, a linear layer.

    Args:
        network: its decoder and head are taken off.
        classes: outputs.
        generator: draws the linear layer.
    """

    def __init__(self, network: resnet.SimpleBaseline, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        for part in network.head:
            delattr(network, part)
        self.trunk = network
        channels = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)][-1].num_features
        self.fc = nn.Linear(channels, classes)
        nn.init.normal_(self.fc.weight, std=channels**-0.5, generator=generator)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), normalised, to logits (B, classes)."""
        trunk = self.trunk
        features = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(images))))
        for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
            features = layer(features)
        return self.fc(features.mean(dim=(2, 3)))


def train(model: nn.Module, spec: Pretraining, data: Pictures, progress: bool) -> list[dict]:
    """Train in place; returns about 50 points of step, loss and accuracy on the training batches."""
    optimizer = torch.optim.AdamW(_decayed(model, spec.weight_decay), lr=spec.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, spec))
    every, curve, sums = max(1, spec.steps // 50), [], np.zeros(2)
    layout = layout_of(model, True, "cpu")
    model.train().to(memory_format=layout)  # type: ignore[call-overload]  # of which torch's own types do not know
    bar = tqdm(range(spec.steps), desc=spec.name, unit="step", disable=not progress, mininterval=2)
    for step in bar:
        images, labels = _batch(spec, data, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=spec.bf16):
            logits = model(images.contiguous(memory_format=layout))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=spec.label_smoothing)
        if not torch.isfinite(loss):
            raise SSHPEError(f"{spec.name}: the loss is {loss.item()} at step {step}; lower --learning-rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        sums += loss.item(), (logits.argmax(1) == labels).float().mean().item()
        if (step + 1) % every == 0:
            loss_mean, accuracy = (sums / every).tolist()
            curve.append({"step": step + 1, "loss": round(loss_mean, 4), "accuracy": round(accuracy, 4)})
            bar.set_postfix(loss=f"{loss_mean:.3f}", accuracy=f"{accuracy:.3f}")
            sums[:] = 0
    return curve


def _pace(step: int, spec: Pretraining) -> float:
    """Share of the learning rate: a linear rise over the warm-up, then half a cosine down to 0."""
    rise = max(1, round(spec.warmup * spec.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, spec.steps - rise))


def _batch(spec: Pretraining, data: Pictures, step: int) -> tuple[Tensor, Tensor]:
    """The training batch of a step: random crops, mirrored by chance, colours shaken; labels (B,)."""
    images, labels = data
    rng = seeding.numpy_stream(spec.seed, "pretrain", "batch", step)
    places = np.arange(step * spec.batch_size, (step + 1) * spec.batch_size)
    rows = in_passes(places, len(labels), spec.seed, "pretrain", "order")
    (height, width), room = spec.input_size, np.subtract(images.shape[1:3], spec.input_size) + 1
    corners, mirrored = rng.integers(room, size=(len(rows), 2)), rng.random(len(rows)) < 0.5
    crops = np.empty((len(rows), height, width, 3), dtype=np.uint8)
    for crop, row, (y, x), mirror in zip(crops, rows, corners, mirrored, strict=True):
        view = images[row, y : y + height, x : x + width]
        crop[:] = view[:, ::-1] if mirror else view
    brightness, colour = rng.uniform(-1, 1, (len(rows), 1)), rng.uniform(-1, 1, (len(rows), 3))
    gain = 1 + spec.jitter * brightness + spec.jitter / 2 * colour
    shaken = torch.from_numpy(crops).permute(0, 3, 1, 2) * torch.from_numpy(gain).float()[:, :, None, None]
    return normalize(shaken.clamp(max=255)), torch.from_numpy(labels[rows])


@torch.no_grad()
def validate(model: nn.Module, spec: Pretraining, data: Pictures) -> dict:
    """Loss, top-1 and top-5 accuracy on the middle of held-out pictures, and accuracy by class."""
    images, labels = data[0], torch.from_numpy(data[1])
    top, left = np.subtract(images.shape[1:3], spec.input_size) // 2
    crops = images[:, top : top + spec.input_size[0], left : left + spec.input_size[1]]
    model.eval()
    logits = []
    for start in range(0, len(crops), 256):
        batch = normalize(torch.from_numpy(crops[start : start + 256].copy()).permute(0, 3, 1, 2))
        with torch.autocast("cpu", torch.bfloat16, enabled=spec.bf16):
            logits.append(model(batch).float())
    scores = torch.cat(logits)
    first = (scores.argmax(1) == labels).float()
    fifth = (scores.topk(5).indices == labels[:, None]).any(1).float()
    present = labels.unique().tolist()
    by_class = {objects.CLASSES[k]: round(first[labels == k].mean().item(), 3) for k in present}
    return {
        "images": len(labels),
        "loss": round(F.cross_entropy(scores, labels).item(), 4),
        "accuracy": round(first.mean().item(), 4),
        "top5": round(fifth.mean().item(), 4),
        "by_class": by_class,
    }


def _decayed(model: nn.Module, decay: float) -> list[dict]:
    """Two parameter groups: kernels with weight decay, scales and biases without."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": kernels, "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
