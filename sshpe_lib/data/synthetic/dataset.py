"""The rendered data set on disk, in COCO format, and a contact sheet of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from tqdm import tqdm

from sshpe_lib.data.synthetic.rendering import render
from sshpe_lib.data.synthetic.spec import VERSION, SyntheticPeople, fingerprint
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.skeleton import COCO17, to_category
from sshpe_lib.writing import write_picture

_CHUNK = 32  # images a worker renders at a time


def build(spec: SyntheticPeople, cache: Path, progress: bool = True, workers: int = 1) -> Path:
    """Render the data set into `cache`, or find it there; returns the path of its annotation file.

    Writes `cache/<fingerprint>/annotations.json` and `cache/<fingerprint>/images/*.png`; `file_name` entries are
    relative to `images/`. The folder appears by one rename when it is complete; processes that ask at one time
    render it once. Raises SSHPEError if the cache cannot be written or `workers` is no whole number from 1 on.
    """
    whole_number("workers", workers, 1)
    cache = Path(cache)
    name = fingerprint(spec)
    final = cache / name
    annotations = final / "annotations.json"
    try:
        if annotations.is_file():
            return annotations
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{name}.lock"):
            if annotations.is_file():
                return annotations
            for stale in cache.glob(f".{name}-*"):  # left by a process that died; we hold the lock
                shutil.rmtree(stale)
            partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
            try:
                _write(spec, partial, progress, workers)
                partial.chmod(0o755)
                shutil.rmtree(final, ignore_errors=True)  # nobody reads one that has no annotations
                os.rename(partial, final)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise SSHPEError(
            f"{cache}: synthetic people cannot be written there ({error}); name another folder or free space"
        ) from error
    return annotations


def _write(spec: SyntheticPeople, folder: Path, progress: bool, workers: int) -> None:
    (folder / "images").mkdir()
    images: list[dict] = []
    annotations: list[dict] = []
    bar = tqdm(total=spec.images, desc="synthetic people", unit="image", disable=not progress)
    with bar:
        for index, found in _rendered(spec, folder / "images", workers):
            image_id = spec.first_id + index
            images.append(
                {"id": image_id, "file_name": _file_name(index), "height": spec.height, "width": spec.width}
            )
            for annotation in found:
                annotations.append(
                    {"id": spec.first_id + len(annotations), "image_id": image_id, **annotation}
                )
            bar.update()
    info = {"description": "sshpe synthetic people", "version": str(VERSION), "spec": asdict(spec)}
    content = {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [to_category(COCO17)],
    }
    (folder / "annotations.json").write_text(json.dumps(content, separators=(",", ":")))


def _file_name(index: int) -> str:
    return f"{index:06d}.png"


def _rendered(spec: SyntheticPeople, folder: Path, workers: int) -> Iterator[tuple[int, list[dict]]]:
    """Render every image into `folder`; yields (index, annotations) in order."""
    chunks = [range(i, min(i + _CHUNK, spec.images)) for i in range(0, spec.images, _CHUNK)]
    if workers == 1:
        for chunk in chunks:
            yield from _render_chunk(spec, folder, chunk)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for found in pool.map(_render_chunk, [spec] * len(chunks), [folder] * len(chunks), chunks):
            yield from found


def _render_chunk(spec: SyntheticPeople, folder: Path, indices: range) -> list[tuple[int, list[dict]]]:
    done = []
    for index in indices:
        image, annotations = render(spec, index)
        write_picture(folder / _file_name(index), image, cv2.IMWRITE_PNG_COMPRESSION, 1)
        done.append((index, annotations))
    return done


def contact_sheet(spec: SyntheticPeople, columns: int, rows: int, keypoints: bool) -> np.ndarray:
    """A picture of the first columns * rows scenes, (H, W, 3) uint8 RGB.

    With `keypoints` the lower half of the rows is drawn with its annotations: limbs, joints (filled where
    seen, hollow where hidden) and boxes; the left side of the body is orange, the right blue.
    Raises SSHPEError where `columns` or `rows` is no whole number from 1 on.
    """
    columns, rows = whole_number("columns", columns, 1), whole_number("rows", rows, 1)
    lines = []
    for row in range(rows):
        cells = [render(spec, row * columns + column) for column in range(columns)]
        drawn = keypoints and row >= rows // 2
        lines.append(np.hstack([_annotated(*cell) if drawn else _enlarged(cell[0]) for cell in cells]))
    return np.vstack(lines)


_ZOOM = 2


def _enlarged(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)


def _annotated(image: np.ndarray, annotations: list[dict]) -> np.ndarray:
    picture = _enlarged(image)
    for annotation in annotations:
        points = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        places = np.rint(points[:, :2] * _ZOOM + 0.5 * (_ZOOM - 1)).astype(int)
        colours = [_side_colour(name) for name in COCO17.keypoints]
        for a, b in COCO17.limbs:
            if points[a, 2] and points[b, 2]:
                cv2.line(picture, places[a].tolist(), places[b].tolist(), colours[a], 1, cv2.LINE_AA)
        for place, flag, colour in zip(places.tolist(), points[:, 2], colours, strict=True):
            if flag:
                cv2.circle(picture, place, 3, colour, cv2.FILLED if flag == 2 else 1, cv2.LINE_AA)
        x, y, w, h = (_ZOOM * v for v in annotation["bbox"])
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), (255, 255, 255), 1)
    return picture


def _side_colour(name: str) -> tuple[int, int, int]:
    if name.startswith("left_"):
        return (255, 150, 30)
    return (40, 150, 255) if name.startswith("right_") else (90, 230, 90)
