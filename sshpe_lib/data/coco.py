"""Any keypoint file in COCO format, read in the reference's order and by the reference's filter.

The order: that of the file's `images`, and within an image that of its `annotations`. The filter: a person is
kept who is no crowd and has an area above 0, a box that does not begin beyond the image's right or lower side (one
wholly to the left of it or above is moved in), and at least one keypoint value that is not 0 (reference implementation:
the data set class of Semi_Human_Pose). Beyond it a person is left out whose clipped box is a single point: no crop can
show that, and COCO has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sshpe_lib.data import kept
from sshpe_lib.data.columns import brief
from sshpe_lib.data.documents import collector_paused, fingerprint, read_annotations
from sshpe_lib.data.faults import Fault, bad_input, refuse
from sshpe_lib.data.images import held
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.tables import ImageTable, PersonTable, detection_table, image_table, person_table
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton, from_category

__all__ = ["fingerprint", "ground_truth", "load_instances"]  # the first is the file's own, from `documents`


def load_instances(
    annotations: Path,
    image_root: Path,
    *,
    detections: Path | None = None,
    check_images: bool = True,
    category: str | int | None = None,
) -> Instances:
    """Every valid person of a COCO-format keypoint file, or every detected box in its images.

    detections: a results file (image_id, category_id, bbox, score); its boxes stand unclipped and in file
    order, as the reference takes them, with keypoints 0, annotation id -1 and the box as area.
    check_images: look every needed file up in `image_root` (one listing of each folder; nothing is decoded).
    category: name or id, a name before an id; by default `person`, else the only one with keypoints.
    `area` may be missing from all or some entries (CrowdPose, AI Challenger): 0.53 of the box stands for it.
    Raises SSHPEError for anything that `sshpe data check` calls fatal, and if no person or box is left.
    """
    annotations, image_root = Path(annotations), Path(image_root)
    if detections is None:
        instances = _valid_people(annotations, image_root, category)
    else:
        parsed = parse(annotations, category)
        refuse(parsed.faults)
        instances = _detected(
            parsed.images, parsed.category, parsed.skeleton, annotations, image_root, Path(detections)
        )
    if check_images:
        refuse(missing_images(instances.file_names, image_root, annotations))
    return instances


def load_detections(
    image_info: Path, image_root: Path, detections: Path, skeleton: Skeleton, category: int
) -> Instances:
    """Every detected box in the images of a file that labels nobody, such as COCO's image_info_test-dev2017.json.

    The boxes are those of `load_instances` with `detections`; `skeleton` and `category` are what that file would
    say. Raises SSHPEError for a malformed file, a missing image, or no box.
    """
    image_info, image_root = Path(image_info), Path(image_root)
    images = listed_images(image_info)
    found = _detected(images, category, skeleton, image_info, image_root, Path(detections))
    refuse(missing_images(found.file_names, image_root, image_info))
    return found


def listed_images(image_info: Path) -> ImageTable:
    """The images of a file, whether or not it labels anybody. Raises SSHPEError for a malformed file."""
    document = read_annotations(image_info)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        problem = "it holds no list of images"
        raise bad_input(image_info, "images", problem, "give COCO's image_info_*.json, or a keypoint file")
    images, faults = image_table(document["images"], image_info)
    refuse(faults)
    return images


def ground_truth(annotations: Path, category: str | int | None = None) -> dict:
    """The parsed file as pycocotools wants it, with the annotations of the keypoint category only.

    `iscrowd`, `area` (0.53 of the box) and `num_keypoints` are filled in where the file lacks them;
    `segmentation`, which no keypoint evaluation reads, is left out. The result is shared: do not change it.
    Raises SSHPEError like `load_instances`.
    """
    parsed = parse(Path(annotations), category)
    refuse(parsed.faults)
    document = parsed.document
    people = [entry for entry in document["annotations"] if entry["category_id"] == parsed.category]
    for person, area in zip(people, parsed.people.areas.tolist(), strict=True):
        person.setdefault("iscrowd", 0)
        person.setdefault("area", area)
        person.setdefault("num_keypoints", sum(v > 0 for v in person["keypoints"][2::3]))
    categories = [entry for entry in document["categories"] if entry.get("id") == parsed.category]
    return {**document, "annotations": people, "categories": categories}


@dataclass(frozen=True)
class Parsed:
    """A keypoint file as JSON and as tables, with every fault of its entries; names: of the keypoints, as written."""

    document: dict
    category: int
    names: tuple[str, ...]
    skeleton: Skeleton
    images: ImageTable
    people: PersonTable
    faults: list[Fault]


def parse(annotations: Path, category: str | int | None = None, outlines: bool = False) -> Parsed:
    """The tables of a keypoint file and their faults; raises SSHPEError only where no table can be made.

    outlines: as `documents.read_annotations`.
    """
    document = read_annotations(annotations, outlines)
    if not isinstance(document, dict):
        cure = "give the annotation file; a file of results goes in as detections"
        raise bad_input(annotations, "the file", "it holds no JSON object", cure)
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            problem = f"{key!r} is missing" if key not in document else f"{key!r} is not a list"
            raise bad_input(annotations, key, problem, "give a complete COCO keypoint annotation file")
    for row, entry in enumerate(document["categories"]):
        if not isinstance(entry, dict):
            cure = "make each of 'categories' an object"
            raise bad_input(annotations, f"categories[{row}]", f"{brief(entry)} is not an object", cure)
    chosen = _choose_category(document["categories"], category, annotations)
    number, skeleton = _keypoints_of(chosen, annotations)
    names = tuple(map(str, chosen["keypoints"]))
    with collector_paused():
        images, image_faults = image_table(document["images"], annotations)
        people, people_faults = person_table(document["annotations"], images, number, skeleton, annotations)
    return Parsed(document, number, names, skeleton, images, people, image_faults + people_faults)


def exclusions(people: PersonTable, images: ImageTable) -> dict[str, np.ndarray]:
    """Why an annotation is no valid person: reason -> (A,) bool. The reasons are tested in this order."""
    clipped, left = clip_boxes(people.boxes, images.sizes_at(people.image_rows))
    return {
        "crowd": people.crowd,
        "no area": ~(people.areas > 0),
        "box outside the image": ~left,
        "box without size": (clipped[:, 2:] == 0).all(axis=1),
        "no keypoint": ~(people.keypoints != 0).any(axis=(1, 2)),
    }


def clip_boxes(boxes: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) x, y, width, height clipped to images of `sizes` (N, 2), and whether any is left, (N,).

    x1 = max(0, x), x2 = min(W - 1, x1 + max(0, w - 1)), y alike; kept where x2 >= x1 and y2 >= y1; the new
    width is x2 - x1 (reference implementation: it counts corner pixels, so a clipped box loses one pixel).
    """
    low = np.maximum(0, boxes[:, :2])
    high = np.minimum(sizes - 1, low + np.maximum(0, boxes[:, 2:] - 1))
    return np.hstack([low, high - low]), (high >= low).all(axis=1)


