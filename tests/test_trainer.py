"""The loop: determinism, resuming, stopping, logging."""

import csv
import multiprocessing
import re
import time
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric

from sshpe_lib import tally
from sshpe_lib import trainer as training
from sshpe_lib.augment.dropping import InformationDropping
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.config import Train
from sshpe_lib.data.loaders import Batches
from sshpe_lib.data.top_down import Crops, WeakAffine
from sshpe_lib.errors import SSHPEError
from sshpe_lib.methods.step import Losses
from sshpe_lib.models import resnet
from sshpe_lib.supervision import Supervision
from sshpe_lib.teacher import EMA, EMAN, Dual, Single
from sshpe_lib.trainer import Trainer
from sshpe_lib.training_log import FIELDS, TrainingLog
from tests import toy

SIZE = (48, 64)


def network(seed):
    return resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=seed)


def trainer(
    folder,
    steps=6,
    *,
    burn_in=2,
    key="abc",
    seed=0,
    evaluations=2,
    learning_rate=1e-3,
    schedule=None,
    teacher="eman",
    sync=False,
    precision="32-true",
):
    labeled = Crops(toy.instances(folder / "l", 6), SIZE, weak=WeakAffine(), seed=seed, stream="labeled")
    unlabeled = Crops(
        toy.instances(folder / "u", 10, seed=1), SIZE, weak=WeakAffine(), seed=seed, stream="unlabeled"
    )
    batches = Batches(labeled, unlabeled, batch_size=4, steps=steps, burn_in=burn_in, seed=seed)
    if schedule:
        batches.steps = schedule
    student = network(seed)
    teachers = {
        "single": Single,
        "ema": lambda student: EMA(student, 0.6),
        "eman": lambda student: EMAN(student, 0.6),
        "dual": lambda _: Dual(network(seed + 1)),
    }
    return Trainer(
        Fabric(accelerator="cpu", devices=1, precision=precision), student, teachers[teacher](student), batches,
        Supervision(MSRAHeatmap(SIZE, (12, 16), 1.0)),
        Train(steps=steps, batch_size=4, seed=seed, learning_rate=learning_rate, milestones=(0.5,),
              sync_batch_norm=sync),
        lambda networks: {name: {"AP": float(len(networks))} for name in networks},
        key=key, folder=folder / f"run_{key}_{seed}", strong=Strong([PoseMUM(sites=("layer1",))]),
        evaluations=evaluations, progress=False,
    )  # fmt: skip


def state(made: Trainer) -> dict:
    return torch.load(made.checkpoint, weights_only=True)


def turn_round(kept: dict) -> None:
    """An optimiser's state as one has it that was given its parameters in another order."""
    parts = list(kept.values())
    kept.update(zip(kept, reversed(parts), strict=True))


