"""Teachers: what an update does to every tensor, in closed form, and what it must leave alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.resnet import build
from sshpe_lib.teacher import EMA, EMAN, Dual, Single


def small(seed: int = 0) -> nn.Module:
    return build(18, width=8, deconv_channels=8, output_stride=16, seed=seed)


def images(seed: int = 0, count: int = 4) -> Tensor:
    return torch.randn(count, 3, 64, 48, generator=torch.Generator().manual_seed(seed))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def disturb(network: nn.Module, seed: int) -> None:
    """Stand in for a training step: every parameter and buffer changes, variances stay positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                tensor += 1 + seed
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator))


def averages(history: list[Tensor], decays: list[float], through: Callable[[Tensor], Tensor]) -> Tensor:
    """sum over t of (1 - tau_t) * prod(tau after t) * student_t, in float64."""
    share, total = 1.0, torch.zeros_like(history[0], dtype=torch.float64)
    for value, decay in zip(reversed(history[1:]), reversed(decays), strict=True):
        total += share * (1 - decay) * through(value.double())
        share *= decay
    return total + share * through(history[0].double())


@pytest.mark.parametrize("std", [False, True])
@pytest.mark.parametrize(
    ("decay", "warmup"), [(0.0, False), (0.6, False), (0.6, True), (0.999, False), (1.0, False)]
)
def test_eman_averages_every_floating_tensor_and_copies_integers(
    decay: float, warmup: bool, std: bool
) -> None:
    student = small()
    disturb(student, 0)
    teacher = EMAN(student, decay=decay, warmup=warmup, std=std)
    history = [snapshot(student)]
    for step in range(1, 6):
        disturb(student, step)
        history.append(snapshot(student))
        teacher.update(student)

    decays = [min(decay, (1 + t) / (10 + t)) if warmup else decay for t in range(5)]
    state = teacher.network.state_dict()
    assert list(state) == list(history[0])
    for name, found in state.items():
        values = [moment[name] for moment in history]
        if not found.is_floating_point():
            assert torch.equal(found, values[-1]), name
        elif std and name.endswith("running_var"):
            expected = averages(values, decays, torch.sqrt).square()
            torch.testing.assert_close(found.double(), expected, rtol=2e-6, atol=0, msg=name)
        else:
            expected = averages(values, decays, lambda value: value)
            torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6, msg=name)


def test_averaging_deviations_is_not_averaging_variances() -> None:
    student = small()
    plain, deviations = EMAN(student, decay=0.6), EMAN(student, decay=0.6, std=True)
    disturb(student, 1)
    for teacher in (plain, deviations):
        teacher.update(student)
    differing = {
        name.rpartition(".")[2]
        for name, tensor in plain.network.state_dict().items()
        if not torch.equal(tensor, deviations.network.state_dict()[name])
    }
    assert differing == {"running_var"}


def test_ema_averages_trainable_parameters_and_nothing_else() -> None:
    student = small()
    student.conv1.requires_grad_(False)
    teacher = EMA(student, decay=0.6)
    before = snapshot(student)
    disturb(student, 1)
    teacher.update(student)
    averaged = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
    for name, found in teacher.network.state_dict().items():
        if name in averaged:
            expected = 0.6 * before[name] + 0.4 * student.state_dict()[name]
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, msg=name)
        else:
            assert torch.equal(found, before[name]), name
    assert "conv1.weight" not in averaged and "conv1.weight" in before


def test_ema_predicts_with_the_statistics_of_the_batch() -> None:
    student = small()
    teacher = EMA(student, decay=0.6)
    mean = teacher.network.bn1.running_mean.clone()
    expected = copy.deepcopy(student).train()(images())
    assert torch.equal(teacher.predict(images()), expected)
    assert not torch.equal(teacher.network.bn1.running_mean, mean)
    assert student.bn1.num_batches_tracked == 0


def test_ema_predicts_with_the_statistics_of_the_batch_where_the_student_is_frozen() -> None:
    student = small().train()
    student.bn1.eval()
    teacher = EMA(student)
    first = teacher.predict(images())
    teacher.network.eval()
    assert torch.equal(teacher.predict(images()), first)
    assert not student.bn1.training


def test_eman_predicts_with_its_running_statistics_and_leaves_them_alone() -> None:
    student = small()
    disturb(student, 1)
    teacher = EMAN(student)
    before = snapshot(teacher.network)
    with torch.no_grad():
        expected = copy.deepcopy(student).eval()(images())
    assert torch.equal(teacher.predict(images()), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())


