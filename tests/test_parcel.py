"""A batch in one piece of memory comes out as it went in."""

import torch

from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.data.scenes import SceneBatch
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.parcel import ALIGNED, pack


def crops(count: int) -> CropBatch:
    image = torch.randint(0, 256, (count, 8, 6, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    return CropBatch(
        image, torch.rand(count, 17, 2), torch.ones(count, 17), torch.rand(count, 2), torch.rand(count, 2),
        torch.arange(count),
    )  # fmt: skip


def scenes(count: int) -> SceneBatch:
    masks = tuple(torch.rand(count, side, side) for side in (4, 8))
    return SceneBatch(
        torch.zeros(count, 3, 16, 16, dtype=torch.uint8), torch.rand(count, 2, 17, 2), torch.ones(count, 2, 17),
        masks, torch.arange(count),
    )  # fmt: skip


def assert_same(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, torch.Tensor):
        assert (
            torch.equal(found, wanted) and found.dtype == wanted.dtype and found.stride() == wanted.stride()
        )
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)


def test_what_is_packed_comes_out_in_one_memory():
    for batch in (
        TrainBatch(crops(3), None),
        TrainBatch(crops(3), crops(2)),
        TrainBatch(scenes(2), scenes(1)),
    ):
        parcel = pack(batch)
        assert parcel.memory.dtype == torch.uint8 and parcel.memory.numel() % ALIGNED == 0
        found = parcel.open()
        assert_same(found, batch)
        memory = parcel.memory.untyped_storage().data_ptr()
        assert found.labeled.image.untyped_storage().data_ptr() == memory
        assert_same(parcel.to("cpu").open(), batch)


def test_a_batch_of_nobody_can_be_packed():
    batch = TrainBatch(crops(0), None)
    assert_same(pack(batch).open(), batch)


def test_numbers_of_every_kind_can_be_packed():
    """What augmentations send together; tests/test_gpu.py sends it to a GPU."""
    numbers = (torch.rand(5) < 0.5, torch.arange(7), torch.rand(3, 2, 3), torch.zeros(0, 2, dtype=torch.long))
    assert_same(pack(numbers).open(), numbers)


def test_memory_that_is_given_holds_a_parcel_that_just_fits_and_lends_no_more_than_it_needs():
    batch = TrainBatch(crops(2), None)
    needed = pack(batch).memory.numel()
    for given in (torch.empty(needed, dtype=torch.uint8), torch.empty(10 * needed, dtype=torch.uint8)):
        parcel = pack(batch, given)
        assert parcel.memory.data_ptr() == given.data_ptr() and parcel.memory.numel() == needed
        assert_same(parcel.open(), batch)
    assert pack(batch, torch.empty(needed - 1, dtype=torch.uint8)).memory.numel() == needed
