"""Fuzzing that follows coverage: bytes that reach new lines of the readers are kept and changed further.

    pip install atheris
    python -m tests.guided TARGET [-runs=10000] [-max_total_time=600]

TARGET is annotations, outlines, detections, image, weights, official, network, record or parameters; options are
libFuzzer's. It stops with the bytes in a file at the first input that ends in anything but a result or the program's
own error, takes more than 2 GB or more than 20 seconds. The nightly job runs 10,000 of each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import safetensors.torch

with atheris.instrument_imports(include=["sshpe_lib"]):
    from sshpe_lib import checkpoints, converting, records, tables, trained
    from sshpe_lib.data.coco import ground_truth, load_instances
    from sshpe_lib.data.images import read_image
    from sshpe_lib.data.unlabelled import drawn  # noqa: F401  # for `test_fuzz.hidden`
    from sshpe_lib.models import weights

from tests import test_fuzz
from tests.data.people import valid_document, write

Reader = Callable[[Path], object]


def reads(*readers: Reader) -> Reader:
    """Every reader in turn, each with its own end."""
    return lambda path: [test_fuzz.survives(lambda reader=reader: reader(path)) for reader in readers]


def targets(folder: Path) -> dict[str, tuple[str, list[bytes], Reader]]:
    """Name -> where the bytes are put, sound ones to start from, what reads them."""
    people = write(folder, valid_document())
    params = folder / "params"
    (params / "profiles").mkdir(parents=True)
    names = ("table4.yaml", "methods.yaml", "schedules.yaml", "profiles/smoke.yaml")
    for name in names:
        (params / name).write_text(test_fuzz.parameters(name))
    return {
        "annotations": (
            "broken.json", [people.read_bytes()], reads(lambda path: load_instances(path, folder), ground_truth),
        ),
        "outlines": (
            "broken.json", [json.dumps(test_fuzz.crowded()).encode()], reads(test_fuzz.hidden),
        ),
        "detections": (
            "detections.json", [json.dumps(test_fuzz.BOXES).encode()],
            reads(lambda path: load_instances(people, folder, detections=path)),
        ),
        "image": (
            "broken.jpg", [test_fuzz.picture(suffix) for suffix in test_fuzz.PICTURES],
            reads(lambda path: read_image(path, "annotation 1", size=(20, 24))),
        ),
        "weights": (
            "broken.pth", [test_fuzz.saved(suffix) for suffix in (".pth", ".safetensors")],
            reads(weights.load_state, trained.load, lambda path: checkpoints.read(path, "k")),
        ),
        "official": (
            "pose_128x96.safetensors",
            [safetensors.torch.save(test_fuzz.official(kind)) for kind in ("resnet", "hrnet", "higher")],
            reads(lambda path: converting.convert(path).about),
        ),
        "network": (
            "broken.safetensors", [test_fuzz.network("people")], reads(lambda path: trained.load(path).about),
        ),
        "record": (
            f"{test_fuzz.RECORD.key}.json", [test_fuzz.RECORD.model_dump_json().encode()],
            reads(lambda path: records.read(path).ap),
        ),
        "parameters": (
            "params/profiles/smoke.yaml",
            [test_fuzz.parameters("profiles/smoke.yaml").encode()]
            + [f"title: {text}".encode() for text in (*test_fuzz.ODD.values(), *test_fuzz.ENDLESS)],
            reads(lambda _: tables.experiment("smoke", "pose-mum+", folder=params)),
        ),
    }  # fmt: skip


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="sshpe-guided-"))
    known = targets(folder)
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(f"name what to fuzz, one of: {', '.join(known)}")
    name, sound, reader = known[sys.argv[1]]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(sound):
        (corpus / str(number)).write_bytes(data)

    def one_input(data: bytes) -> None:
        (folder / name).write_bytes(data)
        reader(folder / name)

    limits = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=65536", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[2:], str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
