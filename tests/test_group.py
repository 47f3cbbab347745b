"""The data of Figures 1 and 2: the library's operations on one group of a profile's people."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sshpe_lib import group, tables
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.meeting import tiles_that_meet
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report import style
from sshpe_lib.report.meeting import Stage
from sshpe_lib.report.mixing import StrongViews, joints_covered
from sshpe_lib.seeding import torch_stream


@pytest.fixture(scope="module")
def views() -> StrongViews:
    return group.strong_views("smoke", seed=3)


def test_people_are_shown_in_rgb_whatever_the_network_reads(
    views: StrongViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, bgr = tables.experiment, {"data.color": "bgr"}
    monkeypatch.setattr(tables, "experiment", lambda *given, set: made(*given, set=set | bgr))
    other = group.strong_views("smoke", seed=3)
    assert np.array_equal(other.group.images, views.group.images)
    assert np.array_equal(other.unmixed, views.unmixed)
    (cover,), (usual,) = (np.unique(one.cut[one.covered], axis=0) for one in (other, views))
    assert cover.tolist() == usual[::-1].tolist() != usual.tolist()  # the mean, as the network reads it


def test_crops_have_the_profiles_size_and_every_joint_inside(views: StrongViews) -> None:
    assert views.group.images.shape == (4, 64, 48, 3) and views.group.images.dtype == np.uint8
    assert views.group.size == (48, 64)
    assert (views.group.points >= 0).all() and (views.group.points < views.group.size).all()
    assert views.group.description == "4 people of the profile smoke"
    assert len(np.unique(views.group.images.reshape(4, -1), axis=0)) == 4


def test_joint_cutout_changes_what_it_covers_and_nothing_else(views: StrongViews) -> None:
    images, covered = views.group.images, views.covered
    assert np.array_equal(views.cut[~covered], images[~covered])
    assert len(np.unique(views.cut[covered], axis=0)) == 1  # the mean colour
    assert covered.any((1, 2)).all()
    assert 0.01 < covered.mean() < 0.25


def test_joint_cutout_is_at_the_joints(views: StrongViews, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jitter every box holds the joint it was drawn for, up to the heatmap's stride."""
    monkeypatch.setattr(group, "JointCutout", lambda: JointCutout(joints=200, jitter=0.0))
    made = group.strong_views("smoke", seed=3)
    assert joints_covered(made) == made.group.points[..., 0].size
    assert joints_covered(views) < joints_covered(made)


def test_mixed_tiles_come_from_their_sources(views: StrongViews) -> None:
    mixed = views.mixed.reshape(4, 4, 16, 3, 16, 3)
    images = views.group.images.reshape(4, 4, 16, 3, 16, 3)
    for slot in range(4):
        for row in range(4):
            for col in range(3):
                there = (row, slice(None), col)
                assert np.array_equal(mixed[(slot, *there)], images[(views.sources[slot, row, col], *there)])
    assert np.array_equal(
        np.sort(views.sources, axis=0), np.arange(4)[:, None, None].repeat(4, 1).repeat(3, 2)
    )
    assert not np.array_equal(views.mixed, views.group.images)


def test_unmixing_restores_the_people_to_the_bit(views: StrongViews) -> None:
    assert np.array_equal(views.unmixed, views.group.images)


def test_the_seed_decides_everything(views: StrongViews) -> None:
    again, other = group.strong_views("smoke", seed=3), group.strong_views("smoke", seed=4)
    for name in ("cut", "mixed", "sources"):
        assert np.array_equal(getattr(again, name), getattr(views, name))
        assert not np.array_equal(getattr(other, name), getattr(views, name))
    assert np.array_equal(again.group.images, views.group.images)
    assert not np.array_equal(other.group.images, views.group.images)


def test_the_seed_decides_what_is_dropped_and_who_meets() -> None:
    one, other = (dict(group.dropped_views("smoke", count=3, seed=seed)) for seed in (1, 2))
    assert not any(np.array_equal(one[name], other[name]) for name in one)
    dropped = [
        {name: (seen[name] != seen["original"]).any(-1) for name in ("Random Erasing", "Cutout")}
        for seen in (one, other)
    ]
    assert not any(np.array_equal(dropped[0][name], dropped[1][name]) for name in dropped[0])
    met, again, otherwise = (group.meetings(groups=10, seed=seed).measured for seed in (0, 0, 1))
    assert np.array_equal(met, again) and not np.array_equal(met, otherwise)


def test_everybody_who_is_whole_may_be_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "COLORS", style.COLORS * 200)
    with pytest.raises(SSHPEError, match="people have every joint") as caught:
        group.strong_views("smoke", group=999)
    whole = int(re.search(r"(\d+) people have every joint", str(caught.value))[1])
    assert len(group.strong_views("smoke", group=whole).mixed) == whole


