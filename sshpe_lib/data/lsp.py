"""Leeds Sports Pose and its extended set, from the original .mat files to COCO keypoint format.

Johnson and Everingham, BMVC 2010 (LSP: 2,000 images, of which the first 1,000 are for training) and CVPR 2011
(LSP Extended: 10,000 images, labelled by a crowd). Coordinates stay as the files give them; MATLAB counts
pixels from 1, which is half a per cent of a person here.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from tqdm import tqdm

from sshpe_lib.data.faults import bad_input
from sshpe_lib.data.images import read_image
from sshpe_lib.data.tables import AREA_OF_BOX
from sshpe_lib.skeleton import LSP14, to_category
from sshpe_lib.writing import written_whole

# The files have no boxes: the joints' extent, widened by this share of its own side at each end.
_MARGIN = 0.15
# Records are pinned to the bytes of a file, and the book's to a conversion of LSP whose words these are.
_CONVERTED = "converted to COCO keypoint format; bbox = joint extent padded 15%, area = 0.53*bbox"


def convert_lsp(
    joints_mat: Path, image_root: Path, out: Path, *, first: int = 1, last: int | None = None
) -> Path:
    """Write images `first` to `last` (from 1, both included) of LSP as COCO keypoint JSON; returns `out`.

    joints_mat: the original joints.mat, `joints` (3, 14, 2000); its third row is 1 where a joint is hidden,
    so v = 1 there and v = 2 elsewhere. image_root: the folder of im0001.jpg...
    Raises SSHPEError for another file, an image range outside it, or an image that cannot be read.
    """
    joints = _joints(Path(joints_mat), (3, 14), "LSP").transpose(2, 1, 0)
    if joints[..., 2].mean() > 0.5:
        problem = f"{joints[..., 2].mean():.0%} of the joints are marked, so the marks mean visible"
        raise bad_input(joints_mat, "joints", problem, "give LSP's own joints.mat, where 1 means hidden")
    joints[..., 2] = 2 - joints[..., 2]
    info = {
        "description": f"Leeds Sports Pose (Johnson & Everingham, BMVC 2010), {_CONVERTED}",
        "url": "http://sam.johnson.io/research/lsp.html",
    }
    return _write(joints, Path(joints_mat), Path(image_root), Path(out), first, last, "im{:04d}.jpg", info)


def convert_lspet(
    joints_mat: Path, image_root: Path, out: Path, *, first: int = 1, last: int | None = None
) -> Path:
    """Write images `first` to `last` of LSP Extended as COCO keypoint JSON, as `convert_lsp`; returns `out`.

    joints_mat: the original joints.mat, `joints` (14, 3, 10000); its third column is 1 where a joint is
    labelled, so v = 2 there; elsewhere x, y and v become 0. image_root: the folder of im00001.jpg...
    Raises SSHPEError for another file, an image range outside it, or an image that cannot be read.
    """
    joints = _joints(Path(joints_mat), (14, 3), "LSP Extended").transpose(2, 0, 1)
    joints = np.where(joints[..., 2:] > 0, joints * (1, 1, 2), 0)
    info = {
        "description": f"Leeds Sports Pose Extended (Johnson & Everingham, CVPR 2011), {_CONVERTED}",
        "url": "http://sam.johnson.io/research/lspet.html",
    }
    return _write(joints, Path(joints_mat), Path(image_root), Path(out), first, last, "im{:05d}.jpg", info)


def _joints(path: Path, shape: tuple[int, int], name: str) -> np.ndarray:
    cure = f"give {name}'s own joints.mat"
    if not path.is_file():
        raise bad_input(path, "the file", "it does not exist", cure)
    try:
        joints = loadmat(path).get("joints")
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise bad_input(path, "the file", f"it is no MATLAB file that SciPy reads ({error})", cure) from None
    if joints is None or joints.ndim != 3 or joints.shape[:2] != shape or joints.dtype.kind not in "iuf":
        found = "missing" if joints is None else f"{joints.dtype} of shape {joints.shape}"
        raise bad_input(path, "joints", f"it is {found}, not numbers of shape {(*shape, 'N')}", cure)
    joints = joints.astype(np.float64)
    flags = joints[2] if shape[0] == 3 else joints[:, 2]
    if not np.isfinite(joints).all() or not np.isin(flags, (0, 1)).all():
        problem = "it holds a number that is not finite, or a flag other than 0 and 1"
        raise bad_input(path, "joints", problem, cure)
    return joints


def _write(
    joints: np.ndarray,
    joints_mat: Path,
    image_root: Path,
    out: Path,
    first: int,
    last: int | None,
    pattern: str,
    info: dict[str, str],
) -> Path:
    last = len(joints) if last is None else last
    if not 1 <= first <= last <= len(joints):
        problem = f"images {first} to {last} of {len(joints)} are wanted"
        raise bad_input(joints_mat, "joints", problem, f"ask for a range within 1..{len(joints)}")
    images, annotations = [], []
    for number in tqdm(range(first, last + 1), desc=out.name, unit="image", disable=None):
        name = pattern.format(number)
        height, width = read_image(image_root / name, f"{joints_mat}, image {number}").shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations.append(_annotation(joints[number - 1], number, width, height))
    document = {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [to_category(LSP14)],
    }
    with written_whole(out) as partial:
        partial.write_text(json.dumps(document))
    return out


def _annotation(joints: np.ndarray, number: int, width: int, height: int) -> dict:
    """One person: joints (14, 3) x, y, v. Without a labelled joint the box and area are 0."""
    labelled = joints[joints[:, 2] > 0, :2]
    corner: list[float] = [0, 0]
    size: list[float] = [0, 0]
    for axis, side in enumerate((width, height) if len(labelled) else ()):
        low, high = labelled[:, axis].min().item(), labelled[:, axis].max().item()
        margin = _MARGIN * (high - low)
        # A clipped end is a whole number, and is written as one.
        corner[axis] = max(0, low - margin)
        size[axis] = max(0, min(side, high + margin) - corner[axis])
    keypoints = [round(value, 2) for value in joints.ravel().tolist()]
    keypoints[2::3] = [int(v) for v in joints[:, 2]]
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": len(labelled),
        "bbox": [round(value, 2) for value in (*corner, *size)],
        "area": round(AREA_OF_BOX * (size[0] * size[1]), 2),
        "segmentation": [],
    }
