"""What only a GPU can show: nothing waits for it, it gives what a CPU gives, and a run on it can be gone on with."""

import warnings

import pytest
import torch

from sshpe_lib import exporting, predict, profiles, tables, trained
from sshpe_lib.codec.crowd import CrowdHeatmap
from sshpe_lib.data.synthetic import SyntheticPeople, build
from sshpe_lib.experiment import train
from sshpe_lib.machine import Machine
from sshpe_lib.parcel import pack
from sshpe_lib.plan.measure import noise_batch, unsaved_trainer
from sshpe_lib.trainer import Trainer
from tests import choices
from tests.devices import Steps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

GPU, CPU = (Machine(accelerator=name, progress=False) for name in ("cuda", "cpu"))
REPLAYING = Machine(accelerator="cuda", progress=False, cuda_graphs=True)
METHODS = sorted(profiles.load_methods())
# Of float32: sums are taken in another order. Of a run: in TensorFloat-32 too, and steps amplify it.
SAME_STEP, SAME_RUN = 1e-3, 1e-2


def stepping(made, machine, folder) -> tuple[Trainer, object]:
    batch = noise_batch(made)
    batch = pack(batch).pin_memory() if machine.on_gpu else batch
    trainer = unsaved_trainer(made, machine, Steps(), folder)
    trainer.students[0].train()
    return trainer, batch


def smoke(method, **settings):
    values = {name.replace("__", "."): value for name, value in settings.items()}
    return tables.experiment("smoke", method, set=values, **choices.of(method))


@pytest.fixture
def replays(monkeypatch):
    """A list that has an entry for every recording that was replayed."""
    found, replay = [], torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (found.append(graph), replay(graph))[1])
    return found


@pytest.mark.parametrize("graphs", [False, True], ids=["", "graphs"])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_waits_for_nothing(tmp_path, method, graphs):
    """After steps that allocate memory, send constants and mix at every site, the GPU is given more without a wait."""
    trainer, batch = stepping(smoke(method), REPLAYING if graphs else GPU, tmp_path)
    if graphs:
        trainer.record(batch)
    for _ in range(6):
        trainer.take_step(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype, it says
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            trainer.take_step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", METHODS)
def test_a_first_step_loses_what_it_loses_on_a_cpu(tmp_path, method, monkeypatch):
    """The same draws, masks and targets; sums are taken in another order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    losses = []
    for machine in (CPU, GPU):
        trainer, batch = stepping(smoke(method, train__precision="32-true"), machine, tmp_path)
        losses.append(trainer._forward(trainer._prepared(batch)))
    for one, other in zip(*losses, strict=True):
        if one is not None:
            torch.testing.assert_close(other.cpu(), one, rtol=SAME_STEP, atol=0)


@pytest.mark.parametrize("machine", [GPU, REPLAYING], ids=["", "graphs"])
def test_a_run_on_a_gpu_goes_on_where_it_was_stopped(tmp_path, monkeypatch, machine):
    """A step after the burn-in, whose end sets the teacher anew: what the checkpoint holds of it would not show."""
    made = smoke("affine-ema")
    whole = train(made, machine, tmp_path / "whole")
    forward = Trainer._forward

    def dying(self, batch):
        if self.step == 7:
            self.save()
            raise KeyboardInterrupt
        return forward(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_forward", dying)
        with pytest.raises(KeyboardInterrupt):
            train(made, machine, tmp_path / "parts")
    parts = train(made, machine, tmp_path / "parts")
    assert parts.provenance.device == torch.cuda.get_device_name()
    assert [point.step for point in parts.curve] == [point.step for point in whole.curve]
    for one, other in zip(whole.curve, parts.curve, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=SAME_RUN)


@pytest.mark.parametrize("method", METHODS)
def test_steps_with_graphs_are_the_steps_without(tmp_path, method, monkeypatch, replays):
    """Their losses; the gradients behind them, and a teacher's pseudo heatmaps, show in those of the next steps."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    losses = []
    for graphs in (False, True):
        trainer, batch = stepping(smoke(method), REPLAYING if graphs else GPU, tmp_path / str(graphs))
        trainer.folder.mkdir()
        assert not replays
        if graphs:
            trainer.record(batch)
            replays.clear()
        for _ in range(4):
            trainer.take_step(batch)
            trainer.tally.look()
            losses.append(trainer.tally.mean(1)["loss"])
    assert len(replays) >= 4
    assert losses[4:] == pytest.approx(losses[:4], rel=SAME_STEP)


def test_a_run_with_graphs_ends_as_the_run_without(tmp_path):
    """Through loader processes, odd batches, evaluations and a checkpoint."""
    made = smoke("pose-mum+", train__batch_size=20)  # 20 + 20, and 8 + 8 at an epoch's end
    plain = train(made, GPU, tmp_path / "plain")
    machine = Machine(accelerator="cuda", progress=False, workers=2, cuda_graphs=True)
    replayed = train(made, machine, tmp_path / "replayed")
    for one, other in zip(plain.curve, replayed.curve, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=SAME_RUN)


def test_a_joint_that_is_nowhere_leaves_the_maps_of_others_alone():
    """A GPU draws it too, with nothing, where a CPU leaves it out."""
    points = torch.tensor([[[[5.0, 6.0]], [[torch.nan, torch.nan]]]])
    visible = torch.tensor([[[1.0], [0.0]]])
    maps = CrowdHeatmap((16, 16)).encode(points.cuda(), visible.cuda()).cpu()
    torch.testing.assert_close(maps, CrowdHeatmap((16, 16)).encode(points, visible))


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # of torch 2.11's own loading
def test_a_network_that_predicted_on_a_gpu_is_back_and_can_be_exported(tmp_path):
    annotations = build(SyntheticPeople(images=2), tmp_path, progress=False)
    picture, network = next((annotations.parent / "images").glob("*.png")), trained.load(trained.shipped())
    (there,), (here,) = (predict.predict(network, picture, machine=machine) for machine in (GPU, CPU))
    assert not next(network.network.parameters()).is_cuda and there.people.shape == here.people.shape
    network.network.cuda()
    exporting.write(network, tmp_path / "graph.pt2")
    assert next(network.network.parameters()).is_cuda
    graph = torch.export.load(tmp_path / "graph.pt2").module()
    assert graph(torch.zeros(1, 3, *network.experiment.data.input_size[::-1], dtype=torch.uint8)).is_cpu
