"""A network for one's own people: from COCO-format files to a trained network, in one call."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sshpe_lib import experiment, paths, profiles, records, tables, trained
from sshpe_lib.config import CocoSource, Experiment
from sshpe_lib.data import roles, sources
from sshpe_lib.machine import Machine
from sshpe_lib.records import Record
from sshpe_lib.trained import Trained

# Where nothing else is asked for, what a network that reads whole images is trained with, and one by AID's methods:
# without their protocol, whose data processing is unbiased, these would be others than their names say.
WHOLE_IMAGES = {"protocol": "aid bottom-up", "amount": "all images", "size": "512x512"}
AID = {"protocol": "aid on true boxes"}


def train(
    people: Path | CocoSource,
    val: Path | CocoSource,
    method: str = "supervised",
    profile: str = "quick",
    *,
    labels: int | None = None,
    unlabeled: Path | CocoSource | None = None,
    backbone: str = "resnet18",
    category: str | int | None = None,
    machine: Machine | None = None,
    folder: Path | None = None,
    **choices: Any,
) -> Trained:
    """Train a method of the tables on people of one's own; a training that was done before is not done again.

    Its record is known by the annotations and settings, not by the photographs: where it is found, that is told.

    people, val: COCO-format keypoint files to learn from and to measure on, whose images lie beside them, or sources;
    method: of params/methods.yaml, such as "pose-mum+"; labels: how many people (images, of a network that reads whole
    ones), the first of the file, have labels, all of them where left out; unlabeled: a further file for a
    semi-supervised method, which otherwise takes everybody in `people`; category: of the files, by name or id, where
    several have keypoints; folder: for records/ and runs/, those of the project where left out; choices: size,
    schedule, protocol, seed and set of `tables.experiment`. AID's methods have its protocol where it is left out.

    Raises SSHPEError for a wrong name or setting, and on bad data before training starts, or where a record is found.
    """
    asked = people, val, method, profile, labels, unlabeled, backbone, category
    made = sources.pin(own_experiment(*asked, **choices))
    machine = machine or Machine()
    runs = paths.runs() if folder is None else Path(folder) / "runs"
    results = paths.records() if folder is None else Path(folder) / "records"
    found = records.find(results, made.key())
    if found is not None:
        roles.load(made, progress=False)  # raises where images are missing, as before a training
        if machine.progress:
            places = [
                str(place) for key in _keys(made) for place in (records.path_of(results, key), runs / key)
            ]
            print(_nothing_trained(found, places), file=sys.stderr, flush=True)
    record = experiment.run(made, machine, records_folder=results, runs_folder=runs)
    network = trained.from_record(record, sources.skeleton(made.data.labeled), runs)
    return replace(network, experiment=made)  # a record that was found may tell of a folder that is no more


def _keys(experiment: Experiment) -> list[str]:
    """The keys of an experiment and of those that it starts from."""
    return [experiment.key(), *([] if experiment.start is None else _keys(experiment.start))]


def _nothing_trained(found: Record, places: Sequence[str]) -> str:
    """What to tell where a record is handed back; places: all that is kept of it."""
    return (
        f"record {found.key} of {found.provenance.started[:10]} found; nothing trained (its key is that of the "
        f"annotations and settings, whatever the photographs are; to train again, remove {', '.join(places)})"
    )


def own_experiment(
    people: Path | CocoSource,
    val: Path | CocoSource,
    method: str,
    profile: str,
    labels: int | None,
    unlabeled: Path | CocoSource | None,
    backbone: str,
    category: str | int | None = None,
    **choices: Any,
) -> Experiment:
    """The experiment that `train` runs; arguments and errors are the same."""
    chosen = profiles.load_profile(profile)
    model = chosen.backbones.get(backbone)
    usual = AID if _of_aid(method) and AID["protocol"] in chosen.protocols else {}
    if isinstance(model, dict) and model.get("network") == "higher_hrnet":
        usual = WHOLE_IMAGES
    files = {"labeled": people, "val": val} | ({} if unlabeled is None else {"unlabeled": unlabeled})
    settings = {
        f"data.{role}": _source(file, category).model_dump(exclude_none=True) for role, file in files.items()
    }
    settings |= {"data.labels": labels} | (choices.pop("set", None) or {})
    choices = {name: choice for name, choice in choices.items() if choice is not None}
    return tables.experiment(profile, method, backbone=backbone, set=settings, **usual | choices)


def _of_aid(method: str) -> bool:
    """Whether a method is AID's own: its baseline, or one that drops information from labelled people."""
    return method == "udpv1" or "dropping" in (profiles.load_methods().get(method, {}).get("augment") or {})


def _source(file: Path | CocoSource, category: str | int | None) -> CocoSource:
    return file if isinstance(file, CocoSource) else sources.own(Path(file), category=category)


def run(output: Path, machine: Machine, *arguments: Any, **choices: Any) -> tuple[str, str]:
    """The command `sshpe train`: writes the network to `output`; returns what to tell, and the same as JSON.

    Raises SSHPEError as `train`, and where `output` is no place for a network, which is asked before training.
    """
    trained.check_name(output)
    network = train(*arguments, machine=machine, **choices)
    if not machine.progress:  # of several processes the first writes
        return "", ""
    digest = trained.save(network, output)
    width, height = network.experiment.data.input_size
    told = [
        f"{network.experiment.model}, input {height}x{width}, record {network.key}",
        "  ".join(f"{name} {value:.1f}" for name, value in network.metrics.items()),
        f"{output}: `sshpe predict IMAGE --weights {shlex.quote(str(output))}` finds people with it",
    ]
    about = {"key": network.key, "metrics": network.metrics, "network": str(output), "sha256": digest}
    return "\n".join(told), json.dumps(about)
