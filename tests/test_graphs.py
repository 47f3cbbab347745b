"""Which passes of a training step are replayed, and that they compute the same; recordings are pretended here."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from sshpe_lib import tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.graphs import Graphs, Replay, StepGraphs, add_up, parts_of
from sshpe_lib.graphs.replay import without_garbage
from sshpe_lib.machine import Machine
from sshpe_lib.models import resnet
from sshpe_lib.trainer import Trainer
from tests import choices

QUIET = Machine(threads=1, progress=False)
IMAGES = torch.rand(4, 3, 64, 48, generator=torch.Generator().manual_seed(0))


class Pretended:
    """Stands in for recordings: runs what was recorded, in its order, and counts."""

    def __init__(self):
        self.parts, self.asked, self.replayed = [], [], []
        self.outputs, self.replays = [], []

    def record(self, callables, samples, allow_unused_input):
        assert allow_unused_input and len(callables) == len(samples)
        assert not any(leaf.grad_fn for leaf in tree_leaves(samples))
        assert not torch.is_autocast_cache_enabled() and not gc.isenabled()
        self.parts.append([call.part for call in callables])
        for call, sample in zip(callables, samples, strict=True):
            self.outputs.append(call(*sample))  # as a warm-up does: batch norms see it
        replays = [self._replay(call, sample) for call, sample in zip(callables, samples, strict=True)]
        self.replays += map(weakref.ref, replays)
        return replays

    def _replay(self, call, sample):
        run = call.forward

        def replay(*arguments):
            assert shapes(arguments) == shapes(sample)
            self.replayed.append(call.part)
            return run(*arguments)

        return replay

    def replay(self, run):
        made = Asked(run, self.replayed)
        self.asked.append(made)
        return made


class Asked(Replay):
    """A replay whose recordings are pretended."""

    def __init__(self, run, replayed):
        super().__init__(run)
        self.replayed, self.shapes = replayed, []

    def _recorded(self, *here):
        self.shapes.append(tuple(here[0].shape))
        assert not torch.is_grad_enabled() and not torch.is_autocast_cache_enabled()
        assert not gc.isenabled()
        self._run(*here)

        def replay(*given):
            assert shapes(given) == shapes(here)
            self.replayed.append(self)
            return self._run(*given)

        return replay


def shapes(nested):
    return [leaf.shape for leaf in tree_leaves(nested)]


@pytest.fixture
def pretended(monkeypatch):
    made = Pretended()
    monkeypatch.setattr("sshpe_lib.graphs.step.Graphs", lambda net: Graphs(net, made.record, made.replay))
    monkeypatch.setattr("sshpe_lib.feed.Replay", Pretended().replay)
    return made


def network():
    return resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=0)


def mixed(name, features):
    return features.flip(0) if name == "layer2" else features


def test_the_largest_parts_are_recorded_in_the_order_of_their_calls():
    net = network()
    names = {part: name for name, part in net.named_modules()}
    parts, found = parts_of(net, lambda: net(IMAGES))
    assert found.shape == (4, 17, 16, 12)
    assert [names[part] for part in parts] == [
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "deconv_layers", "final_layer",
    ]  # fmt: skip


class Odd(nn.Module):
    """One part is called twice, one is never called, one gets no tensor and holds one that does."""

    def __init__(self):
        super().__init__()
        self.twice, self.never, self.last = (nn.Linear(2, 2) for _ in range(3))
        self.holder = nn.Module()
        self.holder.inner = nn.Linear(2, 2)
        self.holder.forward = lambda x, nothing: self.holder.inner(x)

    def forward(self, x, more=None):
        return self.last(self.holder(self.twice(self.twice(x)), None))


def test_what_takes_more_than_tensors_or_runs_twice_is_looked_into_or_left():
    net = Odd()
    parts, _ = parts_of(net, lambda: net(torch.zeros(1, 2)))
    assert list(parts) == [net.holder.inner, net.last]
    (given,) = parts[net.last]
    assert given.requires_grad and given.is_leaf


class Named(nn.Module):
    """One part is called with a name, and what the other one got is written over."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        found = self.last(x)
        with torch.no_grad():
            x.zero_()
        return self.first(input=found)


def test_a_part_that_is_called_with_names_is_left():
    net = Named()
    parts, _ = parts_of(net, lambda: net(torch.ones(1, 2)))
    assert list(parts) == [net.last]


def test_what_a_part_got_is_a_copy():
    net = Named()
    parts, _ = parts_of(net, lambda: net(torch.ones(1, 2)))
    assert torch.equal(parts[net.last][0], torch.ones(1, 2))


