"""Teachers: Single, EMA, EMAN and Dual, which give the student its pseudo heatmaps."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sshpe_lib.averaging import Mark, Pairs, check_devices, check_shapes, grouped, tensors
from sshpe_lib.errors import SSHPEError


class Single:
    """The teacher is the student itself (consistency training of Xie et al. 2021).

    Args:
        student: the network, shared, not copied.
        train_mode: batch norm uses the batch's own statistics, as in the reference implementation; this also
            moves the student's running statistics. False: running statistics are used and left alone.
    """

    learns = False
    apart = False

    def __init__(self, student: nn.Module, train_mode: bool = True) -> None:
        self.network = student
        self._train_mode = train_mode

    def predict(self, images: Tensor) -> Tensor:
        """Pseudo heatmaps (B, K, h, w) of images (B, 3, H, W), no gradient; the student's mode is kept."""
        modes = [(module, module.training) for module in self.network.modules()]
        self.network.train(self._train_mode)
        try:
            with torch.no_grad():
                return self.network(images)
        finally:
            for module, training in modes:
                module.training = training

    def update(self, student: nn.Module) -> None:
        """Nothing to do: the teacher has the student's weights."""

    def reset(self, student: nn.Module) -> None:
        """Nothing to do: the teacher has the student's weights."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the student."""
        return {"teacher": type(self).__name__}

    def load(self, state: dict[str, Any]) -> None:
        """Accept a state of the same kind of teacher.

        Raises:
            SSHPEError: it is of another kind.
        """
        _check_kind(self, state)


