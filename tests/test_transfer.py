"""Between a CPU and its device: on a CPU nothing is copied, and nothing is left undone. What a GPU adds: test_gpu."""

import torch

from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.feed import Feed
from sshpe_lib.parcel import pack
from sshpe_lib.transfer import Reading, constant, sent
from tests.test_parcel import assert_same, crops

CPU = torch.device("cpu")


def test_cpu_tensors_stay_where_they_are():
    tensors = torch.rand(3), torch.arange(2)
    assert all(there is here for there, here in zip(sent(tensors, "cpu"), tensors, strict=True))


def test_a_constant_has_the_type_that_is_asked_for():
    assert torch.equal(constant(((1, 2), (3, 4)), CPU), torch.tensor([[1, 2], [3, 4]]))
    assert constant((1, 2), CPU, torch.float64).dtype == torch.float64
    one = constant((1.0,), CPU)
    one.zero_()
    assert constant((1.0,), CPU) == 1


def test_a_feed_gives_batches_that_are_packed_or_not():
    feed, batch = Feed(CPU), TrainBatch(crops(2), crops(1))
    assert_same(feed(batch), batch)
    parcel = pack(batch)
    found = feed(parcel)
    assert_same(found, batch)
    assert found.labeled.image.untyped_storage().data_ptr() == parcel.memory.untyped_storage().data_ptr()


def test_a_reading_holds_the_numbers_of_its_time():
    one, other = torch.tensor(0.1, requires_grad=True), torch.tensor(2.0)
    reading = Reading([one, other])
    with torch.no_grad():
        one.zero_()
    assert reading.values() == [float(torch.tensor(0.1)), 2.0]
