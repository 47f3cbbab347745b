"""People in one's own pictures: a trained network, images, and boxes where the network needs them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sshpe_lib import parts, progress, trained
from sshpe_lib.data.cache import ImageCache
from sshpe_lib.data.images import SUFFIXES
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.named_boxes import ONE_BY_ONE, Boxes, by_name, checked_boxes, read_boxes
from sshpe_lib.data.top_down import Crops
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.bottom_up import BottomUpEvaluation
from sshpe_lib.evaluate.results import rescore, write_results
from sshpe_lib.machine import Machine, first_process, processes
from sshpe_lib.report.overlay import overlay
from sshpe_lib.skeleton import Skeleton
from sshpe_lib.trained import Trained
from sshpe_lib.writing import check_writable, write_picture, written_whole

PERSON = 1  # the category of results, COCO's
DRAWN = ".pose.png"  # ends the name of a drawn picture
GROUP = 64  # pictures in memory at a time, for each process: a batch of crops where each shows one person


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
    images: Sequence[Path],
    weights: Path | None,
    boxes: Path | None,
    output: Path,
    machine: Machine,
    category: str | int | None = None,
) -> tuple[str, str]:
    """The command `sshpe predict`: writes keypoints.json and drawn pictures; returns what to tell, and the JSON.

    images: files, or folders of them (`pictures_of`); weights: the package's own network where left out; boxes,
    category: as of `read_boxes`. Pictures are read and drawn a group at a time; keypoints.json comes last, of those
    before the group of a picture that cannot be read, too.
    Processes of torchrun share the work, and the first one writes and tells. Raises SSHPEError as `trained.load`,
    `read_boxes`, `pictures_of` and `predict`, where a category is named without a file, and where `output` cannot be
    written, which is asked before predicting.
    """
    if boxes is None and category is not None:
        raise SSHPEError("--category chooses among the boxes of a COCO file; name it by --boxes")
    network = trained.load(weights or trained.shipped())
    named = pictures_of(images)
    placed = None if boxes is None else read_boxes(boxes, category)
    if placed is not None:  # a COCO file lists images without anybody, too, and not all of them need be shown
        names = {path.name for path in named}
        placed = {name: given for name, given in placed.items() if len(given) or name in names}
    check_writable(output)
    files, given = _asked(network, named, placed)  # all, before the first is predicted
    first, size = first_process(), GROUP * processes()
    told: list[str] = []
    listed: list[dict] = []
    file = output / "keypoints.json"
    with progress.bar(len(files), "predict", unit="picture", show=machine.progress) as bar:
        for start in range(0, len(files), size):
            try:
                found = _found(network, files[start : start + size], given, machine, shared=True)
            except SSHPEError as error:
                if not first or not start:
                    raise
                write_results(file, listed)
                raise SSHPEError(f"{error} ({file} tells of the {start} pictures before)") from None
            if first:
                listed += results(found, start + 1)
                told += [_drawn(one, output) for one in found]
            bar.update(len(found))
            del found  # and its pixels, before others are read
    if not first:
        return "", ""
    write_results(file, listed)
    told.append(f"{network.experiment.model}, trained on {network.learned_from} ({network.about})")
    if weights is None:
        told.append(
            "It is the package's own small network, which has seen no photograph: expect little of it on one. "
            "Name a network by --weights."
        )
    return "\n".join(told), json.dumps(listed)


def pictures_of(images: Sequence[Path]) -> list[Path]:
    """The files named, with the pictures in a folder in its place, sorted by name; what lies deeper is left out.

    So are hidden files, and pictures that `run` drew. Raises SSHPEError for a folder that has none, or is not readable.
    """
    found: list[Path] = []
    for path in map(Path, images):
        if not path.is_dir():
            found.append(path)
            continue
        try:
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
        except OSError as error:
            raise SSHPEError(
                f"{path}: the folder cannot be read ({error.strerror}); correct its rights"
            ) from None
        inside = [one for one in inside if not one.name.startswith(".") and not one.name.endswith(DRAWN)]
        if not inside:
            raise SSHPEError(
                f"{path}: the folder holds no pictures ({', '.join(SUFFIXES)}); name one that does"
            )
        found += inside
    return found


def _drawn(one: Prediction, output: Path) -> str:
    """Write an image with everybody's skeleton; returns what to tell of it."""
    path = output / f"{one.path.stem}{DRAWN}"
    with written_whole(path, suffix=".png") as partial:
        write_picture(partial, one.drawn())
    scores = ", ".join(f"{score:.2f}" for score in one.scores)
    count = f"{len(one.scores)} {'person' if len(one.scores) == 1 else 'people'}"
    return f"{one.path}: {count}{f', score {scores}' if scores else ''} -> {path}"


