"""People in one's own pictures: a trained network, images, and boxes where the network needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sshpe_lib import parts, trained
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.columns import numbers
from sshpe_lib.data.documents import read_json
from sshpe_lib.data.faults import bad_input
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.top_down import Crops
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.results import rescore, write_results
from sshpe_lib.machine import Machine
from sshpe_lib.report.overlay import overlay
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.trained import Trained

PERSON = 1  # the category of results, COCO's

Boxes = Mapping[str, np.ndarray]  # file name -> (P, 4) x, y, width, height in pixels


@dataclass(frozen=True)
class Prediction:
    """The people of one image.

    path: its file; image: (H, W, 3) uint8 RGB, as `predict` turned it; people: (P, K, 3) x, y in its pixels and score;
    scores: (P,). A notebook shows the picture with everybody's skeleton.
    """

    path: Path
    image: np.ndarray
    people: np.ndarray
    scores: np.ndarray
    skeleton: Skeleton

    def drawn(self) -> np.ndarray:
        """The image with everybody's skeleton, (H, W, 3) uint8 RGB."""
        return overlay(self.image, self.people, self.skeleton)

    def _repr_png_(self) -> bytes:
        return cv2.imencode(".png", self.drawn()[..., ::-1])[1].tobytes()


def run(
    images: Sequence[Path], weights: Path | None, boxes: Path | None, output: Path, machine: Machine
) -> tuple[str, str]:
    """The command `sshpe predict`: writes keypoints.json and drawn pictures; returns what to tell, and the JSON.

    weights: the package's own network where left out. Raises SSHPEError as `trained.load`, `read_boxes` and `predict`,
    and where `output` cannot be written.
    """
    network = trained.load(weights or trained.shipped())
    placed = None if boxes is None else read_boxes(boxes)
    found = predict(network, images, placed, machine)
    listed = results(found)
    told = []
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_results(output / "keypoints.json", listed)
        for one in found:
            path = output / f"{one.path.stem}.pose.png"
            if not cv2.imwrite(str(path), one.drawn()[..., ::-1]):
                raise OSError(f"{path} could not be written")
            scores = ", ".join(f"{score:.2f}" for score in one.scores)
            count = f"{len(one.scores)} {'person' if len(one.scores) == 1 else 'people'}"
            told.append(f"{one.path}: {count}{f', score {scores}' if scores else ''} -> {path}")
    except OSError as error:
        raise SSHPEError(f"{output}: cannot be written ({error}); name another folder by --output") from None
    told.append(f"{network.experiment.model}, trained on {network.learned_from} ({network.about})")
    if weights is None:
        told.append(
            "It is the package's own small network, which has seen no photograph: expect little of it on one. "
            "Name a network by --weights."
        )
    return "\n".join(told), json.dumps(listed)


def predict(
    network: Trained, images: Sequence[Path], boxes: Boxes | None = None, machine: Machine | None = None
) -> list[Prediction]:
    """Find the people of every image.

    boxes: where they are, for a network that looks at one person at a time; an image without an entry is taken for a
    picture of one person. A bottom-up network finds them itself. Boxes are in the pixels as stored; without any,
    every image is turned upright by its camera's orientation tag first, and what is found is in that one's pixels.
    Raises SSHPEError for an image that cannot be read, boxes of images that were not named, and boxes for a bottom-up
    network.
    """
    if not images:
        raise SSHPEError("no image is named; name one or more")
    images = [Path(path) for path in images]
    stems = [path.stem for path in images]
    twice = next((path for path in images if stems.count(path.stem) > 1), None)
    if twice is not None:
        raise SSHPEError(f"{twice}: another image has this name, too; predict them one after the other")
    if network.experiment.bottom_up and boxes:
        raise SSHPEError(f"{network.experiment.model} finds people by itself; leave the boxes out")
    cache = ImageCache(color=network.experiment.data.color, upright=not boxes)  # every image is decoded once
    pixels = [cache.read(path, "to predict") for path in images]
    fabric = (machine or Machine(progress=False)).fabric(network.experiment.train.precision, Path())
    tested = (
        _whole(network, images, pixels)
        if network.experiment.bottom_up
        else _crops(network, images, pixels, boxes or {}, cache)
    )
    evaluation = parts.evaluation_of(network.experiment, tested, {}, network.skeleton, fabric, cache)
    networks = {"network": network.network.to(fabric.device)}
    if isinstance(evaluation, BottomUpEvaluation):
        people = evaluation.predict(networks)["network"]
    else:
        found, index = evaluation.predict(networks)["network"], evaluation.crops.instances.image_index
        scores = rescore(found[..., 2], np.ones(len(found)), network.experiment.evaluate.score_threshold)
        people = [
            (found[rows], scores[rows]) for rows in (np.flatnonzero(index == i) for i in range(len(images)))
        ]
    if network.experiment.data.color == "bgr":
        pixels = [picture[..., ::-1] for picture in pixels]
    shown = zip(images, pixels, people, strict=True)
    return [Prediction(path, picture, *one, network.skeleton) for path, picture, one in shown]