def test_only_steps_of_the_recorded_shape_are_replayed():
    made, net, plain = Pretended(), network(), network()
    replaying = Graphs(net, made.record, made.replay)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with replaying.recording():
        net(IMAGES, after_stage=None), net(IMAGES, after_stage=mixed)
        with torch.no_grad():
            net(IMAGES)
    assert made.parts[0] == [net] and len(made.parts[1]) == 8
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    for _ in range(2):
        made.replayed.clear()
        with replaying.step():
            found = [net(IMAGES), net(IMAGES, after_stage=mixed)]
            with torch.no_grad():
                found.append(net(IMAGES))
        wanted = [plain(IMAGES), plain(IMAGES, after_stage=mixed), plain(IMAGES)]
        assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
        assert made.replayed == [net, *made.parts[1], replaying._asked[True]]
    made.replayed.clear()
    with replaying.step():
        net(IMAGES[:3]), net(IMAGES[:3], after_stage=mixed)  # an odd batch at the end of an epoch
        with torch.no_grad():
            net(IMAGES[:3])
    net(IMAGES)  # outside a step
    net.eval()  # recorded in training
    with replaying.step():
        net(IMAGES)
        with torch.no_grad():
            net(IMAGES)
    assert made.replayed == []


def test_a_network_gets_its_own_passes_back():
    made, net, odd = Pretended(), network(), Odd()
    replaying = Graphs(net, made.record, made.replay), Graphs(odd, made.record, made.replay)
    with replaying[0].recording():
        net(IMAGES, after_stage=mixed)
    with replaying[1].recording():
        odd(torch.zeros(1, 2), 1)
    assert "forward" in net.layer1.__dict__
    for one in replaying:
        one.close()
    assert not any("forward" in part.__dict__ for part in net.modules())
    assert net(IMAGES).shape == (4, 17, 16, 12)
    assert odd(torch.zeros(1, 2)).shape == (1, 2) and "forward" in odd.holder.__dict__


