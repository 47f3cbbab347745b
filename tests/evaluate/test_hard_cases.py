"""Hard cases: the rule, and that it looks at labels only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data.instances import Instances
from sshpe_lib.evaluate.hard_cases import hardest
from tests import toy


@pytest.fixture
def people(tmp_path: Path) -> Instances:
    """Six people: of 17 joints so many are visible and occluded; ids fall."""
    flags = np.zeros((6, 17))
    for row, (visible, occluded) in enumerate([(17, 0), (9, 8), (8, 7), (0, 7), (4, 4), (4, 4)]):
        flags[row, :visible], flags[row, visible : visible + occluded] = 2, 1
    made = toy.instances(tmp_path, 6)
    keypoints = made.keypoints.copy()
    keypoints[..., 2] = flags
    return replace(made, keypoints=keypoints, annotation_ids=np.arange(60, 0, -10))


def test_the_largest_share_of_occluded_joints_comes_first(people: Instances) -> None:
    # 8 of 17, 7 of 15, twice 4 of 8 (the smaller id first); too few labels; nothing occluded.
    assert hardest(people, 6).tolist() == [5, 4, 1, 2]
    assert hardest(people, 2).tolist() == [5, 4]
    assert hardest(people, 6, labeled=7).tolist() == [3, 5, 4, 1, 2]


def test_nobody_is_hard_where_nothing_is_occluded(people: Instances) -> None:
    keypoints = people.keypoints.copy()
    keypoints[..., 2] = 2
    assert len(hardest(replace(people, keypoints=keypoints), 3)) == 0