def results(predictions: Sequence[Prediction]) -> list[dict]:
    """COCO keypoint results, with the file's name beside the number of each image, counted from 1."""
    return [
        {
            "image_id": number,
            "file_name": one.path.name,
            "category_id": PERSON,
            "keypoints": [round(value, 3) for value in person.ravel().tolist()],
            "score": round(score, 4),
        }
        for number, one in enumerate(predictions, 1)
        for person, score in zip(one.people, one.scores.tolist(), strict=True)
    ]


def read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Boxes by file name, from a list of {file_name, bbox} or a COCO file with `images` and `annotations`.

    bbox: x, y, width, height in pixels. Raises SSHPEError that names the entry for anything else.
    """
    document = read_json(Path(path))
    cure = "give a list of {file_name, bbox: [x, y, width, height]}, or a COCO annotation file"
    entries = _named_boxes(document) if isinstance(document, dict) else document
    if not isinstance(entries, list) or not entries:
        raise bad_input(path, "the file", "it lists no boxes", cure)
    found: dict[str, list] = {}
    for place, entry in enumerate(entries):
        name, box = (entry.get(key) if isinstance(entry, dict) else None for key in ("file_name", "bbox"))
        sides = numbers([box], 4)[0]
        if not isinstance(name, str) or not np.isfinite(sides).all() or not (sides[2:] > 0).all():
            raise bad_input(path, f"entry {place}", f"file_name {name!r}, bbox {box!r}", cure)
        found.setdefault(Path(name).name, []).append(sides)
    return {name: np.stack(boxes) for name, boxes in found.items()}


def _named_boxes(document: dict) -> list | None:
    """The boxes of a COCO file with the names of their images; None where it is no such file."""
    images, entries = document.get("images"), document.get("annotations")
    if not isinstance(images, list) or not isinstance(entries, list):
        return None
    names = {_id(one, "id"): one.get("file_name") for one in images if isinstance(one, dict)}
    names[None] = None  # an image without an id is not that of a box without one
    return [
        {"file_name": names.get(_id(one, "image_id")), "bbox": one.get("bbox")}
        if isinstance(one, dict)
        else one
        for one in entries
    ]


def _id(entry: dict, key: str) -> int | str | None:
    """A number or text that names an image, which a list cannot."""
    value = entry.get(key)
    return value if isinstance(value, int | str) else None


def _crops(
    network: Trained, images: list[Path], pixels: list[np.ndarray], boxes: Boxes, cache: ImageCache
) -> Crops:
    """A crop of every box, or of the whole image where it has none."""
    names = [path.name for path in images]
    strange = sorted(set(boxes) - set(names))
    if strange:
        raise SSHPEError(f"there are boxes of {strange[0]}, which is not among the images; name it too")
    placed = [
        np.asarray(boxes.get(path.name, [[0, 0, picture.shape[1], picture.shape[0]]]), np.float32)
        for path, picture in zip(images, pixels, strict=True)
    ]
    every, count = np.concatenate(placed), sum(map(len, placed))
    index = np.repeat(np.arange(len(images)), [len(one) for one in placed])
    instances = Instances(
        skeleton=network.skeleton, source=images[0], image_root=Path(), file_names=tuple(map(str, images)),
        image_sizes=_sizes(pixels), image_index=index, image_ids=index + 1,
        annotation_ids=np.full(count, -1), keypoints=np.zeros((count, len(network.skeleton), 3), np.float32),
        boxes=every, areas=every[:, 2] * every[:, 3], box_scores=np.ones(count, np.float32),
    )  # fmt: skip
    return parts.crops_of(network.experiment.data, instances, cache)


def _whole(network: Trained, images: list[Path], pixels: list[np.ndarray]) -> WholeImages:
    return WholeImages(
        images[0], Path(), tuple(map(str, images)), np.arange(1, len(images) + 1), _sizes(pixels), network.skeleton,
        PERSON,
    )  # fmt: skip


def _sizes(pixels: list[np.ndarray]) -> np.ndarray:
    return np.array([picture.shape[1::-1] for picture in pixels], np.int32)