def test_eman_stays_in_evaluation_mode_under_a_parent_that_trains() -> None:
    student = small().train()
    teacher = EMAN(student)
    assert not any(module.training for module in teacher.network.modules())
    parent = nn.ModuleList([student, teacher.network])
    before, expected = snapshot(teacher.network), teacher.predict(images())
    parent.train()
    assert torch.equal(teacher.predict(images()), expected)
    assert not any(module.training for module in teacher.network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())
    assert student.training


def test_ema_returns_to_train_mode_after_an_evaluation() -> None:
    teacher = EMA(small())
    teacher.network.eval()
    teacher.predict(images())
    assert all(module.training for module in teacher.network.modules())


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_a_teacher_is_a_full_copy_without_gradient(kind: type[EMA]) -> None:
    student = small()
    disturb(student, 1)
    teacher = kind(student)
    assert all(torch.equal(t, student.state_dict()[n]) for n, t in teacher.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert not teacher.predict(images()).requires_grad
    own = {tensor.data_ptr() for tensor in teacher.network.state_dict().values()}
    assert own.isdisjoint(tensor.data_ptr() for tensor in student.state_dict().values())


def test_updates_follow_a_training_loop() -> None:
    """With decay 0 the teacher is the student after every step, whatever Adam does to the tensors."""
    student = small()
    teacher = EMAN(student, decay=0.0)
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-2)
    for step in range(3):
        optimiser.zero_grad()
        student.train()(images(step)).square().mean().backward()
        optimiser.step()
        teacher.update(student)
        state = student.state_dict()
        assert all(torch.equal(t, state[n]) for n, t in teacher.network.state_dict().items())
    assert teacher.network.bn1.num_batches_tracked == 3


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_reset_copies_everything_and_counts_again(kind: type[EMA]) -> None:
    student = small()
    teacher = kind(student, decay=0.9, warmup=True)
    for step in range(3):
        disturb(student, step)
        teacher.update(student)
    assert teacher.step == 3
    teacher.reset(student)
    assert teacher.step == 0
    assert all(torch.equal(t, student.state_dict()[n]) for n, t in teacher.network.state_dict().items())


def test_reset_notices_what_became_trainable() -> None:
    student = small()
    student.conv1.requires_grad_(False)
    teacher = EMA(student, decay=0.0)
    teacher.update(student)
    student.conv1.requires_grad_(True)
    teacher.reset(student)
    disturb(student, 1)
    teacher.update(student)
    assert torch.equal(teacher.network.conv1.weight, student.conv1.weight)


def test_decay_rises_to_tau_under_warmup() -> None:
    teacher = EMAN(small(), decay=0.6, warmup=True)
    assert [teacher.decay_at(t) for t in (0, 1, 8)] == [1 / 10, 2 / 11, 9 / 18]
    assert [teacher.decay_at(t) for t in (13, 1000)] == [0.6, 0.6]  # 14/23 is the first above 0.6
    assert EMAN(small(), decay=0.6).decay_at(0) == 0.6


def test_decay_rises_linearly_from_a_half_under_a_ramp() -> None:
    teacher = EMAN(small(), decay=0.9, ramp=4)
    assert [teacher.decay_at(t) for t in range(6)] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.9])
    assert EMA(small(), decay=0.4, ramp=4).decay_at(0) == 0.4


def test_a_dual_teacher_keeps_its_weights_in_its_state() -> None:
    first, resumed = Dual(small(seed=1)), Dual(small(seed=2))
    resumed.load(first.state())
    for one, other in zip(first.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(SSHPEError, match="Single, not Dual"):
        resumed.load(Single(small()).state())


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_state_round_trip_continues_bit_equal(kind: type[EMA]) -> None:
    student = small()
    first = kind(student, decay=0.9, warmup=True)
    for step in range(3):
        disturb(student, step)
        first.update(student)
    resumed = kind(small(seed=7), decay=0.9, warmup=True)
    resumed.load(copy.deepcopy(first.state()))
    for step in range(3, 5):
        disturb(student, step)
        first.update(student)
        resumed.update(student)
    assert resumed.step == first.step == 5
    theirs = first.network.state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in resumed.network.state_dict().items())


def test_a_state_of_another_teacher_or_network_is_refused() -> None:
    with pytest.raises(SSHPEError, match="teacher is EMA, not EMAN"):
        EMAN(small()).load(EMA(small()).state())
    with pytest.raises(SSHPEError, match="teacher is EMAN, not Single"):
        Single(small()).load(EMAN(small()).state())
    other = build(18, keypoints=14, width=8, deconv_channels=8, output_stride=16, seed=0)
    for kind in (EMAN, Dual):
        with pytest.raises(SSHPEError, match=r"2 tensors differ.*final_layer\.bias, \(14,\) for \(17,\)"):
            kind(small()).load(kind(other).state())


