"""People of two files in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sshpe_lib.data.instances import concatenate
from sshpe_lib.data.top_down import Crops
from sshpe_lib.skeleton import LSP14
from tests import toy


def test_joined_people_are_those_of_both_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = (
        toy.instances(tmp_path / "one", 3, seed=1),
        toy.instances(Path("two"), 2, seed=2),
    )  # a relative folder
    both = concatenate(one, two)
    assert len(both) == 5 and len(both.file_names) == 5
    for row in range(5):
        part, index = (one, row) if row < 3 else (two, row - 3)
        assert both.path(row).samefile(part.path(index))
        assert np.array_equal(both.keypoints[row], part.keypoints[index])
    monkeypatch.chdir("/")  # where one works does not matter any more
    joined, second = (Crops(people, (48, 64)) for people in (both, replace(two, image_root=tmp_path / "two")))
    assert np.array_equal(joined.batch([3, 4]).image, second.batch([0, 1]).image)


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_mask_selects_where_it_is_true(tmp_path: Path, kind) -> None:
    people = toy.instances(tmp_path, 4)
    mask = kind([False, True, False, True])
    for some in (people.select(mask), Crops(people, (48, 64)).select(mask).instances):
        assert some.annotation_ids.tolist() == people.annotation_ids[[1, 3]].tolist()
    assert len(people.select(kind([False] * 4))) == 0


@pytest.mark.parametrize("mask", [[True, False], [[True, False, True]]])
def test_a_mask_of_another_length_is_refused(tmp_path: Path, mask: list) -> None:
    with pytest.raises(IndexError, match="cannot select of 3 instances"):
        toy.instances(tmp_path, 3).select(mask)


def test_different_keypoints_do_not_go_together(tmp_path: Path) -> None:
    one = toy.instances(tmp_path, 2)
    with pytest.raises(ValueError, match="different keypoints"):
        concatenate(one, replace(one, skeleton=LSP14))
