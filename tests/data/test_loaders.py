"""Batches: every step's data, whoever asks for it."""

import pytest
import torch

from sshpe_lib.data.loaders import Batches, steps_per_epoch
from sshpe_lib.data.top_down import Crops, WeakAffine
from tests import toy

SIZE = (48, 64)


@pytest.fixture
def crops(tmp_path):
    labeled = Crops(toy.instances(tmp_path / "l", 5), SIZE, weak=WeakAffine(), stream="labeled")
    unlabeled = Crops(toy.instances(tmp_path / "u", 10, seed=1), SIZE, weak=WeakAffine(), stream="unlabeled")
    return labeled, unlabeled


def test_an_epoch_sees_every_unlabeled_image_once(crops):
    batches = Batches(*crops, batch_size=4, steps=6)
    assert steps_per_epoch(10, 4) == 3
    for epoch in range(2):
        seen = torch.cat([batches[3 * epoch + i].unlabeled.index for i in range(3)])
        assert seen.sort().values.tolist() == list(range(10))
    first, second = (torch.cat([batches[s].unlabeled.index for s in e]) for e in ((0, 1, 2), (3, 4, 5)))
    assert first.tolist() != second.tolist()


def test_the_last_batch_of_an_epoch_is_smaller(crops):
    batches = Batches(*crops, batch_size=4, steps=6)
    assert [len(batches[s].unlabeled.index) for s in range(6)] == [4, 4, 2, 4, 4, 2]
    assert [len(batches[s].labeled.index) for s in range(6)] == [4, 4, 2, 4, 4, 2]


def test_pairs_are_drawn_with_replacement_and_afresh(crops):
    batches = Batches(*crops, batch_size=10, steps=40)
    epochs = [batches[s].labeled.index.tolist() for s in range(40)]
    assert any(len(set(epoch)) < 5 for epoch in epochs)  # 10 draws of 5, without replacement none would miss
    assert len({tuple(epoch) for epoch in epochs}) > 30


def test_supervised_steps_pass_over_the_labeled_images(crops):
    batches = Batches(crops[0], None, batch_size=5, steps=3)
    assert all(batches[s].unlabeled is None for s in range(3))
    assert [sorted(batches[s].labeled.index.tolist()) for s in range(3)] == [[0, 1, 2, 3, 4]] * 3


def test_supervised_batches_cross_the_end_of_a_pass(crops):
    batches = Batches(crops[0], None, batch_size=4, steps=5)
    seen = torch.cat([batches[s].labeled.index for s in range(5)])
    assert torch.bincount(seen).tolist() == [4] * 5


def test_a_burn_in_is_supervised(crops):
    batches = Batches(*crops, batch_size=4, steps=6, burn_in=2)
    assert [batches[s].unlabeled is None for s in range(6)] == [True, True, False, False, False, False]


@pytest.mark.parametrize("burn_in", [0, 2])
def test_two_ranks_share_what_one_would_see(crops, burn_in):
    whole = Batches(*crops, batch_size=4, steps=4, burn_in=burn_in)
    parts = [Batches(*crops, batch_size=4, steps=4, burn_in=burn_in, rank=r, world=2) for r in range(2)]
    for step in (0, 1, 2):
        for role in ("labeled", "unlabeled"):
            one, two = getattr(whole[step], role), [getattr(part[step], role) for part in parts]
            if one is not None and len(one.index) == 4:
                for field in one._fields:
                    assert torch.equal(getattr(one, field), torch.cat([getattr(part, field) for part in two]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loader_goes_on_where_the_other_would_be(crops, workers):
    batches = Batches(*crops, batch_size=4, steps=5)
    resumed = list(batches.loader(3, workers=workers))
    assert len(resumed) == 2
    for step, batch in zip((3, 4), resumed, strict=True):
        batch = batch.open() if workers else batch
        assert torch.equal(batch.unlabeled.image, batches[step].unlabeled.image)
        assert torch.equal(batch.labeled.points, batches[step].labeled.points)