def predict(
    network: Trained,
    images: Sequence[Path | str] | Path | str,
    boxes: Boxes | None = None,
    machine: Machine | None = None,
    *,
    shared: bool = False,
) -> list[Prediction]:
    """Find the people of every image, of one or several.

    boxes: where they are, by the names of the image files, (P, 4) x, y, width, height each, for a network that looks at
    one person at a time; an image without an entry is taken for a picture of one person, and one with an empty entry
    shows nobody. A bottom-up network finds them itself. Boxes are in the pixels as stored; without any, every image is
    turned upright by its camera's orientation tag first, and what is found is in that one's pixels.
    shared: divide the work over the processes that torchrun started, all of which then call this and get everything;
    otherwise this process works alone, in a distributed job of yours too. The network stays on its device.
    Raises SSHPEError for an image that cannot be read, for boxes that are not (P, 4), have no sides, lie outside their
    image or are of one that was not named, for boxes for a bottom-up network, and where its answer is not finite.
    """
    files, boxes = _asked(network, images, boxes)
    return _found(network, files, boxes, machine or Machine(progress=False), shared)


def _asked(
    network: Trained, images: Sequence[Path | str] | Path | str, boxes: Boxes | None
) -> tuple[list[Path], Boxes]:
    """The files and their boxes by name, as `predict` takes them. Raises SSHPEError for what is wrong
    whatever the pixels are.
    """
    if not isinstance(images, str | Path) and len(images) == 0:
        raise SSHPEError("no image is named; name one or more")
    if boxes is not None and not isinstance(boxes, Mapping):
        raise SSHPEError("boxes are given by the names of their images; write {file name: list of boxes}")
    named = [images] if isinstance(images, str | Path) else list(images)
    foreign = next((one for one in named if not isinstance(one, str | Path)), None)
    if foreign is not None:
        raise SSHPEError(
            f"an image is named by its file, and {type(foreign).__name__} is no name; write it to a file"
        )
    boxes, files = by_name(boxes or {}), [Path(path) for path in named]
    stems = Counter(path.stem for path in files)
    twice = next((path for path in files if stems[path.stem] > 1), None)
    if twice is not None:
        raise SSHPEError(f"{twice}: another image has this name, too; {ONE_BY_ONE}")
    if network.experiment.bottom_up and boxes:
        raise SSHPEError(f"{network.experiment.model} finds people by itself; leave the boxes out")
    names = {path.name for path in files}
    strange = next((name for name in boxes if name not in names), None)
    if strange is not None:
        raise SSHPEError(f"there are boxes of {strange}, which is not among the images; name it too")
    return files, boxes


def _found(
    network: Trained, files: list[Path], boxes: Boxes, machine: Machine, shared: bool
) -> list[Prediction]:
    """The people of some images; boxes: of these and others, for they decide how images are turned."""
    cache = ImageCache(color=network.experiment.data.color, upright=not boxes)  # every image is decoded once
    pixels = [cache.read(path, "to predict") for path in files]
    fabric = machine.fabric(network.experiment.train.precision, Path(), alone=not shared)
    tested = (
        _whole(network, files, pixels)
        if network.experiment.bottom_up
        else _crops(network, files, pixels, boxes, cache)
    )
    evaluation = parts.evaluation_of(network.experiment, tested, {}, network.skeleton, fabric, cache)
    networks = {"network": network.network}
    if isinstance(evaluation, BottomUpEvaluation):
        people = evaluation.predict(networks)["network"]
    else:
        found, index = evaluation.predict(networks)["network"], evaluation.crops.instances.image_index
        scores = rescore(found[..., 2], np.ones(len(found)), network.experiment.evaluate.score_threshold)
        people = [
            (found[rows], scores[rows]) for rows in (np.flatnonzero(index == i) for i in range(len(files)))
        ]
    for path, (joints, _) in zip(files, people, strict=True):
        if not np.isfinite(joints).all():
            told = f"{network.experiment.model} ({network.about}) answers with numbers that are not finite"
            raise SSHPEError(f"{path}: {told}; name a sound network")
    if network.experiment.data.color == "bgr":
        pixels = [picture[..., ::-1] for picture in pixels]
    shown = zip(files, pixels, people, strict=True)
    return [Prediction(path, picture, *one, network.skeleton) for path, picture, one in shown]


def results(predictions: Sequence[Prediction], first: int = 1) -> list[dict]:
    """COCO keypoint results, with the file's name beside the number of each image, counted from `first`."""
    return [
        {
            "image_id": number,
            "file_name": one.path.name,
            "category_id": PERSON,
            "keypoints": [round(value, 3) for value in person.ravel().tolist()],
            "score": round(score, 4),
        }
        for number, one in enumerate(predictions, first)
        for person, score in zip(one.people, one.scores.tolist(), strict=True)
    ]


def _crops(
    network: Trained, images: list[Path], pixels: list[np.ndarray], boxes: Boxes, cache: ImageCache
) -> Crops:
    """A crop of every box, or of the whole image where it has none."""
    names = [path.name for path in images]
    sizes = _sizes(pixels)
    placed = [
        checked_boxes(name, boxes.get(name, [[0, 0, *size]]), size)
        for name, size in zip(names, sizes.tolist(), strict=True)
    ]
    every, count = np.concatenate(placed), sum(map(len, placed))
    index = np.repeat(np.arange(len(images)), [len(one) for one in placed])
    instances = Instances(
        skeleton=network.skeleton, source=images[0], image_root=Path(), file_names=tuple(map(str, images)),
        image_sizes=sizes, image_index=index, image_ids=index + 1,
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
