"""COCO's test-dev: predicted with the network of a record, written as its evaluation server takes it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sshpe_lib import checkpoints, initial, parts, paths, records
from sshpe_lib.config import Experiment
from sshpe_lib.data import coco, sources
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.top_down import Crops
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import submission
from sshpe_lib.evaluate.top_down import TopDownEvaluation
from sshpe_lib.machine import Machine
from sshpe_lib.records import Record
from sshpe_lib.skeleton import COCO17, Skeleton

PERSON = 1  # COCO's category


def submit(
    key: str, detections: Path, image_info: Path, images: Path, output: Path, name: str, machine: Machine
) -> Path:
    """Predict every detected person of test-dev and write the zip file for the server; returns its path.

    key: of a record, or its first letters; detections: a results file with boxes and scores; relative paths start
    at the data folder, `output` at the working directory.
    Raises SSHPEError where there is no such record or no checkpoint of it, or a file is missing or wrong.
    """
    record = records.only(paths.records(), key)
    experiment = record.experiment
    info, boxes, folder = (sources.resolve(str(path)) for path in (image_info, detections, images))
    people = coco.load_detections(info, folder, boxes, COCO17, PERSON)
    network = trained(record, COCO17)
    fabric = machine.fabric(experiment.train.precision, paths.runs() / record.key)
    evaluation = TopDownEvaluation(
        Crops(
            people, experiment.data.input_size, cache=ImageCache(color=experiment.data.color),
            unbiased=experiment.data.unbiased,
        ),
        parts.codec_of(experiment.data), {"categories": [{"id": PERSON}]}, flip=experiment.evaluate.flip,
        nms=experiment.evaluate.nms, score_threshold=experiment.evaluate.score_threshold, device=fabric.device,
        autocast=fabric.autocast, progress=machine.progress,
    )  # fmt: skip
    predicted = evaluation.predict({"network": network.to(fabric.device)})["network"]
    return submission.write(output, name, evaluation.results(predicted), info)


def trained(record: Record, skeleton: Skeleton) -> nn.Module:
    """The network whose result a record quotes, from the checkpoint of its finished run, in eval mode.

    skeleton: of the people it was trained on. Raises SSHPEError where there is no such checkpoint, or where it
    holds other weights than the record's.
    """
    path = checkpoints.of(paths.runs() / record.key)
    state = checkpoints.finished(path, record.key)
    cure = f"train it again: sshpe reproduce {record.key} --keep"
    if state is None:
        raise SSHPEError(f"{path}: no checkpoint of a finished run; {cure}")
    network = _network(record.experiment, skeleton)
    weights = state["student"] if record.headline == "student" else state["teacher"]["network"]
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise SSHPEError(
            f"{path}: its network is not one of the {len(skeleton)} keypoints of {skeleton.name}; choose a record "
            f"of people with those"
        ) from None
    return network.eval()


def _network(experiment: Experiment, skeleton: Skeleton) -> nn.Module:
    return initial.network(experiment.model, parts.codec_of(experiment.data).channels(len(skeleton)))
