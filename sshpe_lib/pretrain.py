"""Pretrains a trunk on procedural objects: the stand-in for the papers' ImageNet weights.

`python -m sshpe_lib.pretrain --width 16` writes `params/weights/objects-r18-w16-s16.safetensors` and, beside
it, the record of how it came about. `models.shipped` loads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from sshpe_lib import classifier, paths, profiles, provenance, seeding
from sshpe_lib.config import Pretraining
from sshpe_lib.data import objects
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.machine import Machine
from sshpe_lib.models import cost, resnet, weights
from sshpe_lib.writing import check_writable, written_whole

_FINGERPRINTED = 64  # pictures whose hash tells whether a renderer draws what the weights were trained on


def pretrain(spec: Pretraining, out: Path, progress: bool = True, threads: int = 1) -> dict:
    """Train, measure on held-out pictures, write the trunk (`<name>.safetensors`, float16) and its record.

    The same spec and threads give the same bytes on the same processor.

    Args:
        spec: what to train.
        out: folder of the two files, made where missing.
        progress: show bars with rate and time left.
        threads: of torch, at least one: on its own choice the bytes would depend on the machine.

    Returns:
        The record, as written.

    Raises:
        SSHPEError: the loss is not finite, the network cannot be built, the folder takes no files, or `threads` is no
            whole number from 1 on.
    """
    whole_number("threads", threads, 1)
    check_writable(out)
    started, clock = datetime.now(UTC), perf_counter()
    commit, dirty = provenance.revision()  # now: files may change while this trains
    with Machine(threads=threads).own_threads():  # sums, and so the bytes, depend on them
        network = resnet.build(
            spec.depth, 1, width=spec.width, deconv_channels=1, output_stride=spec.output_stride,
            seed=seeding.derive(spec.seed, "pretrain", "trunk"),
        )  # fmt: skip
        head = seeding.torch_stream(spec.seed, "pretrain", "classifier")
        model = classifier.ObjectClassifier(network, len(objects.CLASSES), head)
        curve = classifier.train(model, spec, _render(spec, "train", spec.images, progress), progress)
        validation = classifier.validate(model, spec, _render(spec, "val", spec.val_images, progress))
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
    with written_whole(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")
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


def _render(spec: Pretraining, role: str, count: int, progress: bool) -> classifier.Pictures:
    """The first `count` pictures of a role (train, val): (N, H, W, 3) uint8 and labels (N,)."""
    seed = seeding.derive(spec.seed, "pretrain", role)
    shown = tqdm(range(count), desc=f"render {role}", unit="img", disable=not progress, mininterval=2)
    return objects.render_many(seed, shown, spec.rendered_size)


def main(words: Sequence[str] | None = None) -> int:
    """The command line; prints the accuracy and the file."""
    summary = "Pretrain a trunk on procedural objects."
    parser = argparse.ArgumentParser(prog="python -m sshpe_lib.pretrain", description=summary)
    for name, field in Pretraining.model_fields.items():
        count, default = 2 if name == "input_size" else None, field.default
        parser.add_argument(f"--{name.replace('_', '-')}", nargs=count, default=default, help=f"{default}")
    parser.add_argument("--out", type=Path, help="folder (params/weights, where no file is written over)")
    parser.add_argument("--threads", type=int, default=1, help="1")
    options = vars(parser.parse_args(words))
    out, threads = options.pop("out"), options.pop("threads")
    try:
        spec = profiles.validated(Pretraining, options, "pretrain")
        if out is None:
            out = paths.params() / "weights"
            _check_new(out / f"{spec.name}.safetensors")
        record = pretrain(spec, out, threads=threads)
    except SSHPEError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out / record['name']}.safetensors: accuracy {record['validation']['accuracy']:.3f}")
    return 0


def _check_new(file: Path) -> None:
    """Raises SSHPEError where a trunk is there already: its name tells neither seed nor size of pictures."""
    if file.exists():
        raise SSHPEError(
            f"{file} is there already; name another folder by --out, or this one to write over it"
        )


if __name__ == "__main__":
    sys.exit(main())