def test_people_with_an_unlabelled_joint_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sources.instances

    def unlabelled(source):
        people = made(source)
        keypoints = people.keypoints.copy()
        keypoints[:, 3, 2] = 0
        return replace(people, keypoints=keypoints)

    monkeypatch.setattr(sources, "instances", unlabelled)
    with pytest.raises(SSHPEError, match="0 people have every joint inside their box"):
        group.strong_views("smoke")


def test_both_figures_show_the_same_people(views: StrongViews) -> None:
    made = group.connections("smoke", seed=3).group
    assert np.array_equal(made.images, views.group.images)
    assert np.array_equal(made.points, views.group.points)


def test_other_groups_and_tiles() -> None:
    made = group.strong_views("smoke", group=3, tiles=(2, 4), seed=0)
    assert made.mixed.shape == (3, 64, 48, 3) and made.sources.shape == (3, 2, 4)
    assert np.array_equal(made.unmixed, made.group.images)


def met(stage: Stage) -> np.ndarray:
    """Which tiles of a person share a slot, from the arrangement alone, (N, T, T)."""
    slot = np.argsort(stage.sources, axis=0).reshape(len(stage.sources), -1)
    return slot[:, :, None] == slot[:, None, :]


def test_there_is_a_stage_for_every_mix_and_they_agree_with_their_arrangement() -> None:
    made = group.connections("smoke", sites=("stem", "layer1", "layer3"), seed=1)
    assert [stage.name for stage in made.stages] == ["image", "stem", "layer1", "layer3"]
    for stage in made.stages:
        assert stage.sources.shape == (4, 4, 3) and stage.together.shape == (4, 12, 12)
        assert np.array_equal(stage.together, met(stage))
    assert len({stage.sources.tobytes() for stage in made.stages}) == 4


def test_an_arrangement_is_where_features_are() -> None:
    """The sources of a stage are what a batch of numbered pictures becomes on its way through the mix."""
    made = group.connections("smoke", sites=("layer1", "layer3"), seed=1)
    mum = PoseMUM(sites=("layer1", "layer3"), probability=1.0)
    mix = mum.draw(4, Draw(torch_stream("figure", 1)))
    numbered = torch.arange(4.0)[:, None, None, None].expand(4, 1, 4, 3).contiguous()
    features = mix.image(numbered)
    assert np.array_equal(features[:, 0].numpy(), made.stages[0].sources)
    for stage in made.stages[1:]:
        features = mix.after_stage(stage.name, features)
        assert np.array_equal(features[:, 0].numpy(), stage.sources)


def test_mum_is_the_first_stage_alone() -> None:
    assert [stage.name for stage in group.connections("smoke", sites=(), seed=1).stages] == ["image"]


@pytest.mark.parametrize("people", [2, 4])
def test_tiles_meet_as_often_as_the_closed_form_says(people: int) -> None:
    made = group.meetings(people, groups=2000)
    assert np.allclose(made.expected, 1 - (1 - 1 / people) ** np.arange(1, 5))
    # Pairs of one tile depend on one another; 2,000 groups alone would have a standard error of 0.011.
    assert np.abs(made.measured - made.expected).max() < 0.011
    assert (made.group, made.groups) == (people, 2000)


def test_meetings_measure_the_papers_four_figures() -> None:
    assert np.round(group.meetings().expected, 2).tolist() == [0.25, 0.44, 0.58, 0.68]


def test_meetings_only_grow() -> None:
    measured = group.meetings(5, (2, 2), stages=6, groups=50).measured
    assert (np.diff(measured) > 0).all() and len(measured) == 6


def test_two_people_of_two_tiles_may_stay_as_they_are_at_a_stage() -> None:
    """One of four permutations of so few tiles moves nothing; it is a stage all the same."""
    for seed in range(8):
        made = group.meetings(2, (1, 2), groups=1, seed=seed)
        assert made.measured.shape == made.expected.shape == (4,)


