"""Synthetic people: rendered images of people with COCO keypoints, made from a seed."""

from __future__ import annotations

from sshpe_lib.data.synthetic.dataset import build, contact_sheet
from sshpe_lib.data.synthetic.rendering import render
from sshpe_lib.data.synthetic.spec import VERSION, SyntheticPeople, fingerprint

__all__ = ["VERSION", "SyntheticPeople", "build", "contact_sheet", "fingerprint", "render"]
