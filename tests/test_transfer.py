"""Between a CPU and its device: on a CPU nothing is copied, and nothing is left undone. What a GPU adds: test_gpu."""

import gc
import weakref
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch.utils._pytree import tree_leaves

from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.dropping import InformationCutout, InformationDropping
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.data.loaders import TrainBatch
from sshpe_lib.feed import Feed
from sshpe_lib.graphs import Replay
from sshpe_lib.parcel import pack
from sshpe_lib.preparation import Preparation
from sshpe_lib.streams import Pace, beside
from sshpe_lib.supervision import Supervision
from sshpe_lib.transfer import Reading, constant, sent, up_to
from tests.test_parcel import assert_same, crops

CPU = torch.device("cpu")


def test_cpu_tensors_stay_where_they_are():
    tensors = torch.rand(3), torch.arange(2)
    assert all(there is here for there, here in zip(sent(tensors, "cpu"), tensors, strict=True))


def test_a_constant_has_the_type_that_is_asked_for():
    assert torch.equal(constant(((1, 2), (3, 4)), CPU), torch.tensor([[1, 2], [3, 4]]))
    assert constant((1, 2), CPU, torch.float64).dtype == torch.float64
    there = torch.device("meta")
    assert constant(1, there).dtype == torch.int64 and constant(1.0, there).dtype == torch.float32
    assert constant((1, 2), there).dtype == torch.int64 and constant((1.0, 2.0), there).dtype == torch.float32
    assert constant((1, 2), there) is constant((1, 2), there)
    one = constant((1.0,), CPU)
    one.zero_()
    assert constant((1.0,), CPU) == 1


def test_numbers_in_a_row_are_sent_once_and_are_new_on_a_cpu():
    assert torch.equal(up_to(3, CPU), torch.arange(3)) and up_to(3, CPU) is not up_to(3, CPU)
    assert torch.equal(up_to(3, CPU, torch.float64), torch.arange(3, dtype=torch.float64))
    there = torch.device("meta")
    assert up_to(3, there) is up_to(3, there) and up_to(3, there).is_meta
    assert up_to(3, there, torch.float32).dtype == torch.float32 != up_to(3, there).dtype


def test_a_feed_prepares_batches_that_are_packed_or_not():
    feed, batch = Feed(CPU), TrainBatch(crops(2), crops(1))
    assert_same(feed(lambda there: there, batch), batch)
    parcel = pack(batch)
    found = feed(lambda there: there, parcel)
    assert_same(found, batch)
    assert found.labeled.image.untyped_storage().data_ptr() == parcel.memory.untyped_storage().data_ptr()
    assert (
        feed(lambda there, more: len(there.unlabeled.image) + len(more), parcel, pack((torch.rand(2),))) == 2
    )


def preparation() -> Preparation:
    teaching = Supervision(MSRAHeatmap((48, 64), (12, 16), 1.0))
    return Preparation(teaching, InformationDropping((InformationCutout(),)), torch.contiguous_format)


def draw() -> Draw:
    return Draw(torch.Generator().manual_seed(0))


def test_unlabelled_images_are_normalised_and_nothing_is_dropped_from_them():
    prepare, batch = preparation(), TrainBatch(crops(2), crops(3))
    made = prepare(batch, prepare.drawn(batch, draw()).open())
    assert torch.equal(made.unlabeled, normalize(batch.unlabeled.image))
    assert not torch.equal(made.labeled.image, normalize(batch.labeled.image))


def test_images_lie_as_the_networks_weights():
    """A network computes in the layout of its images; those of a loader are channels last."""
    batch = TrainBatch(crops(2), crops(3))
    for layout in (torch.contiguous_format, torch.channels_last):
        prepare = replace(preparation(), layout=layout)
        made = prepare(batch, prepare.drawn(batch, draw()).open())
        for image in (made.labeled.image, made.unlabeled, *made.labeled.target):
            assert image.is_contiguous(memory_format=layout)


def test_labelled_images_are_rounded_to_what_a_network_reads_once():
    prepare, batch = preparation(), TrainBatch(crops(2), crops(3))
    numbers = prepare.drawn(batch, draw()).open()
    wanted, found = prepare(batch, numbers), replace(prepare, dtype=torch.bfloat16)(batch, numbers)
    assert found.labeled.image.dtype == torch.bfloat16
    assert torch.equal(found.labeled.image, wanted.labeled.image.to(torch.bfloat16))
    assert torch.equal(found.unlabeled, wanted.unlabeled) and found.unlabeled.dtype == torch.float32


def test_what_is_dropped_is_drawn_for_the_width_and_the_height_of_a_crop():
    prepare, batch = preparation(), TrainBatch(crops(2), None)
    height, width = batch.labeled.image.shape[-2:]
    assert height != width
    wanted = prepare.dropping.numbers(2, width, height, draw())
    assert_same(prepare.drawn(batch, draw()).open(), wanted)


class Static(Replay):
    """A recording as a GPU's: from memory of its own into memory of its own."""

    def _recorded(self, *here):
        made = self._run(*here)

        def replay(*given):
            for ours, theirs in zip(here, given, strict=True):
                ours.copy_(theirs)
            for ours, theirs in zip(tree_leaves(made), tree_leaves(self._run(*here)), strict=True):
                if ours is not None:
                    ours.copy_(theirs)
            recorded.append(made)
            return made

        recorded = self.recorded = []
        return replay


