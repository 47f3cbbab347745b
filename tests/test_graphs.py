"""Which passes of a training step are replayed, and that they compute the same; recordings are pretended here."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_map

from sshpe_lib import graphs, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import train
from sshpe_lib.graphs import Graphs, parts_of
from sshpe_lib.machine import Machine
from sshpe_lib.models import resnet
from sshpe_lib.trainer import Trainer
from tests import choices

QUIET = Machine(threads=1, progress=False)
IMAGES = torch.rand(4, 3, 64, 48, generator=torch.Generator().manual_seed(0))


class Pretended:
    """Stands in for recordings: runs what was recorded, in the memory that was recorded, and counts."""

    def __init__(self):
        self.parts, self.wholes, self.replayed = [], [], []

    def learning(self, callables, samples, allow_unused_input):
        assert allow_unused_input and len(callables) == len(samples)
        assert not any(leaf.grad_fn for sample in samples for leaf in torch.utils._pytree.tree_leaves(sample))
        self.parts.append([call.part for call in callables])
        for call, sample in zip(callables, samples, strict=True):
            call(*sample)  # as a warm-up does: batch norms see it
        return [self._replayed(call, sample) for call, sample in zip(callables, samples, strict=True)]

    def _replayed(self, call, sample):
        run = call.forward

        def graphed(*arguments):
            shapes = tree_map(lambda leaf: leaf.shape, (arguments, sample))
            assert shapes[0] == shapes[1]
            self.replayed.append(call.part)
            return run(*arguments)

        return graphed

    def asking(self, forward, images):
        self.wholes.append(images.shape)
        forward(images)

        def replay(images):
            self.replayed.append("whole")
            return forward(images)

        return replay


@pytest.fixture
def pretended(monkeypatch):
    made = Pretended()
    monkeypatch.setattr(
        "sshpe_lib.trainer.Graphs", lambda network: Graphs(network, made.learning, made.asking)
    )
    return made


def network():
    return resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=0)


def test_the_largest_parts_are_recorded_in_the_order_of_their_calls():
    net = network()
    names = {part: name for name, part in net.named_modules()}
    parts = parts_of(net, lambda: net(IMAGES))
    assert [names[part] for part in parts] == [
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "deconv_layers", "final_layer",
    ]  # fmt: skip


class Odd(nn.Module):
    """Its parts: one called twice, one that gets no tensor, one that gives a number, and sound ones inside another."""

    def __init__(self):
        super().__init__()
        self.twice, self.option, self.number, self.inner = (nn.Linear(2, 2) for _ in range(4))
        self.holder = nn.Module()
        self.holder.inner = nn.Linear(2, 2)
        self.holder.forward = lambda x, nothing: self.holder.inner(x)

    def forward(self, x):
        return self.inner(self.holder(self.twice(self.twice(x)), None))


def test_what_takes_more_than_tensors_or_runs_twice_is_looked_into_or_left():
    net = Odd()
    assert list(parts_of(net, lambda: net(torch.zeros(1, 2)))) == [net.holder.inner, net.inner]


def test_only_steps_of_the_recorded_shape_are_replayed():
    made, net = Pretended(), network()
    plain = network()
    replaying = Graphs(net, made.learning, made.asking)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with replaying.recording():
        net(IMAGES), net(IMAGES)
        with torch.no_grad():
            net(IMAGES)
    assert len(made.parts) == 2 and len(made.wholes) == 1
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    made.replayed.clear()
    for _ in range(2):
        with replaying.step():
            found = [net(IMAGES), net(IMAGES)]
            with torch.no_grad():
                found.append(net(IMAGES))
        wanted = [plain(IMAGES), plain(IMAGES), plain(IMAGES)]
        assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert made.replayed == 2 * [*made.parts[0], *made.parts[1], "whole"]
    made.replayed.clear()
    with replaying.step():
        net(IMAGES[:3])  # an odd batch at the end of an epoch
    net(IMAGES)  # outside a step
    with torch.no_grad(), replaying.step():
        net.eval()(IMAGES)  # recorded in training
    with replaying.step():
        net.eval()(IMAGES)
    assert made.replayed == []


@pytest.mark.parametrize(
    "method", ["supervised", "pose-mum+", "jc-single", "jc-dual", "affine-ema", "pose-mum-whole+"]
)
def test_a_run_with_graphs_is_the_run_without(tmp_path, pretended, monkeypatch, method):
    made = tables.experiment("smoke", method, **choices.of(method))
    plain = train(made, QUIET, tmp_path / "plain")
    assert not pretended.parts
    init = Trainer.__init__
    monkeypatch.setattr(
        Trainer, "__init__", lambda self, *args, **more: init(self, *args, **more | {"cuda_graphs": True})
    )
    replayed = train(made, QUIET, tmp_path / "replayed")
    assert pretended.parts and pretended.replayed
    assert bool(pretended.wholes) == made.semi_supervised
    assert replayed.provenance.checkpoint_sha256 == plain.provenance.checkpoint_sha256
    assert replayed.curve == plain.curve


@pytest.mark.parametrize(
    ("accelerator", "processes", "what"), [("cpu", 1, "on a CPU"), ("cuda", 2, "of 2 processes")]
)
def test_graphs_need_one_gpu(tmp_path, monkeypatch, accelerator, processes, what):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(SSHPEError, match=f"CUDA graphs are recorded on one GPU, and this run is one {what}"):
        Machine(accelerator=accelerator, cuda_graphs=True, progress=False).fabric("32-true", tmp_path)


def test_what_autocast_kept_does_not_enter_a_recording():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.is_autocast_cache_enabled()
        with graphs._casts_not_kept():
            assert not torch.is_autocast_cache_enabled()
        assert torch.is_autocast_cache_enabled()