@pytest.mark.parametrize("pairs", [1, 2**24])
def test_meetings_are_counted_over_every_pair(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are looked at together."""
    monkeypatch.setattr(group, "_PAIRS", pairs, raising=False)
    mum = PoseMUM(3, (2, 3), sites=("mix 2", "mix 3"), probability=1.0)
    mix = mum.draw(3 * 40, Draw(torch_stream("meetings", 5)))
    first, second = torch.triu_indices(6, 6, offset=1)
    met = torch.stack([pairs[:, first, second] for _, pairs in tiles_that_meet(mix)])
    expected = met.cumsum(0).gt(0).double().mean((1, 2))
    assert group.meetings(3, (2, 3), stages=3, groups=40, seed=5).measured.tolist() == expected.tolist()


class Largest(TorchDispatchMode):
    """Inside the block the size of the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.bytes = max(self.bytes, made.nbytes)
        return made


def test_meetings_of_many_small_tiles_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_PAIRS", 2**20, raising=False)
    with Largest() as seen:
        group.meetings(4, (16, 12), groups=20)  # 80 people of 192 x 192 pairs, in four stages
    assert seen.bytes < 2e6


@pytest.mark.parametrize("wrong", [{"group": 1}, {"tiles": (1, 1)}, {"groups": 0}, {"stages": 0}])
def test_meetings_of_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(SSHPEError, match="give groups of at least 2 people, at least 2 tiles"):
        group.meetings(**wrong)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tiles": (5, 3)}, r"48x64 \(width x height\) does not divide into 3 columns x 5 rows"),
        ({"group": 1}, "group is 1; give a whole number from 2 on"),
        ({"group": "4"}, "group is '4'; give a whole number from 2 on"),
    ],
)
def test_what_cannot_be_drawn_is_refused(asked: dict, message: str) -> None:
    for make in (group.strong_views, group.connections):
        with pytest.raises(SSHPEError, match=message):
            make("smoke", **asked)


def test_a_group_that_no_figure_can_show_is_refused_before_anybody_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "instances", lambda _: pytest.fail("people were drawn"))
    for make in (group.strong_views, group.connections):
        with pytest.raises(SSHPEError, match="group is 7; the figure can tell at most 6 people apart"):
            make("smoke", group=7)


@pytest.mark.parametrize("seed", ["x", 1.5, -1, True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    for make in (group.strong_views, group.connections, group.dropped_views):
        with pytest.raises(SSHPEError, match=f"seed is {seed!r}; give a whole number from 0 on"):
            make("smoke", seed=seed)


@pytest.mark.parametrize("count", ["x", 2.5, 0])
def test_a_number_of_people_is_a_whole_number(count: object) -> None:
    with pytest.raises(SSHPEError, match=f"count is {count!r}; give a whole number from 1 on"):
        group.dropped_views("smoke", count=count)


def test_sites_may_be_a_text() -> None:
    made = group.connections("smoke", sites="layer1 layer3")
    assert [stage.name for stage in made.stages] == ["image", "layer1", "layer3"]
    with pytest.raises(SSHPEError, match="sites"):
        group.connections("smoke", sites=5)


@pytest.mark.parametrize("sites", [("layer4",), ("head", "layer1"), ("layer3", "layer1")])
def test_an_impossible_site_is_refused(sites: tuple[str, ...]) -> None:
    with pytest.raises(SSHPEError, match="site"):
        group.connections("smoke", sites=sites)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(SSHPEError, match="no profile 'smok'"):
        group.strong_views("smok")


def test_photographs_without_data_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSHPE_DATA", raising=False)
    with pytest.raises(SSHPEError, match="Set SSHPE_DATA to the folder that holds lsp/annotations"):
        group.strong_views("lsp")


@pytest.mark.real_data
def test_photographs(sshpe_data: Path) -> None:
    made = group.strong_views("lsp", seed=3)
    assert made.group.images.shape == (4, 128, 96, 3) and made.group.points.shape == (4, 14, 2)
    assert np.array_equal(made.unmixed, made.group.images)


def test_every_way_to_drop_information_shows_the_same_people() -> None:
    shown = dict(group.dropped_views("smoke", count=3, seed=1))
    assert list(shown) == ["original", "Random Erasing", "Cutout", "Hide-and-Seek", "GridMask"]
    original = shown.pop("original")
    assert original.shape == (3, 64, 32, 3) and original.dtype == np.uint8
    for images in shown.values():
        changed = (images != original).any(-1)
        assert 0 < changed.mean() < 0.9
        assert len(np.unique(images[changed], axis=0)) == 1  # one colour
    again = group.dropped_views("smoke", count=3, seed=1)
    assert all(np.array_equal(images, (shown | {"original": original})[name]) for name, images in again)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"profile": 3}, "3"),
        ({"tiles": ("3", 4)}, "rows is '3'; give a whole number from 1 on"),
        ({"tiles": (4, 3.5)}, "columns is 3.5; give a whole number from 1 on"),
    ],
)
def test_what_a_notebook_may_be_given_by_mistake_is_told(asked: dict, told: str) -> None:
    asked = {"profile": "smoke"} | asked
    with pytest.raises(SSHPEError, match=told):
        group.strong_views(asked.pop("profile"), group=4, seed=0, **asked)