def assert_equal(one, other, place="state"):
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for name in one:
            assert_equal(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{place}.{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    else:
        assert one == other, place


def without_clock(checkpoint: dict) -> dict:
    return {name: value for name, value in checkpoint.items() if name != "seconds"}


class Stopped(Exception):
    pass


def interrupt(made: Trainer, step: int) -> None:
    """Let it save at `step` and die at the next one."""
    forward = made._forward

    def dying(batch):
        if made.step == step:
            made.save()
            raise Stopped
        return forward(batch)

    made._forward = dying
    with pytest.raises(Stopped):
        made.fit()


def logged(made: Trainer) -> list[dict[str, str]]:
    with made.log.file.open(newline="") as file:
        return list(csv.DictReader(file))


def row(step: int) -> dict[str, float]:
    return dict(zip(FIELDS, (step, 1e-3, 0.5, 0.25, 0.125), strict=True))


@pytest.mark.parametrize(("teacher", "networks"), [("single", 1), ("eman", 2), ("dual", 2)])
def test_statistics_of_each_network_are_sent_once_and_the_losses_with_them(
    tmp_path, monkeypatch, teacher, networks
):
    made, sent = trainer(tmp_path, teacher=teacher), []
    assert len(made.all_networks) == networks

    def from_all_ranks(tensor):
        sent.append(len(tensor))
        tensor.add_(1)

    monkeypatch.setattr(torch.distributed, "all_reduce", from_all_ranks)
    moving = [one for one in made.all_networks if one.training]  # an EMAN teacher predicts with what it has
    statistics = [b for one in moving for b in one.buffers() if b.is_floating_point()]
    before = [buffer.clone() for buffer in statistics]
    losses = made._averaged(Losses(torch.tensor(3.0), torch.tensor(2.0)))
    assert sent == [sum(buffer.numel() for buffer in statistics) + 2] and losses == (4, 3, None)
    assert all(torch.equal(now, old + 1) for now, old in zip(statistics, before, strict=True))


@pytest.mark.parametrize(
    ("step", "teacher"),
    [(1, "eman"), (2, "eman"), (3, "eman"), (5, "eman"), (1, "dual"), (3, "dual")],
)
def test_three_and_three_steps_are_six(tmp_path, step, teacher):
    """Also across the end of the burn-in (2), of the rate's step (3) and of an epoch."""
    whole = trainer(tmp_path / "whole", teacher=teacher)
    whole.fit()
    first = trainer(tmp_path / "parts", teacher=teacher)
    interrupt(first, step)
    second = trainer(tmp_path / "parts", teacher=teacher)
    second.fit()
    assert_equal(without_clock(state(whole)), without_clock(state(second)))
    assert whole.log.file.read_text() == second.log.file.read_text()


def test_synchronised_batch_norms_are_the_plain_ones_in_one_process(tmp_path):
    """And a run goes on from the other's checkpoint: the names are the same."""
    plain, synchronised = trainer(tmp_path / "plain"), trainer(tmp_path / "sync", sync=True)
    kinds = {type(module) for module in synchronised.network.modules()}
    assert torch.nn.SyncBatchNorm in kinds and torch.nn.BatchNorm2d not in kinds
    for made in (plain, synchronised):
        made.fit()
    assert_equal(without_clock(state(plain)), without_clock(state(synchronised)))


def test_batch_norms_of_a_teacher_that_has_its_own_are_synchronised_too(tmp_path):
    """That of an EMA teacher reads the batch, of which every GPU has a share."""
    made = trainer(tmp_path, teacher="ema", sync=True)
    kinds = {type(module) for module in made.teacher.network.modules()}
    assert torch.nn.SyncBatchNorm in kinds and torch.nn.BatchNorm2d not in kinds


def test_synchronised_batch_norms_need_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(Fabric, "world_size", 2)
    with pytest.raises(SSHPEError, match="train.sync_batch_norm works between GPUs.*leave it out"):
        trainer(tmp_path, sync=True)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    runs = [trainer(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for run in runs:
        run.fit()
    assert_equal(without_clock(state(runs[0])), without_clock(state(runs[1])))
    assert not torch.equal(
        state(runs[0])["student"]["conv1.weight"], state(runs[2])["student"]["conv1.weight"]
    )


def test_a_finished_run_is_not_trained_again_and_tells_its_metrics(tmp_path):
    made = trainer(tmp_path)
    made.fit()
    again = trainer(tmp_path)
    again._forward = None  # any step would raise
    curve = again.fit()
    assert [point.step for point in curve] == [3, 6]
    assert again.metrics == made.metrics != {}


def test_a_run_that_goes_on_counts_the_time_before(tmp_path):
    first = trainer(tmp_path)
    first.seconds = 1000.0
    interrupt(first, 4)
    before = state(first)["seconds"]
    second = trainer(tmp_path)
    second.fit()
    assert 1000 < before < second.seconds


def test_the_time_to_the_next_checkpoint_counts_from_the_last(tmp_path, monkeypatch):
    """A step takes 25 seconds: the third one is the first that is more than 60 after the start."""
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    made, saved = trainer(tmp_path, steps=8, evaluations=1), []
    forward, save = made._forward, made.save
    made._forward = lambda batch: (now.__setitem__(0, now[0] + 25), forward(batch))[1]
    made.save = lambda: (saved.append(made.step), save())
    made.fit()
    assert saved == [3, 6, 8]


def test_the_burn_in_ends_with_a_copy_of_the_student(tmp_path):
    made = trainer(tmp_path, steps=6, burn_in=3)
    interrupt(made, 3)
    student, teacher = made.network.state_dict(), made.teacher.network.state_dict()
    assert any(not torch.equal(student[name], teacher[name]) for name in student)
    made = trainer(tmp_path, steps=6, burn_in=3)
    predict, seen = made.teacher.predict, []

    def spy(images):
        seen.append({name: tensor.clone() for name, tensor in made.teacher.network.state_dict().items()})
        return predict(images)

    made.teacher.predict = spy
    made.fit()
    assert len(seen) == 3
    assert all(torch.equal(seen[0][name], student[name]) for name in student)


def rates(made: Trainer) -> list[float]:
    """What the optimizer learns with, step by step, in a whole run."""
    used, update = [], made._update
    made._update = lambda losses: (used.append(made.optimizer.param_groups[0]["lr"]), update(losses))[1]
    made.fit()
    return used


def test_the_rate_falls_at_the_milestones(tmp_path):
    assert rates(trainer(tmp_path)) == pytest.approx([1e-3] * 3 + [1e-4] * 3)


def test_a_rate_is_warmed_up_evenly_from_a_thousandth(tmp_path):
    made = trainer(tmp_path)
    made.train = made.train.model_copy(update={"warmup": 4, "milestones": ()})
    assert rates(made) == pytest.approx([1e-6, 2.5075e-4, 5.005e-4, 7.5025e-4, 1e-3, 1e-3])


def test_a_milestone_between_two_steps_is_at_the_nearer_one(tmp_path):
    made = trainer(tmp_path)
    made.train = made.train.model_copy(update={"milestones": (0.45, 0.7)})  # 2.7 and 4.2 of 6 steps
    assert rates(made) == pytest.approx([1e-3] * 3 + [1e-4] + [1e-5] * 2)


def test_a_teacher_is_set_anew_once_and_after_that_only_averaged(tmp_path):
    """From the second step that it teaches on it is not the student, and it counts its updates."""
    made = trainer(tmp_path, steps=5, burn_in=2)
    seen, predict = [], made.teacher.predict

    def spy(images):
        seen.append(torch.equal(made.teacher.network.conv1.weight, made.network.conv1.weight))
        return predict(images)

    made.teacher.predict = spy
    made.fit()
    assert seen == [True, False, False] and made.teacher.step == 3


def test_a_teacher_averages_what_the_step_has_learned(tmp_path):
    made = trainer(tmp_path, steps=3, burn_in=2)
    made.teacher._decay = 0.0
    made.fit()
    for name, value in made.network.state_dict().items():
        assert torch.equal(value, made.teacher.network.state_dict()[name]), name


def test_terms_that_are_added_up_are_weighted_too(tmp_path):
    """As a run with CUDA graphs does, whose consistency counts other than 1."""
    found = []
    for wanted in (False, True):
        made = trainer(tmp_path / str(wanted), steps=1, burn_in=0, evaluations=1)
        made.train = made.train.model_copy(update={"consistency": 100.0})
        made.graphs = SimpleNamespace(wanted=wanted, step=made.graphs.step, close=lambda: None)
        losses = made._forward(made._prepared(made.batches[0]))
        made._update(losses)
        found.append(made.network.conv1.weight.grad.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-9)


def drawn(folder, seed: int) -> list[float]:
    """The first number of every draw of strong augmentation and of information dropping, in three steps."""
    numbers = []

    def remember(view, heatmaps, draw):
        numbers.append(draw.rand(1).item())
        return view, heatmaps

    class Remember:
        def numbers(self, batch, width, height, draw):
            numbers.append(draw.rand(1).item())
            return ()

        def drop(self, image, numbers):
            return image

    made = trainer(folder, steps=3, burn_in=0)
    made.seed, made.strong = seed, Strong([remember])
    made.preparation.dropping = InformationDropping([Remember()])
    made.fit()
    return numbers


def test_steps_streams_and_the_runs_own_seeds_draw_different_numbers(tmp_path):
    one, again, other = (drawn(tmp_path / name, seed) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert one == again and len(one) == 3 * 2
    assert len({*one, *other}) == 2 * len(one)


def test_the_consistency_counts_as_much_as_it_is_told(tmp_path):
    made = trainer(tmp_path, steps=1, burn_in=0, evaluations=1)
    made.train = made.train.model_copy(update={"consistency": 1000.0})
    (point,) = made.fit()
    assert point.loss > 1.2 * point.supervised
    assert point.loss == pytest.approx(point.supervised + 1000 * point.consistency, abs=1e-5)


def test_evaluations_are_spread_evenly(tmp_path):
    curve = trainer(tmp_path, steps=5, evaluations=3).fit()
    assert [point.step for point in curve] == [2, 3, 5]


def test_mean_losses_are_those_of_the_steps_since_the_last_evaluation(tmp_path):
    counted = tally.Tally(Fabric(accelerator="cpu", devices=1), TrainingLog(tmp_path), steps=3)

    def mean(*losses):
        for loss in losses:
            counted.add(1, 1e-3, Losses(torch.tensor(loss), torch.tensor(loss / 2)))
        counted.look()
        found = counted.mean(0)
        return found["loss"], found["supervised"]

    assert mean(1.0, 3.0) == (2, 1)
    assert mean(10.0) == (10, 5)


def test_the_consistency_of_a_later_evaluation_is_the_mean_of_its_own_steps(tmp_path):
    counted = tally.Tally(Fabric(accelerator="cpu", devices=1), TrainingLog(tmp_path), steps=8)
    for taught in (2, 4):
        for step in (1, 2):
            counted.add(step, 1e-3, Losses(*(torch.tensor(float(step)) for _ in range(3))))
        counted.look()
        assert counted.mean(taught)["consistency"] == 1.5


def test_a_step_is_paced(tmp_path):
    made, paced = trainer(tmp_path, steps=3), []
    made._pace = lambda: paced.append(made.step)
    made.fit()
    assert paced == [1, 2, 3]


def test_losses_that_a_gpu_sends_together_are_counted_step_by_step(tmp_path, monkeypatch):
    """All but those of the last steps, when they are there; in their order, and each with its own rate."""
    monkeypatch.setattr(tally, "STEPS_BETWEEN_LOG_ROWS", 1)
    monkeypatch.setattr(tally, "STEPS_TOGETHER", 3)
    fabric = SimpleNamespace(device=torch.device("cuda"), is_global_zero=True, log_dict=lambda *a, **k: None)
    counted, numbers = tally.Tally(fabric, TrainingLog(tmp_path), steps=8), []
    for step in range(1, 9):
        loss = torch.tensor(float(step))
        counted.add(step, step / 10, Losses(2 * loss, loss, None if step < 5 else loss))
        counted.look(but=2)
        numbers.append(counted.sums["count"])
    assert numbers == [0, 0, 0, 0, 3, 3, 3, 6]
    counted.look()
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [(int(row["step"]), float(row["rate"]), float(row["loss"])) for row in rows] == [
        (step, step / 10, 2 * step) for step in range(1, 9)
    ]
    mean = counted.mean(4)
    assert (mean["loss"], mean["supervised"], mean["consistency"]) == (9, 4.5, 6.5)
    counted.look()
    assert counted.sums["count"] == 0


def test_adam_is_given_the_largest_parameters_first(tmp_path):
    """A GPU's takes so many at a time; they are those of both networks where two learn."""
    for teacher in ("eman", "dual"):
        made = trainer(tmp_path / teacher, teacher=teacher)
        sizes = [parameter.numel() for parameter in made.optimizer.param_groups[0]["params"]]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) == sum(p.numel() for network in made.networks for p in network.parameters())


def test_a_teacher_that_is_no_longer_finite_is_not_kept(tmp_path):
    made = trainer(tmp_path, evaluations=6)
    update = made.teacher.update

    def ruined(student):
        update(student)
        if made.step == 3:
            made.teacher.network.conv1.weight[0] = float("inf")

    made.teacher.update = torch.no_grad()(ruined)
    with pytest.raises(SSHPEError, match="no longer finite after step 4"):
        made.fit()
    assert state(made)["step"] == 3


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, value):
    made = trainer(tmp_path, evaluations=6)
    forward = made._forward

    def exploding(batch):
        losses = forward(batch)
        return losses._replace(total=losses.total * float(value)) if made.step == 4 else losses

    made._forward = exploding
    with pytest.raises(SSHPEError, match=rf"loss became {value} at step 4; lower train.learning_rate"):
        made.fit()
    assert state(made)["step"] == 4


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_an_update_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, value):
    """As of an infinite gradient, or of another process's loss: every loss of this process is finite."""
    made = trainer(tmp_path, evaluations=6)
    backward = made.backward

    def ruined(*losses):
        backward(*losses)
        if made.step == 3:
            made.network.conv1.weight.grad.mul_(float(value))

    made.backward = ruined
    with pytest.raises(SSHPEError, match=r"no longer finite after step 4; lower train.learning_rate"):
        made.fit()
    assert state(made)["step"] == 3
    assert all(value.isfinite().all() for value in state(made)["student"].values())


def test_a_corrupt_checkpoint_is_named(tmp_path):
    made = trainer(tmp_path)
    made.fit()
    made.checkpoint.write_bytes(made.checkpoint.read_bytes()[:1000])
    with pytest.raises(
        SSHPEError, match=re.escape(str(made.checkpoint)) + ".*not a readable checkpoint.*move the file"
    ):
        trainer(tmp_path).fit()


def test_a_foreign_checkpoint_is_refused(tmp_path):
    made = trainer(tmp_path, key="one")
    made.fit()
    other = trainer(tmp_path, key="two")
    other.folder.mkdir()
    made.checkpoint.rename(other.checkpoint)
    with pytest.raises(SSHPEError, match="belongs to experiment one, not two"):
        other.fit()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda kept: kept.pop("sums"), "KeyError: 'sums'"),
        (lambda kept: kept.update(student={"x": torch.zeros(1)}), "RuntimeError: Error.* loading state_dict"),
        (lambda kept: kept["curve"][0].update(new=1), "new: Extra inputs are not permitted"),
        (lambda kept: kept.update(teacher=None), "AttributeError: .*None"),
        (lambda kept: kept["teacher"].update(teacher="EMA"), "the checkpoint's teacher is EMA, not EMAN"),
        (lambda kept: turn_round(kept["optimizer"]["state"]), "ValueError: .*parameters in another order"),
    ],
)
def test_a_checkpoint_of_another_version_is_named_with_the_cure(tmp_path, change, told):
    made = trainer(tmp_path, steps=1, burn_in=0, evaluations=1)
    made.fit()
    kept = state(made)
    change(kept)
    torch.save(kept, made.checkpoint)
    with pytest.raises(
        SSHPEError, match=f"of another version of the code .{told}.*; move the file"
    ) as caught:
        trainer(tmp_path, steps=1, burn_in=0, evaluations=1).fit()
    assert str(caught.value).startswith(f"{made.checkpoint}: ") and "\n" not in str(caught.value)