def test_a_feed_replays_what_was_recorded_of_its_layout(monkeypatch):
    """Results stay what they are while the next ones are made, whose memory is another's."""
    made = []
    monkeypatch.setattr("sshpe_lib.feed.Replay", lambda run: made.append(Static(run)) or made[-1])
    feed, ran = Feed(CPU), []

    def prepare(batch, numbers=(0,)):
        ran.append(batch)
        return batch.labeled.image.float(), (None, batch.labeled.points + sum(numbers))

    batches = [pack(TrainBatch(crops(2), crops(1))) for _ in range(5)]
    numbers = [pack((torch.rand(()),)) for _ in batches]
    feed.record(prepare, batches[0], numbers[0])
    assert len(ran) == 2 * 2  # seen and recorded
    given = list(zip(batches, numbers, strict=True))
    wanted = [prepare(*(one.open() for one in both)) for both in given]
    found = [feed(prepare, *given[0])]
    for place in range(1, len(given)):
        found.append(feed(prepare, *given[place]))
        assert_same(found[place - 1], wanted[place - 1])
        assert_same(found[place], wanted[place])
    assert [len(one.recorded) for one in made] == [2, 3]
    others = [
        (batches[0],),
        (batches[0].open(), numbers[0]),
        (pack(TrainBatch(crops(1), crops(1))), numbers[0]),
    ]
    for one in others:
        feed(prepare, *one)
    feed.close()
    feed(prepare, *given[0])
    assert [len(one.recorded) for one in made] == [2, 3]


class Streams:
    """Pretended streams of a GPU, and what happens on them."""

    def __init__(self, patch):
        self.now, self.seen, self.events = "working", [], 0
        streams = self

        class Stream:
            name, device = "working", CPU

            def wait_stream(self, other):
                streams.seen.append(f"{self.name} waits for {other.name}")

            def record_event(self):
                streams.events += 1
                return streams.events

            def wait_event(self, event):
                streams.seen.append(f"{self.name} waits for event {event}")

        self.working, self.own = Stream(), Stream()
        self.own.name = "own"

        @contextmanager
        def on(stream):
            before, streams.now = streams.now, stream.name
            yield
            streams.now = before

        patch.setattr(torch.cuda, "Stream", lambda device: self.own)
        patch.setattr(torch.cuda, "stream", on)
        patch.setattr(torch.cuda, "current_stream", lambda device: self.working)
        patch.setattr(
            torch.Tensor,
            "record_stream",
            lambda tensor, stream: self.seen.append((tensor.data_ptr(), stream.name)),
        )


def test_a_gpu_prepares_batches_on_a_stream_of_its_own(monkeypatch):
    streams = Streams(monkeypatch)
    feed = Feed(torch.device("cuda"))
    feed.device = CPU

    def prepare(batch):
        streams.seen.append(f"prepared on {streams.now}")
        return batch.labeled.image.float(), (None, batch.labeled.points)

    image, (_, points) = feed(prepare, TrainBatch(crops(2), None))
    kept = [(tensor.data_ptr(), "working") for tensor in (image, points)]
    assert streams.seen == ["prepared on own", "working waits for own", *kept] and streams.now == "working"
    for event in (1, 2):  # what came before the last call is over: its place may be written
        streams.seen.clear()
        feed(prepare, TrainBatch(crops(2), None))
        assert streams.seen[:2] == [f"own waits for event {event}", "prepared on own"]


def test_a_gpu_does_something_beside_what_it_is_given_next(monkeypatch):
    streams = Streams(monkeypatch)
    monkeypatch.setattr("sshpe_lib.streams._second", lambda device: streams.own)
    found = torch.rand(2)

    def run():
        streams.seen.append(f"run on {streams.now}")
        return [found]

    asked = beside(run, torch.device("cuda", 0))
    assert streams.seen == ["own waits for working", "run on own"]
    assert asked()[0] is found
    assert streams.seen[2:] == ["working waits for own", (found.data_ptr(), "working")]


def test_a_cpu_does_it_when_it_is_wanted():
    """So that what stands between keeps its place: a teacher that is the student moves its statistics."""
    done = []
    asked = beside(lambda: done.append(1), CPU)
    assert not done
    asked()
    assert done == [1]


def test_a_reading_holds_the_numbers_of_its_time():
    one, other = torch.tensor(0.1, requires_grad=True), torch.tensor(2.0)
    reading = Reading([one, other])
    with torch.no_grad():
        one.zero_()
    assert reading.values() == [float(torch.tensor(0.1)), 2.0]


def test_a_reading_does_not_keep_the_graph_of_its_step():
    """Steps are read many later: each would hold all its activations until then."""

    class Activations:
        pass

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weights):
            ctx.kept = Activations()
            graphs.append(weakref.ref(ctx.kept))
            return weights.sum()

    graphs: list = []
    reading = Reading([Loss.apply(torch.ones(3, requires_grad=True))])
    gc.collect()
    assert graphs[0]() is None and reading.values() == [3.0]


def test_the_cpu_waits_for_what_was_given_so_many_calls_ago(monkeypatch):
    waited, given, behind = [], iter(range(9)), []

    def stream(device):
        number = next(given)
        event = SimpleNamespace(synchronize=lambda: waited.append(number))
        return SimpleNamespace(record_event=lambda: event)

    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    pace = Pace(torch.device("cuda"), 3)
    for _ in range(6):
        pace()
        behind.append(list(waited))
    assert behind == [[], [], [], [0], [0, 1], [0, 1, 2]]
