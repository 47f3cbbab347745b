"""What top-down and bottom-up evaluations share: networks are lent to a device and come back."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from sshpe_lib.evaluate.evaluation import answering


class Elsewhere(nn.Module):
    """A network on a device of its own (`meta`), from which it can be moved."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))

    def to(self, device: torch.device | str) -> Elsewhere:
        self.weight = nn.Parameter(torch.zeros(1, device=device))
        return self


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("error", [None, KeyError])
def test_networks_are_left_where_and_as_they_were_found(training: bool, error: type | None) -> None:
    away, here = Elsewhere().train(training), nn.Linear(1, 1).train(not training)
    with contextlib.suppress(KeyError), answering({"away": away, "here": here}, "cpu"):
        assert away.weight.device.type == here.weight.device.type == "cpu"
        assert not away.training and not here.training
        if error is not None:
            raise error
    assert away.weight.is_meta and away.training == training
    assert here.weight.device.type == "cpu" and here.training != training


def test_a_network_without_weights_is_nowhere() -> None:
    plain = nn.ReLU()
    with answering({"plain": plain}, "meta"):
        assert not plain.training
    assert plain.training