def test_a_process_that_finds_another_checkpoint_than_the_first_is_told(tmp_path, monkeypatch):
    trainer(tmp_path).fit()
    elsewhere = trainer(tmp_path / "not shared")
    elsewhere.folder.mkdir()
    monkeypatch.setattr(elsewhere.fabric, "broadcast", lambda step: 6)  # what the first process says
    with pytest.raises(SSHPEError, match=r"goes on from step 6, process 0 from 0; .*the same folder of runs"):
        elsewhere.fit()


@pytest.mark.parametrize(
    ("cut", "left"), [*((cut, b"") for cut in range(1, 26, 3)), (22, b'"' + 2000 * (99 * b"a" + b"\n"))]
)
def test_a_row_that_was_half_written_is_forgotten(tmp_path, cut, left):
    log = TrainingLog(tmp_path)
    for step in (20, 40, 120):
        log.add(row(step))
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-cut] + left)
    log.forget_after(120)  # of 120 may be left 12, or 1, and its last number may lack digits
    assert log.file.read_bytes() == whole[: whole.index(b"120")]


def test_a_log_that_somebody_emptied_meanwhile_is_gone_on_with(tmp_path):
    log = TrainingLog(tmp_path)
    log.add(row(20))
    log.file.write_bytes(b"")
    log.add(row(40))
    assert log.file.read_text().startswith("step,rate")
    # No header, and rows of too few and of too many fields.
    rows = log.file.read_bytes().split(b"\n", 1)[1]
    log.file.write_bytes(rows + b"\xff\xfe,1\n7\n40,1,2,3,4,5\n")
    log.add(row(60))
    log.forget_after(50)
    whole = log.file.read_bytes()
    log.file.unlink()
    log.add(row(40))
    assert log.file.read_bytes() == whole


