"""Joint Cutout: the student's image loses squares around joints that the teacher found ("JC Augment")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sshpe_lib.augment import boxes
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_count, check_heatmaps, check_limits, check_maps
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError


@dataclass(frozen=True)
class JointCutout:
    """Boxes of the mean colour over predicted joints; the heatmaps stay, so the student must infer them.

    joints: draws per image, with replacement, from the K keypoints of the heatmaps. The reference
    implementation draws from the 24 channels of its joint union, 7 of which never stand for a COCO joint: 5
    draws hit about 3.26 different COCO joints there and 4.4 of 17 here. A keypoint has one box, so drawing it
    twice cuts nothing more. jitter: standard deviation of the centre per axis; half_size: the smallest and
    the largest half side, drawn independently for width and height; both in pixels of a 192x256 crop, and in
    proportion to its width for another. No confidence is asked for.

    legacy_clamp: the reference implementation's slip, which swaps height and width where it clips boxes to
    the crop: of a 192x256 crop the rows from 192 on (ankles and often knees) are never cut. unbiased: heatmaps are
    those of UDP's Gaussians, whose stride is a ratio of distances between pixels; of its discs the offsets would be
    taken for joints.

    Raises:
        SSHPEError: less than one joint, a jitter below 0, half sizes below 1 or the larger first.
    """

    joints: int = 5
    jitter: float = 10.0
    half_size: tuple[int, int] = (10, 19)
    legacy_clamp: bool = False
    unbiased: bool = False

    def __post_init__(self) -> None:
        check_count("joint cutout's joints", self.joints)
        check_limits("joint cutout's jitter", (self.jitter,), 0)
        check_limits("joint cutout's half_size", tuple(self.half_size), 1)

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """image: (B, C, H, W) normalised, left as it is; heatmaps: (B, K, h, w), returned as they are.

        Raises SSHPEError after a mix, where the heatmaps no longer tell where a joint is, or where either is not
        floating or they are of other numbers of images.
        """
        check_maps("joint cutout's images", view.image)
        check_heatmaps("joint cutout", heatmaps, view.image)
        if view.after_stage is not None:
            raise SSHPEError("joint cutout must come before a mix: mixed images show parts of several people")
        height, width = view.image.shape[-2:]
        batch, keypoints = heatmaps.shape[:2]
        moved, halves = boxes.joint_boxes(batch, keypoints, width, self.jitter, self.half_size, draw)
        drawn = boxes.integers(draw.rand(batch, self.joints), keypoints)
        drawn, moved, halves = draw.send(drawn, boxes.pick(moved, drawn), boxes.pick(halves, drawn))
        found = boxes.peaks(heatmaps, width, height, self.unbiased)
        centers = (boxes.pick(found, drawn) + moved).long()
        frame = (min(width, height),) * 2 if self.legacy_clamp else (width, height)
        largest = boxes.largest_half(self.half_size, width)
        return View(boxes.cut(view.image, centers, halves, largest, frame)), heatmaps
