"""Batches go round in memory that processes share: nothing is lost, mixed up, or overwritten while it is used."""

import mmap
import os
import time
from collections import deque
from types import SimpleNamespace

import pytest
import torch

from sshpe_lib.data import loaders
from sshpe_lib.data.ring import Ring, Turn
from sshpe_lib.parcel import Parcel, pack
from sshpe_lib.trainer import STEPS_AHEAD
from tests.test_parcel import assert_same, crops


def test_a_batch_lies_where_its_step_says():
    batches = [crops(2) for _ in range(5)]
    with Ring(3, 10_000) as ring:
        turns = [ring.put(step, batch) for step, batch in enumerate(batches)]
        assert [turn.place for turn in turns] == [0, 1, 2, 0, 1]
        assert [turn.bytes for turn in turns] == [pack(batch).memory.numel() for batch in batches]
        for turn, batch in list(zip(turns, batches, strict=True))[2:]:
            found = ring.open(turn).open()
            assert_same(found, batch)
            assert found.image.untyped_storage().data_ptr() == ring._memory.untyped_storage().data_ptr()


def test_places_of_any_number_of_bytes_hold_numbers_of_every_size():
    batch = crops(2)
    with Ring(3, 10_001) as ring:
        assert_same(ring.open(ring.put(1, batch)).open(), batch)


def test_what_is_too_large_is_a_parcel_of_its_own():
    with Ring(2, 100) as ring:
        batch = crops(2)
        found = ring.put(0, batch)
        assert isinstance(found, Parcel)
        assert ring.open(found) is found
        assert_same(found.open(), batch)


def test_another_process_sees_what_was_put():
    with Ring(1, 10_000) as ring:
        batch = crops(1)
        turn = ring.put(0, batch)
        child = os.fork()
        if child == 0:
            ring._memory.fill_(7)
            os._exit(0)
        os.waitpid(child, 0)
        assert (ring.open(turn).memory == 7).all()


class Counted(torch.utils.data.Dataset):
    """Batches of one number."""

    burn_in, steps = 0, 40

    def __getitem__(self, step):
        return loaders.TrainBatch(torch.full((100,), step), None)

    loader = loaders.Batches.loader


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("start", [0, 33, 40])
def test_a_batch_is_whole_while_the_next_ones_are_trained_on(workers, start):
    """So long as a GPU may be behind: its copies of the last `STEPS_AHEAD` batches may not be over."""
    seen, last = [], deque(maxlen=STEPS_AHEAD)
    for parcel in Counted().loader(start, workers):
        time.sleep(0.005)  # time for the processes to overwrite what they may
        for step, earlier in last:
            assert (earlier.labeled == step).all()
        batch = parcel.open()
        seen.append(int(batch.labeled[0]))
        last.append((seen[-1], batch))
    assert seen == list(range(start, 40))


def test_nothing_is_sent_but_where_a_batch_lies(monkeypatch):
    sent = []
    monkeypatch.setattr(Ring, "open", lambda self, found: sent.append(found))
    list(Counted().loader(36, 1))
    assert all(isinstance(one, Turn) for one in sent) and len(sent) == 4


@pytest.fixture
def cuda(monkeypatch):
    """CUDA's calls in the order they are made; what it answers to the locking of memory."""
    calls, answers = [], [0]
    runtime = SimpleNamespace(
        cudaHostRegister=lambda *_: calls.append("lock") or answers[-1],
        cudaHostUnregister=lambda *_: calls.append("unlock"),
    )
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("wait"))
    return calls, answers


def test_memory_is_locked_for_a_gpu_when_the_processes_have_started(monkeypatch, cuda):
    calls, _ = cuda
    started = torch.utils.data.DataLoader.__iter__
    monkeypatch.setattr(
        torch.utils.data.DataLoader, "__iter__", lambda loader: calls.append("start") or started(loader)
    )
    assert len(list(Counted().loader(38, 1, pin_memory=True))) == 2
    assert calls == ["start", "lock", "wait", "unlock"]


def test_what_lies_in_memory_that_cannot_be_locked_is_copied_to_some_that_is(monkeypatch, cuda):
    calls, answers = cuda
    answers.append(2)
    ones = torch.ones

    def remembered(*_, device=None, **named):
        """The next kernel is told of the failure."""
        if device == "cuda":
            calls.append("told")
            raise RuntimeError("CUDA error: out of memory")
        return ones(*_, **named)

    monkeypatch.setattr(torch, "ones", remembered)
    monkeypatch.setattr(Parcel, "pin_memory", lambda self: Parcel(self.memory.clone(), self.content))
    parcels = list(Counted().loader(36, 1, pin_memory=True))
    assert [int(parcel.open().labeled[0]) for parcel in parcels] == [36, 37, 38, 39]
    assert calls == ["lock", "told"]


def test_where_processes_are_not_forked_batches_are_sent(monkeypatch):
    monkeypatch.setattr(loaders, "get_start_method", lambda: "spawn")
    monkeypatch.setattr(mmap, "mmap", lambda *_: pytest.fail("a ring was made"))
    assert all(isinstance(one, Parcel) for one in Counted().loader(38, 1))