def test_a_lost_loader_process_is_told_with_its_cure(tmp_path):
    made = trainer(tmp_path)
    forward = made._forward

    def killing(batch):
        if made.step == 3:
            multiprocessing.active_children()[0].kill()
            time.sleep(2)  # torch looks for what became of it now and then
        return forward(batch)

    made._forward, made.workers = killing, 1
    with pytest.raises(SSHPEError, match="reads images was lost .*give fewer --workers.*from its checkpoint"):
        made.fit()


def test_the_log_has_a_row_for_the_last_step(tmp_path):
    made = trainer(tmp_path)
    made.fit()
    (last,) = logged(made)
    assert last["step"] == "6"
    assert float(last["loss"]) == pytest.approx(float(last["supervised"]) + float(last["consistency"]))


def test_the_log_tells_the_rate_of_every_step(tmp_path, monkeypatch):
    monkeypatch.setattr(tally, "STEPS_BETWEEN_LOG_ROWS", 1)
    made = trainer(tmp_path)
    made.fit()
    assert [float(one["rate"]) for one in logged(made)] == pytest.approx([1e-3] * 3 + [1e-4] * 3)


def test_a_run_that_goes_on_forgets_the_rows_of_steps_that_it_takes_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tally, "STEPS_BETWEEN_LOG_ROWS", 1)
    first = trainer(tmp_path)
    interrupt(first, 2)
    first.log.add(row(3))
    second = trainer(tmp_path)
    second.fit()
    assert [one["step"] for one in logged(second)] == ["1", "2", "3", "4", "5", "6"]