@pytest.mark.parametrize(
    ("kind", "entries"), [(EMA, "network and step"), (EMAN, "network and step"), (Dual, "network")]
)
def test_a_state_that_lacks_entries_is_refused(kind: type, entries: str) -> None:
    with pytest.raises(SSHPEError, match=rf"teacher lacks {entries}; load what .* state\(\) gave"):
        kind(small()).load({"teacher": kind.__name__})


@pytest.mark.parametrize("kind", [EMA, EMAN])
@pytest.mark.parametrize("method", ["update", "reset"])
def test_a_student_of_other_shapes_is_refused(kind: type[EMA], method: str) -> None:
    teacher = kind(small())
    before = snapshot(teacher.network)
    wider = build(18, width=16, deconv_channels=8, output_stride=16, seed=0)
    with pytest.raises(SSHPEError, match=r"tensors differ, the first bn1\.bias, \(16,\) for \(8,\)"):
        getattr(teacher, method)(wider)
    with pytest.raises(SSHPEError, match=r"absent for \(8,\).*unwrapped"):
        getattr(teacher, method)(nn.ModuleDict({"module": small()}))
    larger = small()
    larger.head = nn.Linear(2, 2)
    with pytest.raises(SSHPEError, match=r"2 tensors differ, the first head\.bias, \(2,\) for absent"):
        getattr(teacher, method)(larger)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.network.state_dict().items())


def test_a_student_on_another_device_is_refused() -> None:
    student = small()
    teacher = EMAN(student)
    teacher.update(student)
    with pytest.raises(SSHPEError, match="the teacher is on cpu, the student on meta"):
        teacher.update(student.to("meta"))


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_settings_beside_the_decay_are_named(kind: type[EMA]) -> None:
    """In a place of its own, one kind's setting would be the other's."""
    with pytest.raises(TypeError, match="positional"):
        kind(small(), 0.9, False, 100)


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(SSHPEError, match=r"decay=.*\[0, 1\]"):
        EMAN(small(), decay=decay)


@pytest.mark.parametrize("kind", [EMA, EMAN])
@pytest.mark.parametrize(
    ("settings", "told"),
    [({"ramp": -1}, "ramp=-1; it is a number of updates"), ({"warmup": True, "ramp": 10}, "choose one")],
)
def test_a_rise_of_the_decay_that_is_impossible_is_refused(
    kind: type[EMA], settings: dict, told: str
) -> None:
    with pytest.raises(SSHPEError, match=told):
        kind(nn.Linear(1, 1), 0.9, **settings)


def test_tensors_that_were_replaced_are_gathered_again() -> None:
    """Moving a module replaces its buffers: the lists of the first update must not outlive them."""
    student = small()
    teacher = EMAN(student, decay=0.0)
    teacher.update(student)
    student.double().float()
    teacher.network.double().float()
    disturb(student, 1)
    teacher.update(student)
    assert all(torch.equal(t, student.state_dict()[n]) for n, t in teacher.network.state_dict().items())
    student.load_state_dict(snapshot(small(seed=3)), assign=True)
    teacher.update(student)
    assert all(torch.equal(t, student.state_dict()[n]) for n, t in teacher.network.state_dict().items())


def test_a_cast_that_replaces_no_tensor_is_noticed() -> None:
    """A module casts its parameters in place, and one without batch norms has nothing else."""
    student = nn.Linear(2, 2)
    teacher = EMAN(student, decay=0.0)
    teacher.update(student)
    student.double()
    disturb(student, 1)
    teacher.update(student)
    assert torch.equal(teacher.network.weight, student.weight.float())


def frozen_and_freed(student: nn.Module) -> None:
    student.conv1.requires_grad_(not student.conv1.weight.requires_grad)


def test_what_is_unfrozen_or_frozen_later_is_noticed() -> None:
    """As fine-tuning does: first the last layers alone, then all of them."""
    student = small()
    frozen_and_freed(student)
    teacher = EMA(student, decay=0.0)
    for seed, averaged in ((0, False), (1, True), (2, False)):
        disturb(student, seed)
        teacher.update(student)
        assert torch.equal(teacher.network.conv1.weight, student.conv1.weight) == averaged
        frozen_and_freed(student)


def replaced_part(network: nn.Module) -> None:
    network.layer1[0] = small(seed=4).layer1[0]


def replaced_parameter(network: nn.Module) -> None:
    network.conv1.weight = nn.Parameter(network.conv1.weight.detach() + 1)


def replaced_buffer(network: nn.Module) -> None:
    network.bn1.running_mean = network.bn1.running_mean + 1


