"""Batches of a training run: the step is the index, so that a resumed run meets the same data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_start_method
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sshpe_lib.data.ring import Ring, Turn
from sshpe_lib.data.scenes import SceneBatch, Scenes
from sshpe_lib.data.top_down import CropBatch, Crops
from sshpe_lib.errors import SSHPEError
from sshpe_lib.parcel import Parcel, pack
from sshpe_lib.seeding import numpy_stream

PREFETCHED = 2  # batches that a loader process makes ahead
# Of a ring's memory: the batches that a GPU may still be copying, as it may be so many steps behind, and the next.
IN_USE = 4

Made = TypeVar("Made")


class TrainBatch(NamedTuple):
    """What one step sees; `unlabeled` is None while the run is supervised."""

    labeled: CropBatch | SceneBatch
    unlabeled: CropBatch | SceneBatch | None

    def to(self, device: torch.device | str) -> TrainBatch:
        """The batch on `device`, copied asynchronously where the memory is pinned."""
        unlabeled = None if self.unlabeled is None else self.unlabeled.to(device)
        return TrainBatch(self.labeled.to(device), unlabeled)


class Steps(Protocol):
    """What a run's batches say of their number: all steps, and those that are supervised first."""

    steps: int
    burn_in: int


class Batches(Dataset):
    """Step -> this rank's share of the global batch.

    An epoch is one pass over the unlabelled pool in a fresh order; every unlabelled image is paired with a
    labelled one drawn with replacement (the reference's pairing). The last batch of an epoch may be smaller; several
    processes fill it up from the beginning of the epoch, as torch's DistributedSampler does, until each has as much.
    Supervised steps (before `burn_in`, or without a pool) pass over the labelled images in fresh orders.

    batch_size: of all processes together, a multiple of `world`, their number.
    Raises SSHPEError for a pool with fewer images than there are processes.
    """

    def __init__(
        self,
        labeled: Crops | Scenes,
        unlabeled: Crops | Scenes | None,
        *,
        batch_size: int,
        steps: int,
        burn_in: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        if unlabeled is not None and len(unlabeled) < world:
            raise SSHPEError(
                f"{unlabeled.instances.source}: the unlabelled pool has {len(unlabeled):,} entries, fewer than the "
                f"{world} processes that share a batch; start fewer, or name a larger pool"
            )
        self.labeled, self.unlabeled = labeled, unlabeled
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.burn_in = steps if unlabeled is None else burn_in
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TrainBatch:
        if step < self.burn_in or self.unlabeled is None:
            return TrainBatch(self._supervised(step), None)
        per_epoch = steps_per_epoch(len(self.unlabeled), self.batch_size)
        epoch, batch = divmod(step - self.burn_in, per_epoch)
        first = batch * self.batch_size
        places = self._share(np.arange(first, min(first + self.batch_size, len(self.unlabeled))))
        order = _order(len(self.unlabeled), self.seed, "order", epoch)
        partners = _partners(len(self.labeled), len(self.unlabeled), self.seed, epoch)
        return TrainBatch(
            self.labeled.batch(partners[places], epoch, places),
            self.unlabeled.batch(order[places], epoch, places),
        )

    def _supervised(self, step: int) -> CropBatch | SceneBatch:
        places = self._share(np.arange(step * self.batch_size, (step + 1) * self.batch_size))
        indices = in_passes(places, len(self.labeled), self.seed, "supervised order")
        return self.labeled.batch(indices, -1, places)

    def _share(self, places: np.ndarray) -> np.ndarray:
        """This rank's part of a batch's places in the epoch."""
        filled = np.concatenate([places, np.arange(-len(places) % self.world)])
        return np.array_split(filled, self.world)[self.rank]

    def loader(self, start: int, workers: int = 0, pin_memory: bool = False) -> Iterator[TrainBatch | Parcel]:
        """The batches from step `start` to the end; from loader processes, or pinned, each in a `Parcel`.

        A parcel from a loader process is good until `IN_USE` more are asked for: its memory comes round again.
        """
        steps = range(start, self.steps)
        if not workers and not pin_memory:
            yield from _loaded(self, steps)
        elif not workers or not steps or get_start_method() != "fork":
            yield from _sound(_loaded(_Packed(self), steps, workers, pin_memory))
        else:
            usual = pack(self[usual_step(self)]).memory.numel()
            with Ring(workers * PREFETCHED + IN_USE, usual) as ring:
                # The processes start before the memory is locked, which is this process's alone.
                loaded = map(ring.open, _sound(iter(_loaded(_Packed(self, ring), steps, workers))))
                if pin_memory and not ring.pin():
                    loaded = map(Parcel.pin_memory, loaded)
                yield from loaded


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Inside the block an SSHPEError tells, with its cure, where a loader process was killed.

    PyTorch raises its own wherever the training is at that moment.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise SSHPEError(
            f"a process that reads images was lost ({str(error).splitlines()[0].strip()}); the system kills one where "
            "memory runs out: give fewer --workers, and start again: the run goes on from its checkpoint"
        ) from None


class _Packed(Dataset):
    """The same batches, each in one piece of memory; in a ring's, if there is one, by which it need not be sent."""

    def __init__(self, batches: Batches, ring: Ring | None = None):
        self.batches, self.ring = batches, ring

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Parcel | Turn | SSHPEError:
        try:
            batch = self.batches[step]
        except SSHPEError as error:
            return error  # PyTorch would make a traceback of it
        return pack(batch) if self.ring is None else self.ring.put(step, batch)


def _loaded(batches: Dataset, steps: range, workers: int = 0, pin_memory: bool = False) -> DataLoader:
    return DataLoader(
        batches, sampler=steps, batch_size=None, num_workers=workers, pin_memory=pin_memory,
        prefetch_factor=PREFETCHED if workers else None, persistent_workers=workers > 0, collate_fn=_as_it_is,
    )  # fmt: skip


def _sound(loaded: Iterable[Made | SSHPEError]) -> Iterator[Made]:
    """The batches that were loaded; an error that came in the place of one is raised."""
    for found in loaded:
        if isinstance(found, SSHPEError):
            raise found
        yield found


def _as_it_is(batch: Made) -> Made:
    """In place of torch's own, which makes lists of tuples, by which a parcel's content would not be known again."""
    return batch


def in_passes(places: np.ndarray, count: int, *stream: int | str) -> np.ndarray:
    """What is at `places` of passes over `count` things, each in a fresh order, without a break between passes.

    places: (B,) whole numbers from 0; stream: the names of the orders' draws. Returns (B,) from 0 to count - 1.
    """
    return np.array([_order(count, *stream, int(place // count))[place % count] for place in places])


@lru_cache(maxsize=2)  # a batch may lie in two passes
def _order(count: int, *stream: int | str) -> np.ndarray:
    """The order of one pass over `count` things; drawn once a pass, not a step."""
    return numpy_stream(*stream).permutation(count)


@lru_cache(maxsize=1)
def _partners(labeled: int, unlabeled: int, seed: int, epoch: int) -> np.ndarray:
    """The labelled partner of every place in an epoch; drawn once an epoch, not a step."""
    return numpy_stream(seed, "pairs", epoch).integers(labeled, size=unlabeled)


def usual_step(batches: Steps) -> int:
    """A step whose batch is as large as those of most: a whole one, with unlabelled images where there are any."""
    return batches.burn_in if batches.burn_in < batches.steps else 0


def last_batch(pool: int, batch_size: int) -> int:
    """Images in the last batch of one pass over `pool` images, 1 to `batch_size`."""
    return (pool - 1) % batch_size + 1


def steps_per_epoch(pool: int, batch_size: int) -> int:
    """Batches in one pass over `pool` images, the smaller last one included."""
    return -(-pool // batch_size)