class Dual(Single):
    """The teacher is the other network of a pair, which learns as the student does (Xie et al. 2021).

    Each network is the other's teacher: it predicts as `Single` does, with the batch's statistics and no
    gradient, and the trainer descends on both.

    Args:
        partner: the other network, of the student's kind. What the two are to teach each other must differ: weights, or
            at least those of the decoder.
    """

    learns = True

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: kind, and the partner's live tensors (not copies)."""
        return super().state() | {"network": self.network.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            SSHPEError: it is of another kind of teacher, or of another network, or lacks an entry.
        """
        super().load(state)
        _check_entries(state, "network")
        check_shapes(state["network"], self.network.state_dict(), "the checkpoint's partner")
        self.network.load_state_dict(state["network"])


class EMA:
    """Exponential moving average of the trainable parameters alone (mean teacher, Tarvainen & Valpola 2017).

    Its batch norm uses the batch's statistics, as the paper's failing baseline does (Table 2 of Pose-MUM). No
    buffer is averaged; the running statistics are those of the teacher's own forward passes.

    Args:
        student: copied with its full state. Floating tensors narrower than float32 become float32 in the
            copy, because bf16 cannot hold the small steps of a slow average.
        decay: tau, the share that the teacher keeps at every update, in [0, 1].
        warmup: let tau rise as (1 + t) / (10 + t) until it reaches `decay`.
        ramp: let tau rise linearly from 0.5 to `decay` in this many updates, as MUM's own training does.

    Raises:
        SSHPEError: decay is outside [0, 1], ramp is below 0, or it is asked for beside warmup.
    """

    learns = False
    apart = True
    _train_mode = True

    def __init__(
        self, student: nn.Module, decay: float = 0.999, *, warmup: bool = False, ramp: int = 0
    ) -> None:
        if not 0 <= decay <= 1:
            raise SSHPEError(f"decay={decay}; the share that the teacher keeps lies in [0, 1]")
        if ramp < 0:
            raise SSHPEError(f"ramp={ramp}; it is a number of updates, 0 for none")
        if warmup and ramp:
            raise SSHPEError("warmup and ramp are two ways to raise the decay; choose one")
        self.network = copy.deepcopy(student).requires_grad_(False)
        _widen(self.network)
        self.step = 0
        self._decay = decay
        self._warmup = warmup
        self._ramp = ramp
        self._pairs: Pairs | None = None
        # Whole: parts that the student keeps in another mode, as a frozen batch norm, would stay in it.
        self.network.train(self._train_mode)

    def decay_at(self, step: int) -> float:
        """tau at update `step`, counted from 0."""
        if self._warmup:
            return min(self._decay, (1 + step) / (10 + step))
        if step < self._ramp:
            return min(self._decay, 0.5 + (self._decay - 0.5) * step / self._ramp)
        return self._decay

    def predict(self, images: Tensor) -> Tensor:
        """Pseudo heatmaps (B, K, h, w) of images (B, 3, H, W), without gradient.

        Images of floating point numbers get the dtype of the network's parameters; whole numbers stay what they are.
        """
        # An evaluation, or a parent's train(), changes it. To walk through the thousand modules of an HRNet every time
        # would take as long as to give a GPU some hundred kernels.
        if self.network.training != self._train_mode:
            self.network.train(self._train_mode)
        with torch.no_grad():
            return self.network(images.to(self._dtype(images)))

    def _dtype(self, images: Tensor) -> torch.dtype:
        """That in which the network takes the images."""
        parameter = next(self.network.parameters(), images)
        both_floating = images.is_floating_point() and parameter.is_floating_point()
        return parameter.dtype if both_floating else images.dtype

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student; call it after every optimiser step.

        The tensors of both networks are gathered at the first call, and again when either was moved, or
        something in it was replaced, frozen or unfrozen.

        Raises:
            SSHPEError: the student has other tensors than the teacher, or is on another device.
        """
        pairs = self._paired(student)
        weight = 1 - self.decay_at(self.step)
        for group in pairs.averaged:
            group.lerp(weight)
        for group in pairs.deviations:
            group.lerp_root(weight)
        for group in pairs.copied:
            group.copy()
        self.step += 1

    @torch.no_grad()
    def reset(self, student: nn.Module) -> None:
        """Copy the student's whole state, buffers included, and count updates from 0; the end of a burn-in.

        Raises:
            SSHPEError: as `update`.
        """
        theirs, ours = self._matched(student)
        torch._foreach_copy_(list(ours.values()), [theirs[name] for name in ours])
        self.step = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: kind, updates so far, and the network's live tensors (not copies)."""
        return {"teacher": type(self).__name__, "step": self.step, "network": self.network.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            SSHPEError: it is of another kind of teacher, or of another network, or lacks an entry.
        """
        _check_kind(self, state)
        _check_entries(state, "network", "step")
        check_shapes(state["network"], self.network.state_dict(), "the checkpoint's teacher")
        self.network.load_state_dict(state["network"])
        self.step = state["step"]

    def _paired(self, student: nn.Module) -> Pairs:
        if self._pairs is None or not self._pairs.current(student):
            self._pairs = self._gather(student)
        return self._pairs

    def _matched(self, student: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        theirs, ours = tensors(student), tensors(self.network)
        check_shapes(theirs, ours, "the student")
        check_devices(theirs, ours)
        return theirs, ours

    def _gather(self, student: nn.Module) -> Pairs:
        theirs, ours = self._matched(student)
        roles: dict[str, list[tuple[Tensor, Tensor]]] = {"averaged": [], "deviations": [], "copied": []}
        trainable = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
        for name, tensor in theirs.items():
            role = self._role(name, tensor, name in trainable)
            if role is not None:
                roles[role].append((ours[name], tensor))
        marks = (Mark(student), Mark(self.network))
        return Pairs(student, marks, **{role: grouped(pairs) for role, pairs in roles.items()})

    def _role(self, name: str, tensor: Tensor, trainable: bool) -> str | None:
        """What `update` does with a tensor of the student; None: nothing."""
        return "averaged" if trainable else None


class EMAN(EMA):
    """Exponential moving average with normalisation (Cai et al. 2021): every floating parameter *and* buffer.

    Parameters are averaged by Eq. 2 of Pose-MUM, batch norm's running mean and variance by Eq. 3; integer
    buffers are copied. The teacher predicts in evaluation mode.

    Args:
        student: as in `EMA`.
        decay, warmup, ramp: as in `EMA`.
        std: average the running standard deviation, as Eq. 3 is written, instead of the variance, as the
            reference implementation does.

    Raises:
        SSHPEError: as `EMA`.
    """

    _train_mode = False

    def __init__(
        self,
        student: nn.Module,
        decay: float = 0.999,
        *,
        warmup: bool = False,
        ramp: int = 0,
        std: bool = False,
    ) -> None:
        super().__init__(student, decay, warmup=warmup, ramp=ramp)
        self._std = std

    def _role(self, name: str, tensor: Tensor, trainable: bool) -> str | None:
        if not tensor.is_floating_point():
            return "copied"
        if self._std and name.rpartition(".")[2] == "running_var":
            return "deviations"
        return "averaged"


def _widen(network: nn.Module) -> None:
    for tensor in tensors(network).values():
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor.data = tensor.data.float()


def _check_kind(teacher: object, state: dict[str, Any]) -> None:
    kind = type(teacher).__name__
    if state.get("teacher") != kind:
        raise SSHPEError(
            f"the checkpoint's teacher is {state.get('teacher')}, not {kind}; resume with its own"
        )


def _check_entries(state: dict[str, Any], *names: str) -> None:
    missing = [name for name in names if name not in state]
    if missing:
        raise SSHPEError(
            f"the checkpoint's teacher lacks {' and '.join(missing)}; load what the teacher's state() gave"
        )
