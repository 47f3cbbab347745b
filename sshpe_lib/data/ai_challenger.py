"""AI Challenger's people with COCO's keypoints: the twelve joints of the limbs are in both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sshpe_lib.data import coco
from sshpe_lib.data.instances import Instances
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import AIC14, COCO17

SHARED = [name for name in COCO17.keypoints if name in AIC14.keypoints]
_TO, _FROM = ([skeleton.keypoints.index(name) for name in SHARED] for skeleton in (COCO17, AIC14))


def load_instances(annotations: Path, image_root: Path, check_images: bool = True) -> Instances:
    """Every valid person of an AI Challenger file in COCO format, as a person of COCO's 17 keypoints.

    Head and neck go, COCO's five points of the face are unlabelled, and so teach nothing. Who has neither arms nor
    legs labelled is left out. Raises SSHPEError as `coco.load_instances`, and for another keypoint set.
    """
    found = coco.load_instances(annotations, image_root, check_images=check_images)
    if found.skeleton != AIC14:
        raise SSHPEError(
            f"{annotations}: its keypoints are those of {found.skeleton.name}, not AI Challenger's 14; give AI "
            "Challenger's file in COCO format, or make it a source of kind 'coco'"
        )
    keypoints = np.zeros((len(found), len(COCO17), 3), dtype=np.float32)
    keypoints[:, _TO] = found.keypoints[:, _FROM]
    labelled = (keypoints[..., 2] > 0).any(1)
    return replace(found, skeleton=COCO17, keypoints=keypoints).select(np.flatnonzero(labelled))
