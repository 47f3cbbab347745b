"""A trained network on labelled people: AP, what became of every joint, and the worst cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sshpe_lib import parts, paths, records, trained
from sshpe_lib.config import Source
from sshpe_lib.data import sources
from sshpe_lib.data.images import read_image
from sshpe_lib.data.instances import Instances
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate import keypoint_errors
from sshpe_lib.evaluate.results import write_results
from sshpe_lib.machine import Machine, first_process
from sshpe_lib.report.breakdown import breakdown, breakdown_text
from sshpe_lib.report.failures import Case, Failures
from sshpe_lib.side_by_side import student_and_teacher
from sshpe_lib.trained import Trained
from sshpe_lib.writing import check_writable, written_whole

TOLD, SHOWN = 5, 24  # of the worst cases: in the terminal, and in failures.html


@dataclass(frozen=True)
class Evaluated:
    """What a network made of N labelled people.

    statistics: in percent; results: COCO results; people: the labelled ones; found: (N, K, 3), the prediction for each;
    oks: (N,); kinds: (N, K), what became of every joint (`evaluate.keypoint_errors`).
    """

    statistics: dict[str, float]
    results: list[dict]
    people: Instances
    found: np.ndarray
    oks: np.ndarray
    kinds: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Of every joint's labels the share that became what, (K, 5)."""
        return keypoint_errors.shares(self.kinds)

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Every joint's PCK at 0.05 and 0.1 of the longer side of the box, and its mean similarity (what it adds to
        OKS), each (K,).
        """
        people = self.people
        truth, lengths = people.keypoints, people.boxes[:, 2:].max(axis=1)
        found = {
            f"PCK@{share}": keypoint_errors.pck(self.found, truth, lengths, share) for share in (0.05, 0.1)
        }
        about = truth, people.areas, people.skeleton.sigmas
        return found | {"OKS": keypoint_errors.joint_similarities(self.found, *about)}

    def worst(self, count: int = SHOWN) -> Failures:
        """The people with the lowest OKS, with pictures; a notebook shows a page to look through by kind of error.

        Who has no labelled joint has no OKS, and is left out.
        """
        cases, labeled = [], np.flatnonzero((self.people.keypoints[..., 2] > 0).any(axis=1))
        for row in labeled[np.argsort(self.oks[labeled], kind="stable")][:count].tolist():
            path, number = self.people.path(row), self.people.annotation_ids[row]
            image = read_image(path, f"annotation {number}")
            seen = self.found[row], self.people.keypoints[row], self.kinds[row]
            cases.append(Case(image, *seen, float(self.oks[row]), f"annotation {number}, {path.name}"))
        title = f"The {len(cases)} worst of {len(labeled):,} people."
        return Failures(tuple(cases), self.people.skeleton, title)


def evaluate(
    network: Trained,
    source: Source | Path | str | None = None,
    machine: Machine | None = None,
    *,
    shared: bool = False,
) -> Evaluated:
    """Predict every labelled person of a source, the network's own test data where left out, and measure.

    source: or a COCO-format keypoint file whose images lie beside it. shared: divide the work over the processes that
    torchrun started, all of which then call this and get everything; otherwise this process works alone, in a
    distributed job of yours too. The network stays on its device.

    A top-down network sees the labelled boxes, or the source's detections; what became of the joints is told for the
    labelled boxes, and for a bottom-up network of the person found that is most like each labelled one.
    Raises SSHPEError for data that is missing, wrong, or of other keypoints.
    """
    experiment = network.experiment
    if source is None:
        source = sources.pin_source(experiment.data.val, "val")  # what it learned from need not be here
    elif isinstance(source, str | Path):
        source = sources.own(Path(source))
    people, truth = sources.instances(source), sources.ground_truth(source)
    different = network.skeleton.difference(people.skeleton)
    if different is not None:
        raise SSHPEError(
            f"{people.source}: its keypoints ({people.skeleton.name}) are not the network's "
            f"({network.skeleton.name}): {different}; name another file, or of one with several categories the category"
        )
    machine = machine or Machine(progress=False)
    fabric = machine.fabric(experiment.train.precision, Path(), alone=not shared)
    tested = sources.whole_images(source) if experiment.bottom_up else parts.crops_of(experiment.data, people)
    evaluation = parts.evaluation_of(experiment, tested, truth, network.skeleton, fabric)
    found = evaluation.predict({"network": network.network})["network"]
    labeled = people
    if getattr(source, "detections", None):
        labeled = sources.instances(source.model_copy(update={"detections": None}))
    results = evaluation.results(found)  # type: ignore[arg-type]  # it reads what it predicted itself
    statistics = evaluation.measure(results)
    matched = found if labeled is people and isinstance(found, np.ndarray) else _nearest(labeled, results)
    about = labeled.areas, labeled.image_ids, network.skeleton.sigmas
    kinds = keypoint_errors.classify(matched, labeled.keypoints, *about)
    oks = keypoint_errors.person_oks(matched, labeled.keypoints, labeled.areas, network.skeleton.sigmas)
    return Evaluated(statistics, results, labeled, matched, oks, kinds)


def run(
    which: str,
    annotations: Path | None,
    images: Path | None,
    output: Path | None,
    machine: Machine,
    category: str | int | None = None,
) -> tuple[str, str]:
    """The command `sshpe evaluate`: what to tell, and the statistics as JSON.

    which: a .safetensors file, or the key of a record or its first letters. annotations, images, category: as of
    `sources.own`. output: a folder for results.json, breakdown.png, failures.html and, of a record whose teacher is
    another network, heatmaps.png. Processes of torchrun share the work, and the first one writes and tells.
    Raises SSHPEError as `evaluate`, where there is no such network, images or a category are named without annotations,
    and where `output` takes no files, which is asked before evaluating.
    """
    if annotations is None and (images is not None or category is not None):
        raise SSHPEError("--images and --category are of a file of people; name it by --annotations")
    network = trained.named(which)
    source = None if annotations is None else sources.own(annotations, images, category)
    if output is not None:
        check_writable(output)
    made = evaluate(network, source, machine, shared=True)
    if not first_process():
        return "", ""
    told = [
        f"{network.experiment.model} ({network.about}) on {len(made.people):,} people of {made.people.source}",
        "  ".join(f"{name} {value:.1f}" for name, value in made.statistics.items()),
        "",
        breakdown_text(made.shares, network.skeleton, made.scores),
        "",
        "The worst cases:",
        str(made.worst(TOLD)),
    ]
    if output is not None:
        write_results(output / "results.json", made.results)
        with written_whole(output / "breakdown.png", suffix=".png") as partial:
            breakdown(made.shares, network.skeleton, made.scores).savefig(partial)
        with written_whole(output / "failures.html") as partial:
            partial.write_text(made.worst().page())
        written = ["results.json", "breakdown.png", "failures.html"]
        if source is None and not which.endswith(".safetensors") and not network.experiment.bottom_up:
            record = records.only(paths.records(), which)
            if record.headline == "teacher":
                with written_whole(output / "heatmaps.png", suffix=".png") as partial:
                    student_and_teacher(record).savefig(partial)
                written.append("heatmaps.png")
        told += ["", *(str(output / name) for name in written)]
    return "\n".join(told), json.dumps(made.statistics)


def _nearest(labeled: Instances, results: Sequence[dict]) -> np.ndarray:
    """For every labelled person the prediction of its image with the highest OKS, (N, K, 3); far away where none is."""
    predicted: dict[int, list] = {}
    for one in results:
        predicted.setdefault(one["image_id"], []).append(np.reshape(one["keypoints"], (-1, 3)))
    far = np.full((1, len(labeled.skeleton), 3), -1e6)
    best = []
    for row, image in enumerate(labeled.image_ids.tolist()):
        candidates = np.stack(predicted[image]) if image in predicted else far
        truth = np.repeat(labeled.keypoints[row][None], len(candidates), axis=0)
        areas = np.full(len(candidates), labeled.areas[row])
        best.append(
            candidates[keypoint_errors.person_oks(candidates, truth, areas, labeled.skeleton.sigmas).argmax()]
        )
    return np.stack(best)
