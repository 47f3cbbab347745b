"""COCO's test-dev: predicted with the network of a record, written as its evaluation server takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sshpe_lib import parts, paths, records, trained
from sshpe_lib.config import Experiment, check_scales
from sshpe_lib.data import coco, sources, whole_images
from sshpe_lib.data.top_down import Crops
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import submission
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.machine import Machine, first_process
from sshpe_lib.records import Record
from sshpe_lib.skeleton import COCO17
from sshpe_lib.writing import check_writable

PERSON = 1  # COCO's category


def submit(
    key: str,
    detections: Path | None,
    image_info: Path,
    images: Path,
    output: Path,
    name: str,
    machine: Machine,
    scales: Sequence[float] = (),
) -> Path | None:
    """Predict everybody in test-dev and write the zip file for the server; returns its path.

    Processes of torchrun share the work; the first one writes, and the others return None.

    key: of a record, or its first letters; detections: a results file with boxes and scores, which a top-down
    network needs and a bottom-up one does not; relative paths start at the data folder, `output` at the working
    directory. scales: of a bottom-up network's test, 1 among them; where none are given, those of the record's own, and
    else they are told in the file's name, so that one network's results at one scale and at several lie side by side.
    Raises SSHPEError, before it predicts, where there is no such record or no checkpoint of it, scales or the name
    cannot be, a file is missing or wrong, or `output` takes no files.
    """
    record = records.only(paths.records(), key)
    experiment = record.experiment
    info, folder = (sources.resolve(str(path)) for path in (image_info, images))
    _check_detections(record, detections)
    _check_scales(record, scales)
    submission.check_name(_named(name, scales))
    check_writable(output)
    people = (
        whole_images.load_unlabelled(info, folder, COCO17, PERSON)
        if experiment.bottom_up
        else _crops(experiment, info, folder, sources.resolve(str(detections)))
    )
    network = trained.of_record(record, COCO17)
    fabric = machine.fabric(experiment.train.precision, paths.runs() / record.key)
    evaluation = replace(
        parts.evaluation_of(experiment, people, {"categories": [{"id": PERSON}]}, COCO17, fabric),
        progress=machine.progress,
    )
    tested = tuple(scales) or experiment.evaluate.multi_scale
    if tested and isinstance(evaluation, BottomUpEvaluation):
        evaluation = replace(evaluation, scales=tested)
    predicted = evaluation.predict({"network": network})["network"]
    results = evaluation.results(predicted)  # type: ignore[arg-type]  # it reads what it predicted itself
    return submission.write(output, _named(name, scales), results, info) if first_process() else None


def _named(name: str, scales: Sequence[float]) -> str:
    """A submission's name with the scales that were asked for, such as sshpe-scales-0.5-1-2."""
    return "-".join([name, "scales", *(f"{scale:g}" for scale in scales)]) if scales else name


def _check_detections(record: Record, detections: Path | None) -> None:
    network = record.experiment.model
    if record.experiment.bottom_up and detections is not None:
        raise SSHPEError(f"record {record.key}: {network} finds people by itself; leave --detections out")
    if not record.experiment.bottom_up and detections is None:
        raise SSHPEError(
            f"record {record.key}: {network} looks at detected people; name a detector's results by --detections"
        )


def _check_scales(record: Record, scales: Sequence[float]) -> None:
    if scales and not record.experiment.bottom_up:
        raise SSHPEError(
            f"record {record.key}: {record.experiment.model} looks at crops, which have one scale; leave --scale out"
        )
    try:
        if scales:
            check_scales(scales, "--scale")
    except ValueError as error:
        raise SSHPEError(str(error)) from None


def _crops(experiment: Experiment, info: Path, images: Path, boxes: Path) -> Crops:
    """Every detected person of test-dev."""
    return parts.crops_of(experiment.data, coco.load_detections(info, images, boxes, COCO17, PERSON))