def missing_images(names: tuple[str, ...], image_root: Path, file: Path) -> list[Fault]:
    """A fault for every name that is no file under `image_root`; each folder is listed once."""
    if not image_root.is_dir():
        cure = f"make it the folder that holds {names[0]!r}" if names else "name the folder of the images"
        return [Fault(file, "image folder", f"{image_root} is not a folder", cure)]
    cure = "point the image folder at the one that holds it, or get the image"
    return [
        Fault(file, f"image {name!r}", f"it is not in {image_root}", cure)
        for name, there in zip(names, held(image_root, names), strict=True)
        if not there
    ]


def _valid_people(annotations: Path, image_root: Path, category: str | int | None) -> Instances:
    """The people of a file, of a large one out of the cache where they are in it."""

    def parsed() -> Instances:
        with collector_paused():  # until the document is gone again
            return _parsed_people(annotations, image_root, category)

    return kept.recalled(annotations, image_root, category, parsed)


def _parsed_people(annotations: Path, image_root: Path, category: str | int | None) -> Instances:
    parsed = parse(annotations, category)
    refuse(parsed.faults)
    people, images = parsed.people, parsed.images
    boxes, _ = clip_boxes(people.boxes, images.sizes_at(people.image_rows))
    reasons = exclusions(people, images)
    valid = np.flatnonzero(~np.any(list(reasons.values()), axis=0))
    if not len(valid):
        counts = ", ".join(f"{name} {int(rows.sum())}" for name, rows in reasons.items())
        problem = f"none of {len(people.ids)} annotations is a valid person ({counts})"
        cure = "label people with keypoints, boxes inside their image and areas above 0"
        raise bad_input(annotations, "annotations", problem, cure)
    rows = valid[np.argsort(people.image_rows[valid], kind="stable")]
    kept, image_index = np.unique(people.image_rows[rows], return_inverse=True)
    return Instances(
        skeleton=parsed.skeleton,
        source=annotations,
        image_root=image_root,
        file_names=tuple(images.names[row] for row in kept),
        image_sizes=images.sizes[kept],
        image_index=image_index,
        image_ids=images.ids[people.image_rows[rows]],
        annotation_ids=people.ids[rows],
        keypoints=people.keypoints[rows].astype(np.float32),
        boxes=boxes[rows].astype(np.float32),
        areas=people.areas[rows].astype(np.float32),
        box_scores=np.ones(len(rows), dtype=np.float32),
    )


