"""Threads: what is drawn and shown has the same bits on one as on two, a network's sums are equal but for rounding.

Two threads share a convolution out in another way than one, and add up in another order; which way, their number
decides, so that training again on as many gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sshpe_lib import tables
from sshpe_lib.config import Experiment
from sshpe_lib.experiment import run, state_sha256
from sshpe_lib.machine import Machine
from sshpe_lib.plan.measure import noise_batch, unsaved_trainer
from sshpe_lib.trainer import Trainer
from tests import choices
from tests.devices import Steps

AID = {"protocol": "aid"}
NETWORKS = {
    "resnet": ("pose-mum+", {}),
    "hrnet": ("aid-cutout", {"backbone": "hrnet-w32", **AID}),
    "rsn": ("udpv1", {"backbone": "2xrsn50", **AID}),
    "higherhrnet": ("pose-mum-whole+", choices.WHOLE),
}
SAME_STEP = 1e-4  # of a loss in float32; 1e-5 and less was seen
METHODS = ["rand-single", "cut-occlude-single", "affine-eman", "aid-has", "aid-gridmask", "pose-mum-whole+"]


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def machine(threads: int) -> Machine:
    return Machine(accelerator="cpu", threads=threads, progress=False)


def stepping(made: Experiment, threads: int, folder: Path) -> Trainer:
    trainer = unsaved_trainer(made, machine(threads), Steps(), folder)
    torch.set_num_threads(threads)
    trainer.students[0].train()
    return trainer


def test_training_again_on_two_threads_gives_the_same_bits(tmp_path: Path) -> None:
    made = tables.experiment("smoke", "pose-mum+", set={"train.steps": 2, "evaluate.times": 1})
    one, other = (
        run(made, machine(2), records_folder=tmp_path / again / "records", runs_folder=tmp_path / again)
        for again in ("one", "other")
    )
    assert one.provenance.threads == 2
    assert one.provenance.checkpoint_sha256 == other.provenance.checkpoint_sha256
    assert (one.metrics, one.curve, one.examples) == (other.metrics, other.curve, other.examples)


@pytest.mark.parametrize("name", ["hrnet", "higherhrnet"])
def test_steps_on_two_threads_have_the_same_bits_again(tmp_path: Path, name: str) -> None:
    method, chosen = NETWORKS[name]
    made = tables.experiment("smoke", method, set={"train.burn_in": 0}, **chosen)
    batch, weights = noise_batch(made), []
    for _ in range(2):
        trainer = stepping(made, 2, tmp_path)
        for _ in range(2):
            trainer.take_step(batch)
        weights.append(state_sha256(trainer.network))
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_first_step_loses_the_same_on_two_threads_but_for_rounding(tmp_path: Path, name: str) -> None:
    method, chosen = NETWORKS[name]
    made = tables.experiment("smoke", method, set={"train.burn_in": 0}, **chosen)
    batch, losses = noise_batch(made), []
    for threads in (1, 2):
        trainer = stepping(made, threads, tmp_path)
        losses.append(trainer._forward(trainer._prepared(batch)))
    for one, other in zip(*losses, strict=True):
        if one is not None:
            torch.testing.assert_close(other, one, rtol=SAME_STEP, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_network_is_shown_has_the_same_bits(tmp_path: Path, method: str) -> None:
    made = tables.experiment("smoke", method, set={"train.burn_in": 0}, **choices.of(method))
    batch, shown = noise_batch(made), []
    for threads in (1, 2):
        trainer, seen = stepping(made, threads, tmp_path), []
        trainer.students[0].register_forward_pre_hook(lambda _, images, seen=seen: seen.append(images[0]))
        trainer._forward(trainer._prepared(batch))
        shown.append(seen)
    assert shown[0] and len(shown[0]) == len(shown[1])
    assert all(torch.equal(one, other) for one, other in zip(*shown, strict=True))
