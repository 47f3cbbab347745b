"""The file that COCO's evaluation server takes for test-dev: one zipped JSON list of keypoint results."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sshpe_lib.data.documents import read_annotations
from sshpe_lib.data.faults import bad_input
from sshpe_lib.errors import SSHPEError
from sshpe_lib.writing import written_whole

STEM = "person_keypoints_test-dev2017_{}_results"  # COCO: http://cocodataset.org/#upload
FIELDS = ("image_id", "category_id", "keypoints", "score")
PERSON = 1
NUMBERS = 51  # x, y and a flag of 17 keypoints
DECIMALS = 3  # of coordinates in pixels: three times as fine as COCO's own results; scores have six
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: equal results give equal bytes


def write(output: Path, name: str, results: Iterable[dict[str, Any]], image_info: Path) -> Path:
    """Write checked results as `person_keypoints_test-dev2017_NAME_results.zip` and return its path.

    Args:
        output: folder, made where missing.
        name: of the method, as the server's leaderboard shows it: letters, digits, dots, hyphens, underscores.
        results: COCO results of keypoints; coordinates in pixels.
        image_info: COCO's image_info_test-dev2017.json, which lists the images that may be named.

    Raises:
        SSHPEError: an impossible name, or results that the server would refuse; nothing is written then.
    """
    check_name(name)
    results = [_rounded(result) for result in results]
    target = Path(output) / f"{STEM.format(name)}.zip"
    _check(results, _image_ids(Path(image_info)), target)
    entry = zipfile.ZipInfo(f"{STEM.format(name)}.json", EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    with written_whole(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(entry, json.dumps(results, separators=(",", ":")))
    return target


def check_name(name: str) -> None:
    """Raises SSHPEError for a name that a submission cannot have."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise SSHPEError(f"a submission cannot be named {name!r}; use letters, digits, '.', '-' and '_'")


def check(path: Path, image_info: Path) -> int:
    """How many results a submission holds.

    Raises:
        SSHPEError: it is no zip file of the one JSON file that bears its name, or the server would refuse a
            result; every fault is named by its place in the list.
    """
    path = Path(path)
    inside = f"{path.stem}.json"
    if not re.fullmatch(STEM.format("[A-Za-z0-9._-]+"), path.stem) or path.suffix != ".zip":
        cure = f"name it {STEM.format('NAME')}.zip"
        raise bad_input(path, "name", "the server would not know it", cure)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            content = archive.read(inside) if names == [inside] else None
    except (OSError, zipfile.BadZipFile) as error:
        raise bad_input(path, "file", f"no zip file that can be read ({error})", "write it again") from error
    if content is None:
        raise bad_input(
            path, "content", f"it holds {', '.join(names) or 'nothing'}", f"put {inside} in it, alone"
        )
    try:
        results = json.loads(content)
    except ValueError as error:
        raise bad_input(path, inside, f"no JSON ({error})", "write it again") from error
    if not isinstance(results, list):
        raise bad_input(path, inside, "no list of results", "write it again")
    _check(results, _image_ids(Path(image_info)), path)
    return len(results)


def _rounded(result: dict[str, Any]) -> dict[str, Any]:
    keypoints = [round(float(value), DECIMALS) for value in result["keypoints"]]
    return result | {"keypoints": keypoints, "score": round(float(result["score"]), 6)}


def _image_ids(image_info: Path) -> set[Any]:
    document = read_annotations(image_info)
    images = document.get("images") if isinstance(document, dict) else None
    ids = (
        {image.get("id") for image in images if isinstance(image, dict)}
        if isinstance(images, list)
        else set()
    )
    if not ids:
        raise bad_input(image_info, "images", "it lists no image", "give COCO's image_info_test-dev2017.json")
    return ids


def _check(results: list[Any], images: set[int], file: Path) -> None:
    if not results:
        raise bad_input(file, "results", "there are none", "predict one person at least")
    wrong = {index: problem for index, result in enumerate(results) if (problem := _problem(result, images))}
    if wrong:
        index, problem = next(iter(wrong.items()))
        more = f" (as {len(wrong) - 1:,} more are wrong)" if len(wrong) > 1 else ""
        raise bad_input(
            file, f"result {index}", f"{problem}{more}", "the server would refuse it: predict it again"
        )


def _problem(result: Any, images: set[int]) -> str | None:
    """What the server would refuse a result for."""
    if not isinstance(result, dict) or set(result) != set(FIELDS):
        return f"its fields are not {', '.join(FIELDS)}"
    if not isinstance(result["image_id"], int) or result["image_id"] not in images:
        return f"image {result['image_id']!r} is not one of test-dev"
    if result["category_id"] != PERSON:
        return f"category {result['category_id']!r} is not {PERSON}, a person"
    keypoints = result["keypoints"]
    if not isinstance(keypoints, list) or len(keypoints) != NUMBERS:
        return f"its keypoints are not {NUMBERS} numbers"
    if not all(
        isinstance(value, int | float) and math.isfinite(value) for value in (*keypoints, result["score"])
    ):
        return "a coordinate or its score is no finite number"
    return None
