"""Information dropping: hide a part of the image, and ask for every keypoint all the same (AID, Huang et al. 2020)."""

from __future__ import annotations

from sshpe_lib.augment.dropping.composition import InformationDropping
from sshpe_lib.augment.dropping.cutout import InformationCutout
from sshpe_lib.augment.dropping.grid_mask import GridMask
from sshpe_lib.augment.dropping.hide_and_seek import HideAndSeek
from sshpe_lib.augment.dropping.random_erasing import RandomErasing

__all__ = ["GridMask", "HideAndSeek", "InformationCutout", "InformationDropping", "RandomErasing"]