def _detected(
    images: ImageTable, category: int, skeleton: Skeleton, source: Path, image_root: Path, detections: Path
) -> Instances:
    entries = read_annotations(detections)
    if not isinstance(entries, list):
        cure = "give a COCO results file: a list of {image_id, category_id, bbox, score}"
        raise bad_input(detections, "the file", "it holds no JSON list", cure)
    table, faults = detection_table(entries, images, category, detections)
    refuse(faults)
    if not len(table.scores):
        problem = f"none of {len(entries)} detections has category {category}"
        raise bad_input(detections, "detections", problem, "give boxes of the keypoints' category")
    count = len(table.scores)
    kept, image_index = np.unique(table.image_rows, return_inverse=True)
    return Instances(
        skeleton=skeleton,
        source=source,
        image_root=image_root,
        file_names=tuple(images.names[row] for row in kept),
        image_sizes=images.sizes[kept],
        image_index=image_index,
        image_ids=images.ids[table.image_rows],
        annotation_ids=np.full(count, -1, dtype=np.int64),
        keypoints=np.zeros((count, len(skeleton), 3), dtype=np.float32),
        boxes=table.boxes.astype(np.float32),
        areas=(table.boxes[:, 2] * table.boxes[:, 3]).astype(np.float32),
        box_scores=table.scores.astype(np.float32),
    )


def category_of_boxes(entries: list, wanted: str | int | None, file: Path) -> object:
    """The id of the category whose boxes are people's: as that of keypoints is chosen, of all where none has any.

    Raises BadInput where that is none, or several.
    """
    named = [entry for entry in entries if isinstance(entry, dict)]
    able = [entry for entry in named if entry.get("keypoints")] or named
    return _chosen(able, "categories", wanted, file).get("id")


def _choose_category(entries: list, wanted: str | int | None, file: Path) -> dict:
    able = [entry for entry in entries if entry.get("keypoints")]
    if not able:
        cure = "give a keypoint file (person_keypoints_*.json), or list the keypoints' names in order"
        raise bad_input(file, "categories", "no category lists 'keypoints'", cure)
    return _chosen(able, "categories with keypoints", wanted, file)


def _chosen(able: list[dict], kind: str, wanted: str | int | None, file: Path) -> dict:
    """The one that is wanted, by its name or id; without a wish `person`, else the only one."""
    names = ", ".join(f"{entry.get('name')!r} (id {entry.get('id')!r})" for entry in able)
    if wanted is not None:
        # As text, for so it is typed; by the id only where none has that name.
        named = [entry for entry in able if entry.get("name") == wanted]
        chosen = named or [entry for entry in able if str(entry.get("id")) == str(wanted)]
    else:
        chosen = [entry for entry in able if entry.get("name") == "person"] or able
    if len(chosen) != 1:
        problem = f"{kind}: {names}; " + (
            f"{len(chosen)} of them match {wanted!r}" if wanted is not None else "which one is meant?"
        )
        raise bad_input(
            file, "categories", problem, "choose one by `category`, its name or id: --category NAME"
        )
    return chosen[0]


def _keypoints_of(category: dict, file: Path) -> tuple[int, Skeleton]:
    """The id of a category with keypoints, and its skeleton."""
    number = category.get("id")
    if type(number) is not int:
        raise bad_input(file, "categories", f"category id {number!r}", "number it with a whole number")
    try:
        return number, from_category(category, str(file))
    except (TypeError, ValueError) as error:
        cure = "give 'keypoints' as a list of names and 'skeleton' as pairs of numbers from 1"
        problem = f"its skeleton cannot be read ({error})"
        raise bad_input(file, f"category {number}", problem, cure) from None
    except SSHPEError as error:
        problem = str(error).removeprefix(f"{file}: ")
        raise bad_input(file, f"category {number}", problem, "correct the category") from None
