"""Pretrains a trunk on procedural objects: the stand-in for the papers' ImageNet weights.

`python -m sshpe_lib.pretrain --width 16` writes `params/weights/objects-r18-w16-s16.safetensors` and, beside
it, the record of how it came about. `models.shipped` loads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from sshpe_lib import paths, provenance, seeding
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.config import Frozen
from sshpe_lib.data import objects
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import cost, resnet, weights

Pictures = tuple[np.ndarray, np.ndarray]  # (N, H, W, 3) uint8 RGB, labels (N,) int64

_MARGIN = 1.125  # pictures are rendered this much larger than the crops that are learned from
_FINGERPRINTED = 64  # pictures whose hash tells whether a renderer draws what the weights were trained on


class Pretraining(Frozen):
    """Everything that decides the weights, but for the number of threads and the processor.

    `images` are rendered once and seen several times; `input_size` is (height, width).
    """

    depth: int = 18
    width: int = Field(16, gt=0)
    output_stride: int = 16
    input_size: tuple[int, int] = (64, 48)
    images: int = Field(48_000, gt=0)
    val_images: int = Field(3_200, gt=0)
    steps: int = Field(3_750, gt=0)
    batch_size: int = Field(64, gt=1)
    learning_rate: float = Field(2.0e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    warmup: float = Field(0.05, ge=0, lt=1)  # share of the steps
    jitter: float = Field(0.3, ge=0, lt=1)  # of brightness, and of each colour by half of it
    bf16: bool = True
    seed: int = Field(0, ge=0)

    @property
    def name(self) -> str:
        """Name of the files, such as objects-r18-w16-s16."""
        return f"objects-r{self.depth}-w{self.width}-s{self.output_stride}"

    @property
    def rendered_size(self) -> tuple[int, int]:
        """(H, W) of the pictures before the random crop."""
        return round(_MARGIN * self.input_size[0]), round(_MARGIN * self.input_size[1])


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


def pretrain(spec: Pretraining, out: Path, progress: bool = True, threads: int = 1) -> dict:
    """Train, measure on held-out pictures, write the trunk (`<name>.safetensors`, float16) and its record.

    The same spec and threads give the same bytes on the same processor.

    Args:
        spec: what to train.
        out: folder of the two files, made where missing.
        progress: show bars with rate and time left.
        threads: of torch.

    Returns:
        The record, as written.

    Raises:
        SSHPEError: the loss is not finite, or the network cannot be built.
    """
    started, clock = datetime.now(UTC), perf_counter()
    commit, dirty = provenance.revision()  # now: files may change while this trains
    with _threads(threads):
        network = resnet.build(
            spec.depth, 1, width=spec.width, deconv_channels=1, output_stride=spec.output_stride,
            seed=seeding.derive(spec.seed, "pretrain", "trunk"),
        )  # fmt: skip
        head = seeding.torch_stream(spec.seed, "pretrain", "classifier")
        model = ObjectClassifier(network, len(objects.CLASSES), head)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types do not know it
        curve = _train(model, spec, _render(spec, "train", spec.images, progress), progress)
        validation = _validate(model, spec, _render(spec, "val", spec.val_images, progress))
    facts = {"kind": "trunk pretrained by classification of procedural objects", "name": spec.name}
    path = Path(out) / f"{spec.name}.safetensors"
    record = facts | {
        "spec": spec.model_dump(mode="json"),
        "data": {
            "renderer": objects.VERSION,
            "fingerprint": fingerprint(spec),
            "classes": list(objects.CLASSES),
            "rendered_size": list(spec.rendered_size),
        },
        "images_seen": spec.steps * spec.batch_size,
        "parameters": cost.count_parameters(model.trunk),
        "validation": validation,
        "curve": curve,
        "sha256": weights.save_state(model.trunk.half(), path, facts),
        "commit": commit,
        "dirty": dirty,
        "versions": provenance.versions(),
        "device": provenance.device_name(torch.device("cpu")),
        "threads": threads,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(perf_counter() - clock, 1),
        "command": command(spec, threads),
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def fingerprint(spec: Pretraining) -> str:
    """sha256 of the first 64 training pictures."""
    images, labels = _render(spec, "train", _FINGERPRINTED, progress=False)
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()


def command(spec: Pretraining, threads: int) -> str:
    """The command line that repeats this training; options at their defaults are left out."""
    words = ["python -m sshpe_lib.pretrain"]
    for name, value in spec.model_dump(exclude_defaults=True).items():
        text = " ".join(map(str, value)) if name == "input_size" else value
        words.append(f"--{name.replace('_', '-')} {text}")
    return " ".join([*words, f"--threads {threads}"])


def _render(spec: Pretraining, role: str, count: int, progress: bool) -> Pictures:
    """The first `count` pictures of a role (train, val): (N, H, W, 3) uint8 and labels (N,)."""
    seed = seeding.derive(spec.seed, "pretrain", role)
    shown = tqdm(range(count), desc=f"render {role}", unit="img", disable=not progress, mininterval=2)
    return objects.render_many(seed, shown, spec.rendered_size)


def _train(model: nn.Module, spec: Pretraining, data: Pictures, progress: bool) -> list[dict]:
    """Train in place; returns about 50 points of step, loss and accuracy on the training batches."""
    optimizer = torch.optim.AdamW(_decayed(model, spec.weight_decay), lr=spec.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, spec))
    every, curve, sums = max(1, spec.steps // 50), [], np.zeros(2)
    model.train()
    bar = tqdm(range(spec.steps), desc=spec.name, unit="step", disable=not progress, mininterval=2)
    for step in bar:
        images, labels = _batch(spec, data, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=spec.bf16):
            logits = model(images)
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
    rows = _rows(len(labels), spec, step)
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


def _rows(count: int, spec: Pretraining, step: int) -> np.ndarray:
    """The pictures of a step: passes over all of them in fresh orders, without a break between passes."""
    places = np.arange(step * spec.batch_size, (step + 1) * spec.batch_size)
    epochs = places // count
    streams = {
        int(e): seeding.numpy_stream(spec.seed, "pretrain", "order", int(e)) for e in np.unique(epochs)
    }
    orders = {epoch: stream.permutation(count) for epoch, stream in streams.items()}
    return np.array([orders[int(epoch)][place % count] for epoch, place in zip(epochs, places, strict=True)])


@torch.no_grad()
def _validate(model: nn.Module, spec: Pretraining, data: Pictures) -> dict:
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


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's threads inside the block: sums, and so the bytes, depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(words: Sequence[str] | None = None) -> int:
    """The command line; prints the accuracy and the file."""
    summary = "Pretrain a trunk on procedural objects."
    parser = argparse.ArgumentParser(prog="python -m sshpe_lib.pretrain", description=summary)
    for name, field in Pretraining.model_fields.items():
        count, default = 2 if name == "input_size" else None, field.default
        parser.add_argument(f"--{name.replace('_', '-')}", nargs=count, default=default, help=f"{default}")
    parser.add_argument(
        "--out", type=Path, default=paths.params() / "weights", help="folder (params/weights)"
    )
    parser.add_argument("--threads", type=int, default=1, help="1")
    options = vars(parser.parse_args(words))
    out, threads = options.pop("out"), options.pop("threads")
    try:
        record = pretrain(Pretraining.model_validate(options), out, threads=threads)
    except (SSHPEError, ValidationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out / record['name']}.safetensors: accuracy {record['validation']['accuracy']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
