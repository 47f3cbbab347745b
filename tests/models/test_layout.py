"""Networks learn right whatever order their numbers lie in."""

import subprocess
import sys

import pytest
import torch

from sshpe_lib.models import hrnet, resnet
from sshpe_lib.models.layout import layout_of

PLANES, LAST = torch.contiguous_format, torch.channels_last


@pytest.mark.parametrize(
    ("found", "width", "layout"),
    [
        ({"avx2": True}, 6, PLANES), ({"avx2": True}, 8, LAST),
        ({"avx2": True, "avx512_f": True}, 8, PLANES), ({"avx2": True, "avx512_f": True}, 16, LAST),
        ({"avx2": False}, 4, LAST), ({}, 4, LAST),
    ],
)  # fmt: skip
def test_a_cpu_learns_in_planes_where_shortcuts_are_too_narrow_for_its_blocks(
    monkeypatch, found, width, layout
):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: found)
    network = resnet.build(18, 17, width=width, deconv_channels=16, output_stride=16, seed=0)
    assert layout_of(network, True, "cpu") == layout
    assert layout_of(network, False, "cpu") == PLANES and layout_of(network, True, "meta") == LAST


def test_a_network_without_such_shortcuts_is_as_it_is_wanted(monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True})
    assert layout_of(hrnet.HRNet(8, modules=(1, 1, 1), blocks=1), True, torch.device("cpu")) == LAST


TRAINED = """
import sys, tempfile
from pathlib import Path
import torch
from sshpe_lib import experiment, tables
from sshpe_lib.machine import Machine

folder = Path(tempfile.mkdtemp())
for wanted in (True, False):
    made = tables.experiment("smoke", "supervised", set={
        "model.width": 6, "train.steps": 2, "train.epochs": None, "train.channels_last": wanted})
    trained = experiment.train(made, Machine(threads=2, progress=False), folder / str(wanted))
    print(trained.provenance.checkpoint_sha256)
"""


def test_a_narrow_network_learns_the_same_in_either_order():
    """In a process of its own, as what is wrong may end it."""
    command = [sys.executable, "-c", TRAINED]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    one, other = ran.stdout.split()
    assert one == other
