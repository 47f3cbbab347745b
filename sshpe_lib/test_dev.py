"""COCO's test-dev: predicted with the network of a record, written as its evaluation server takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sshpe_lib import parts, paths, records, trained
from sshpe_lib.config import Experiment
from sshpe_lib.data import coco, sources, whole_images
from sshpe_lib.data.top_down import Crops
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import submission
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.machine import Machine
from sshpe_lib.records import Record
from sshpe_lib.skeleton import COCO17

PERSON = 1  # COCO's category


def submit(
    key: str,
    detections: Path | None,
    image_info: Path,
    images: Path,
    output: Path,
    name: str,
    machine: Machine,
) -> Path:
    """Predict everybody in test-dev and write the zip file for the server; returns its path.

    key: of a record, or its first letters; detections: a results file with boxes and scores, which a top-down
    network needs and a bottom-up one does not; relative paths start at the data folder, `output` at the working
    directory. A record with a test at several scales is predicted at these.
    Raises SSHPEError where there is no such record or no checkpoint of it, or a file is missing or wrong.
    """
    record = records.only(paths.records(), key)
    experiment = record.experiment
    info, folder = (sources.resolve(str(path)) for path in (image_info, images))
    _check_detections(record, detections)
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
    if experiment.evaluate.multi_scale and isinstance(evaluation, BottomUpEvaluation):
        evaluation = replace(evaluation, scales=experiment.evaluate.multi_scale)
    predicted = evaluation.predict({"network": network.to(fabric.device)})["network"]
    results = evaluation.results(predicted)  # type: ignore[arg-type]  # it reads what it predicted itself
    return submission.write(output, name, results, info)


def _check_detections(record: Record, detections: Path | None) -> None:
    network = record.experiment.model
    if record.experiment.bottom_up and detections is not None:
        raise SSHPEError(f"record {record.key}: {network} finds people by itself; leave --detections out")
    if not record.experiment.bottom_up and detections is None:
        raise SSHPEError(
            f"record {record.key}: {network} looks at detected people; name a detector's results by --detections"
        )


def _crops(experiment: Experiment, info: Path, images: Path, boxes: Path) -> Crops:
    """Every detected person of test-dev."""
    return parts.crops_of(experiment.data, coco.load_detections(info, images, boxes, COCO17, PERSON))