def test_a_run_that_starts_again_forgets_all_rows(tmp_path):
    made = trainer(tmp_path)
    made.folder.mkdir()
    made.log.add(row(4))
    made.fit()
    assert [one["step"] for one in logged(made)] == ["6"]


def test_teacher_and_student_are_both_evaluated_once_the_teacher_teaches(tmp_path):
    made = trainer(tmp_path, steps=6, burn_in=3, evaluations=2)
    curve = made.fit()
    assert curve[0].teacher_ap is None and curve[0].consistency is None
    assert curve[1].teacher_ap == 2.0 and curve[1].consistency > 0


def test_the_consistency_is_the_mean_of_the_steps_that_have_one(tmp_path):
    """Where a burn-in ends between two evaluations, its steps are not counted as steps of no consistency."""
    made = trainer(tmp_path, steps=4, burn_in=3, evaluations=1)
    (point,) = made.fit()
    (last,) = logged(made)
    assert last["step"] == "4" and point.consistency == pytest.approx(float(last["consistency"]), abs=1e-7)


def test_bf16_trains_too(tmp_path):
    """Convolutions answer in bfloat16, before the burn-in and after it; weights stay float32, and all of them move."""
    made, types = trainer(tmp_path, precision="bf16-mixed"), set()
    before = {name: parameter.clone() for name, parameter in made.network.named_parameters()}
    made.network.conv1.register_forward_hook(lambda _, inputs, answer: types.add((made.step, answer.dtype)))
    made.fit()
    assert types == {(step, torch.bfloat16) for step in range(6)}
    for name, parameter in made.network.named_parameters():
        assert parameter.dtype == torch.float32 and not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("burn_in", [0, 6 - 1])
def test_both_networks_of_a_pair_learn(tmp_path, burn_in):
    """From the first step on, in a burn-in as well, and both are evaluated."""
    made = trainer(tmp_path, burn_in=burn_in, teacher="dual")
    before = [{name: w.clone() for name, w in network(seed).named_parameters()} for seed in (0, 1)]
    made.fit()
    for start, trained in zip(before, made.networks, strict=True):
        assert all(not torch.equal(start[name], weight) for name, weight in trained.named_parameters())
    assert set(made.metrics) == {"student", "teacher"}


def test_each_of_a_pair_is_taught_by_the_other(tmp_path):
    made = trainer(tmp_path, teacher="dual")
    assert [teacher.network for _, teacher in made.pairs] == made.networks[::-1]


def test_one_joint_forward_trains(tmp_path):
    made = trainer(tmp_path, burn_in=0)
    made.train = made.train.model_copy(update={"forward": "joint"})
    made.fit()
    assert made.network.bn1.num_batches_tracked == made.steps
