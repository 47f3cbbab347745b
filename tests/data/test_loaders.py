"""Batches: every step's data, whoever asks for it."""

import numpy as np
import pytest
import torch

from sshpe_lib.data import loaders
from sshpe_lib.data.loaders import Batches, TrainBatch, steps_per_epoch
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.parcel import pack
from sshpe_lib.seeding import numpy_stream
from tests import toy
from tests.test_parcel import crops as small_crops

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
@pytest.mark.parametrize(("batch_size", "world"), [(4, 2), (4, 4), (6, 2), (6, 3), (8, 8), (16, 8), (10, 10)])
def test_ranks_share_what_one_would_see(crops, batch_size, world, burn_in):
    """Every batch, the last of an epoch too: the ranks have as much each, and more is the epoch's beginning."""
    settings = {"batch_size": batch_size, "steps": 6, "burn_in": burn_in}
    whole = Batches(*crops, **settings)
    ranks = [Batches(*crops, **settings, rank=rank, world=world) for rank in range(world)]
    for step in range(6):
        first = step if step < burn_in else step - (step - burn_in) % steps_per_epoch(10, batch_size)
        for role in ("labeled", "unlabeled"):
            one, begin = getattr(whole[step], role), getattr(whole[first], role)
            if one is None:
                assert all(getattr(rank[step], role) is None for rank in ranks)
                continue
            shares, more = [getattr(rank[step], role) for rank in ranks], -len(one.index) % world
            assert {len(share.index) for share in shares} == {(len(one.index) + more) // world}
            for field in one._fields:
                expected = torch.cat([getattr(one, field), getattr(begin, field)[:more]])
                assert torch.equal(torch.cat([getattr(share, field) for share in shares]), expected)


def test_a_pool_smaller_than_the_processes_is_refused(crops):
    assert len(Batches(*crops, batch_size=10, steps=1, world=10)[0].unlabeled.index) == 1
    with pytest.raises(
        SSHPEError, match=r"toy.json: .* pool has 10 entries, fewer than the 11 processes .* start fewer"
    ):
        Batches(*crops, batch_size=11, steps=1, world=11)


def test_every_pass_sees_other_views_of_the_same_image(tmp_path):
    """Of one image at one place: in a burn-in of a step, and in two epochs of one step."""
    labeled, unlabeled = (
        Crops(toy.instances(tmp_path / name, 1), SIZE, weak=WeakAffine(), stream=name) for name in ("l", "u")
    )
    batches = Batches(labeled, unlabeled, batch_size=1, steps=3, burn_in=1)
    supervised, first, second = (batches[step] for step in range(3))
    assert not torch.equal(supervised.labeled.image, first.labeled.image)
    assert not torch.equal(first.labeled.image, second.labeled.image)
    assert not torch.equal(first.unlabeled.image, second.unlabeled.image)


def test_orders_are_those_of_their_streams(crops):
    """The bits that every record rests on."""
    labeled = np.concatenate([numpy_stream(7, "supervised order", e).permutation(5) for e in range(4)])
    batches = Batches(crops[0], None, batch_size=4, steps=5, seed=7)
    assert torch.cat([batches[s].labeled.index for s in range(5)]).tolist() == labeled.tolist()
    batches = Batches(*crops, batch_size=4, steps=6, seed=7)
    for epoch in range(2):
        steps = [batches[3 * epoch + i] for i in range(3)]
        order, pairs = numpy_stream(7, "order", epoch), numpy_stream(7, "pairs", epoch)
        assert torch.cat([s.unlabeled.index for s in steps]).tolist() == order.permutation(10).tolist()
        assert torch.cat([s.labeled.index for s in steps]).tolist() == pairs.integers(5, size=10).tolist()


def test_both_parts_of_a_batch_go_to_the_device():
    there = TrainBatch(small_crops(2), small_crops(1)).to("meta")
    assert there.labeled.image.is_meta and there.unlabeled.image.is_meta
    assert TrainBatch(small_crops(2), None).to("meta").unlabeled is None


@pytest.mark.parametrize(("burn_in", "usual"), [(0, 0), (2, 2), (6, 0)])
def test_a_usual_batch_has_unlabelled_images_where_there_are_any(burn_in, usual):
    batches = Batches(Asked(5), Asked(6) if burn_in < 6 else None, batch_size=4, steps=6, burn_in=burn_in)
    assert loaders.usual_step(batches) == usual


class Asked:
    """So many people, who only say what they are asked for."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def batch(self, indices, epoch, places):
        return epoch, places.tolist()


def test_what_a_person_draws_is_named_by_epoch_and_place():
    """Steps of the burn-in count on through all of it, in an epoch of their own."""
    batches = Batches(Asked(5), Asked(6), batch_size=4, steps=6, burn_in=2)
    wanted = [(0, [0, 1, 2, 3]), (0, [4, 5]), (1, [0, 1, 2, 3]), (1, [4, 5])]
    assert [batches[step].labeled for step in range(6)] == [(-1, [0, 1, 2, 3]), (-1, [4, 5, 6, 7]), *wanted]
    assert [batches[step].unlabeled for step in range(2, 6)] == wanted


@pytest.mark.parametrize("semi", [False, True])
def test_an_order_is_drawn_once_a_pass_and_not_a_step(crops, semi, monkeypatch):
    drawn = []

    def stream(*names):
        drawn.append(names)
        return numpy_stream(*names)

    monkeypatch.setattr(loaders, "numpy_stream", stream)
    batches = Batches(crops[0], crops[1] if semi else None, batch_size=2, steps=10, seed=99)
    for step in range(10):
        batches[step]
    assert len(drawn) == len(set(drawn)) == 4  # an order and partners of 2 epochs, or orders of 4 passes


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_loader_goes_on_where_the_other_would_be(crops, workers):
    batches = Batches(*crops, batch_size=4, steps=5)
    resumed = list(batches.loader(3, workers=workers))
    assert len(resumed) == 2
    for step, batch in zip((3, 4), resumed, strict=True):
        batch = batch.open() if workers else batch
        assert torch.equal(batch.unlabeled.image, batches[step].unlabeled.image)
        assert torch.equal(batch.labeled.points, batches[step].labeled.points)


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 0, "pin_memory": True}])
@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_a_bad_image_is_told_wherever_it_is_read(crops, how):
    batches = Batches(crops[0], None, batch_size=2, steps=2)
    row = int(batches[1].labeled.index[0])  # not of the first batch, which this process looks at
    people = crops[0].instances
    people.path(row).write_bytes(b"")
    batches = Batches(Crops(people, SIZE), None, batch_size=2, steps=2)
    with pytest.raises(SSHPEError, match=f"annotation {101 + row}: the image file is empty; "):
        list(batches.loader(0, **how))


@pytest.mark.parametrize("semi", [False, True])
def test_batches_of_one_size_fill_their_places_of_a_ring(crops, semi, monkeypatch):
    asked, batches = [], Batches(crops[0], crops[1] if semi else None, batch_size=4, steps=2)
    ring = loaders.Ring
    monkeypatch.setattr(loaders, "Ring", lambda places, each: asked.append(each) or ring(places, each))
    assert [parcel.memory.numel() for parcel in batches.loader(0, workers=1)] == asked * 2


def test_only_a_lost_loader_process_is_told_as_one():
    with pytest.raises(SSHPEError, match="a process that reads images was lost"), loaders.lost_workers_told():
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")
    with pytest.raises(RuntimeError, match="out of memory"), loaders.lost_workers_told():
        raise RuntimeError("CUDA error: out of memory")


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 0, "pin_memory": True}])
@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_a_parcel_says_of_its_content_what_it_did_when_it_was_packed(crops, how):
    """So that a recording for parcels of this layout is found again; torch's own loader makes lists of tuples."""
    batches = Batches(*crops, batch_size=4, steps=2)
    layouts = {parcel.content: None for parcel in batches.loader(0, **how)}
    assert list(layouts) == [pack(batches[0]).content]