@pytest.mark.parametrize("whose", ["student", "teacher"])
@pytest.mark.parametrize("replaced", [replaced_part, replaced_parameter, replaced_buffer])
def test_what_is_replaced_anywhere_is_noticed(replaced: Callable[[nn.Module], None], whose: str) -> None:
    """The first update's tensors would go on to be averaged, though no network has them any more."""
    student = small()
    teacher = EMAN(student, decay=0.0)
    teacher.update(student)
    replaced(student if whose == "student" else teacher.network)
    disturb(student, 1)
    teacher.update(student)
    assert all(torch.equal(t, student.state_dict()[n]) for n, t in teacher.network.state_dict().items())


def test_a_part_of_other_shapes_is_refused_when_it_takes_anothers_place() -> None:
    student = small()
    teacher = EMAN(student)
    teacher.update(student)
    student.conv1 = nn.Conv2d(3, 16, 3)
    with pytest.raises(SSHPEError, match="the student is another network than the teacher"):
        teacher.update(student)


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_nothing_is_gathered_again_where_nothing_was_replaced(
    kind: type[EMA], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = small()
    teacher = kind(student)
    optimiser = torch.optim.Adam(student.parameters())
    teacher.update(student)
    monkeypatch.setattr(teacher, "_gather", lambda _: pytest.fail("gathered again"))
    for mode in (True, False):
        student.train(mode)(images()).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        student.load_state_dict(snapshot(student))
        teacher.load(teacher.state())
        teacher.predict(images())
        teacher.update(student)


@pytest.mark.parametrize("kind", [EMA, EMAN])
def test_whole_numbers_stay_whole_and_a_network_may_have_no_parameters(kind: type[EMA]) -> None:
    table = nn.Embedding(4, 3)
    assert torch.equal(kind(table).predict(torch.tensor([1, 2])), table.weight[1:3])
    assert torch.equal(kind(nn.ReLU()).predict(images()), images().relu())


def test_another_student_takes_the_first_ones_place() -> None:
    teacher = EMAN(small(), decay=0.0)
    for seed in (1, 2, 1):
        student = small(seed)
        teacher.update(student)
        assert torch.equal(teacher.network.conv1.weight, student.conv1.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("std", [False, True])
def test_a_student_of_half_precision_has_a_float32_teacher(std: bool, dtype: torch.dtype) -> None:
    student = small().to(dtype)
    teacher = EMAN(student, decay=0.999, std=std)
    floating = [tensor for tensor in teacher.network.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {torch.float32}
    before = snapshot(teacher.network)
    disturb(student, 1)
    teacher.update(student)
    assert student.conv1.weight.dtype == dtype
    expected = before["conv1.weight"].lerp(student.conv1.weight.float(), 1 - 0.999)
    assert torch.equal(teacher.network.conv1.weight, expected)
    assert torch.equal(teacher.network.bn1.num_batches_tracked, student.bn1.num_batches_tracked)
    assert teacher.predict(images().to(dtype)).dtype == torch.float32


def test_mixed_dtypes_are_all_averaged() -> None:
    student = small()
    student.final_layer.double()
    teacher = EMAN(student, decay=0.5)
    before = snapshot(student)
    disturb(student, 1)
    teacher.update(student)
    for name in ("final_layer.weight", "conv1.weight"):
        found, now = teacher.network.state_dict()[name], student.state_dict()[name]
        torch.testing.assert_close(found, (before[name] + now) / 2)
        assert found.dtype == now.dtype


@pytest.mark.parametrize("train_mode", [True, False])
def test_single_is_the_student_and_keeps_its_mode(train_mode: bool) -> None:
    student = small().train()
    student.bn1.eval()  # a frozen part must stay frozen
    modes = [module.training for module in student.modules()]
    teacher = Single(student, train_mode)
    assert teacher.network is student
    with torch.no_grad():
        expected = copy.deepcopy(student).train(train_mode)(images())
    heatmaps = teacher.predict(images())
    assert torch.equal(heatmaps, expected) and not heatmaps.requires_grad
    assert [module.training for module in student.modules()] == modes
    assert student.layer1[0].bn1.num_batches_tracked == int(train_mode)

    before = snapshot(student)
    teacher.update(student)
    teacher.reset(student)
    teacher.load(teacher.state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_single_keeps_the_mode_when_the_network_fails() -> None:
    student = small().eval()
    with pytest.raises(SSHPEError):
        Single(student).predict(torch.zeros(1, 3, 50, 50))
    assert not any(module.training for module in student.modules())


def test_single_leaves_the_gradient_of_a_later_forward_alone_under_autocast() -> None:
    """The student's own forward pass must not find weights cast without gradient in autocast's cache."""
    student = small().train()
    with torch.autocast("cpu", torch.bfloat16):
        Single(student).predict(images())
        heatmaps = student(images(1))
    heatmaps.float().square().mean().backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == []
