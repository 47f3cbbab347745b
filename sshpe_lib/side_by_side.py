"""The networks of one run, student and teacher, on the same people."""

from __future__ import annotations

from pathlib import Path

import torch

from sshpe_lib import parts, trained
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import Record
from sshpe_lib.report.heatmaps import heatmaps
from sshpe_lib.report.style import Plate


@torch.no_grad()
def student_and_teacher(
    record: Record, count: int = 6, joint: str | None = None, runs_folder: Path | None = None
) -> Plate:
    """What a run's teacher and its student see in the first test people: their heatmaps, one network above the other.

    joint: the name of the only one to show, such as "left_wrist"; all of them where left out. Only a top-down run with
    a teacher of its own has both.
    Raises SSHPEError for another run, a joint that is not there, and as `trained.networks`.
    """
    experiment = sources.pin(record.experiment)
    if experiment.bottom_up:
        raise SSHPEError(
            f"record {record.key}: {experiment.model} reads whole images; name a record of crops"
        )
    people = sources.instances(experiment.data.val)
    joints = people.skeleton.keypoints
    if joint is not None and joint not in joints:
        raise SSHPEError(f"no keypoint {joint!r}; choose one of: {', '.join(joints)}")
    networks = trained.networks(record, people.skeleton, runs_folder)
    if "teacher" not in networks:
        raise SSHPEError(f"record {record.key}: it has no teacher beside its student")
    data = experiment.data
    crops = parts.crops_of(data, people)
    images = crops.batch(range(min(count, len(crops)))).image
    chosen = slice(None) if joint is None else [joints.index(joint)]
    answers = {
        name: networks[name](normalize(images)).float()[:, chosen].numpy() for name in ("teacher", "student")
    }
    pixels = images.permute(0, 2, 3, 1).numpy()
    pixels = pixels[..., ::-1] if data.color == "bgr" else pixels
    return heatmaps(pixels, answers, joints if joint is None else [joint])