def test_a_pass_that_was_not_recorded_runs_as_it_would():
    """A third one of a step, and one without gradients that mixes."""
    made, net, plain = Pretended(), network(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording(), torch.no_grad():
        net(IMAGES)
    with replaying.recording():
        net(IMAGES)
    with replaying.step():
        found = [net(IMAGES), net(IMAGES, after_stage=mixed)]
        with torch.no_grad():
            found.append(net(IMAGES, after_stage=mixed))
    wanted = [plain(IMAGES), plain(IMAGES, after_stage=mixed), plain(IMAGES, after_stage=mixed)]
    assert made.replayed == [net]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_passes_of_several_shapes_are_counted_by_shape():
    made, net, plain = Pretended(), network(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording():
        net(IMAGES), net(IMAGES[:2]), net(IMAGES)
    with replaying.step():
        found = [net(IMAGES), net(IMAGES[:2]), net(IMAGES)]
    assert made.replayed == [net] * 3
    wanted = [plain(IMAGES), plain(IMAGES[:2]), plain(IMAGES)]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_every_pass_of_a_kind_has_a_recording_of_its_own():
    """One that is replayed twice in a step overwrites what the first pass kept for its gradients."""
    made, net, used = Pretended(), network(), []
    record = made.record

    def numbered(*given, **named):
        return [lambda *x, run=run: used.append(run) or run(*x) for run in record(*given, **named)]

    replaying = Graphs(net, numbered, made.replay)
    with replaying.recording():
        net(IMAGES), net(IMAGES)
    with replaying.step():
        net(IMAGES), net(IMAGES)
    assert len(used) == len(set(used)) == 2


def test_a_pass_that_mixes_is_never_the_recording_of_one_that_does_not():
    """Where the other pass of a step is of another shape than usual, or is not run, it comes first."""
    made, net, plain = Pretended(), network(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording():
        net(IMAGES), net(IMAGES, after_stage=mixed)
    with replaying.step():
        found = [net(IMAGES[:3]), net(IMAGES, after_stage=mixed)]
    assert net not in made.replayed and len(made.replayed) == len(made.parts[1])
    wanted = [plain(IMAGES[:3]), plain(IMAGES, after_stage=mixed)]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_a_later_recording_has_the_passes_of_another_step(pretended):
    """As benchmarks/step.py has those without mixing, of a step that mixes."""
    net, plain = network(), network()
    graphs = StepGraphs([net], wanted=True)
    graphs.record(lambda: (net(IMAGES), net(IMAGES, after_stage=mixed)))

    def bare():
        with graphs.step():
            return net(IMAGES), net(IMAGES)

    graphs.record(lambda: (bare(), None)[1])
    pretended.replayed.clear()
    found = bare()
    assert pretended.replayed == [net, net]
    assert all(torch.equal(one, plain(IMAGES)) for one in found)


def test_a_shape_is_recorded_once():
    made, net = Pretended(), network()
    replaying = Graphs(net, made.record, made.replay)
    for images in (IMAGES, IMAGES, IMAGES[:2]):
        with replaying.recording(), torch.no_grad():
            net(images)
    assert [one.shapes for one in made.asked] == [[tuple(IMAGES.shape), tuple(IMAGES[:2].shape)], []]


def test_a_step_records_every_network_and_lets_them_go(pretended):
    networks = network(), network()
    graphs = StepGraphs(networks, wanted=True)
    graphs.record(lambda: [net(IMAGES) for net in networks])
    assert pretended.parts == [[networks[1]], [networks[0]]] and graphs.wanted
    graphs.close()
    assert not graphs.wanted and not StepGraphs(networks, wanted=False).wanted


def test_a_network_recorded_twice_gets_its_own_passes_back():
    made, net = Pretended(), network()
    replaying = Graphs(net, made.record, made.replay)
    for images in (IMAGES, IMAGES[:2]):
        with replaying.recording():
            net(images, after_stage=mixed)
    for images in (IMAGES, IMAGES[:2]):
        made.replayed.clear()
        with replaying.step():
            net(images, after_stage=mixed)
        assert made.replayed == made.parts[0] == made.parts[1]
    replaying.close()
    assert not any("forward" in part.__dict__ for part in net.modules())


def test_recordings_are_let_go_with_their_graphs_of_gradients():
    """Gradients would be added up on the stream of the recording while one lived, and memory held."""
    made, net = Pretended(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording():
        net(IMAGES, after_stage=mixed)
    assert made.outputs and not any(leaf.grad_fn for leaf in tree_leaves(made.outputs))
    assert all(one() is not None for one in made.replays)
    replaying.close()
    gc.collect()
    assert made.replays and not any(one() is not None for one in made.replays)


def test_a_part_in_evaluation_mode_is_not_replayed():
    """As a batch norm with frozen statistics: it was recorded with those of the batch."""
    made, net = Pretended(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording():
        net(IMAGES, after_stage=mixed)
    net.bn1.eval()
    with replaying.step():
        net(IMAGES, after_stage=mixed)
    assert made.replayed == [part for part in made.parts[0] if part is not net.bn1]


def test_nothing_is_replayed_or_recorded_after_a_step_that_failed():
    made, net = Pretended(), network()
    replaying = Graphs(net, made.record, made.replay)
    with replaying.recording():
        net(IMAGES)
    for block in (replaying.step, replaying.recording):
        with pytest.raises(ZeroDivisionError), block():
            raise ZeroDivisionError
        net(IMAGES)
        assert not made.replayed
    with replaying.step():
        net(IMAGES)
    assert made.replayed == [net] and len(made.parts) == 1


@pytest.mark.parametrize(
    ("method", "change"),
    [
        *(
            (name, {})
            for name in ("supervised", "pose-mum+", "jc-single", "jc-dual", "affine-ema", "pose-mum-whole+")
        ),
        ("pose-mum+", {"train.batch_size": 20}),  # 20 + 20, and 8 + 8 at an epoch's end
    ],
)
def test_a_run_with_graphs_is_the_run_without(tmp_path, pretended, monkeypatch, method, change):
    made = tables.experiment("smoke", method, **{"set": change} | choices.of(method))
    plain = train(made, QUIET, tmp_path / "plain")
    assert not pretended.parts and not pretended.asked
    init = Trainer.__init__
    monkeypatch.setattr(
        Trainer, "__init__", lambda self, *args, **more: init(self, *args, **more | {"cuda_graphs": True})
    )
    replayed = train(made, QUIET, tmp_path / "replayed")
    used = [one for one in pretended.asked if one in pretended.replayed]
    assert pretended.parts and bool(used) == made.semi_supervised  # a teacher's answers
    assert replayed.provenance.checkpoint_sha256 == plain.provenance.checkpoint_sha256
    assert replayed.curve == plain.curve


@pytest.mark.parametrize(
    ("accelerator", "processes", "what"), [("cpu", 1, "on a CPU"), ("cuda", 2, "of 2 processes")]
)
def test_graphs_need_one_gpu(tmp_path, monkeypatch, accelerator, processes, what):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(SSHPEError, match=f"CUDA graphs are recorded on one GPU, and this run is one {what}"):
        Machine(accelerator=accelerator, cuda_graphs=True, progress=False).fabric("32-true", tmp_path)


def test_garbage_is_collected_before_a_recording_and_not_in_it():
    """It may be another training's graphs, and to free them ends a recording with an error."""

    class Knot:
        def __init__(self):
            self.self = self

    old = weakref.ref(Knot())
    with without_garbage():
        assert old() is None and not gc.isenabled()
        with without_garbage():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(SSHPEError), without_garbage():
        raise SSHPEError("a recording failed")
    assert gc.isenabled()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_gradients_that_are_added_up_are_those_of_the_sum(times):
    """Also of what only one term knows, and of what none does; older gradients are forgotten."""
    generator = torch.Generator().manual_seed(0)
    shared, first, last, none = (nn.Parameter(torch.rand(3, generator=generator)) for _ in range(4))
    given = torch.rand(times, 3, generator=generator)

    def terms():
        found = [(shared * one).square().sum() for one in given]
        found[0] = found[0] + first.sin().sum()
        found[-1] = found[-1] + last.exp().sum()
        return found

    wanted = torch.autograd.grad(sum(terms()), [shared, first, last])
    everything = [none, shared, first, last]
    for parameter in everything:
        parameter.grad = torch.ones(3)
    add_up(terms(), everything, torch.Tensor.backward)
    assert none.grad is None
    for parameter, gradient in zip(everything[1:], wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0 if times < 3 else 1e-6, atol=0)
