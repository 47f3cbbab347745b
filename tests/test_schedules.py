"""S1, S2 and S3 of AID: how long a run is, and what a second stage goes on from."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from sshpe_lib import checkpoints, experiment, profiles, records, tables
from sshpe_lib.config import Experiment
from sshpe_lib.errors import SSHPEError
from sshpe_lib.experiment import run, train
from sshpe_lib.folder_lock import is_locked
from sshpe_lib.machine import Machine
from sshpe_lib.methods.step import Losses
from sshpe_lib.trainer import Trainer

QUIET = Machine(threads=1, progress=False)


def made(
    schedule: str, method: str = "aid-cutout", profile: str = "smoke", seed: int = 0, **settings
) -> Experiment:
    return tables.experiment(
        profile, method, backbone="hrnet-w32", amount="all", schedule=schedule, protocol="aid", seed=seed,
        set={name.replace("__", "."): value for name, value in settings.items()},
    )  # fmt: skip


def test_the_papers_lengths_and_milestones() -> None:
    once, twice = made("S1", profile="paper").train, made("S2", profile="paper").train
    assert (once.epochs, [round(m * 210) for m in once.milestones]) == (210, [170, 200])
    assert (twice.epochs, [round(m * 420) for m in twice.milestones]) == (420, [380, 410])
    second = made("S3", profile="paper")
    assert second.train == once and second.start.train == once


@pytest.mark.parametrize(
    ("protocol", "backbone", "amount", "size", "epochs", "falls"),
    [
        ("aid", "hrnet-w32", "all", "256x192", 210, [170, 200]),
        ("aid on true boxes", "hrnet-w32", "all", "256x192", 210, [170, 200]),
        ("aid bottom-up", "higherhrnet-w32", "all images", "512x512", 300, [200, 260]),
        ("aid bottom-up on CrowdPose", "higherhrnet-w32", "all images", "512x512", 300, [200, 260]),
    ],
)
def test_without_a_schedule_rates_fall_where_hrnets_do(
    protocol: str, backbone: str, amount: str, size: str, epochs: int, falls: list[int]
) -> None:
    chosen = {"backbone": backbone, "amount": amount, "size": size, "protocol": protocol}
    train = tables.experiment("paper", "udpv1", **chosen).train
    assert (train.epochs, [round(m * epochs) for m in train.milestones]) == (epochs, falls)


def test_a_longer_run_is_measured_as_often_a_step() -> None:
    once, twice = made("S1"), made("S2")
    assert twice.evaluate.times / twice.train.steps == once.evaluate.times / once.train.steps


def test_the_first_stage_is_the_baseline_and_serves_every_method() -> None:
    baseline = made("S1", "udpv1")
    for method in ("aid-cutout", "aid-has", "aid-gridmask", "aid-erasing"):
        assert made("S3", method).start.key() == baseline.key()
    assert made("S3").start == baseline and made("S3").augment.dropping and not baseline.augment.dropping


def test_the_first_stage_has_the_seed_of_the_second() -> None:
    assert made("S3", seed=3).start == made("S1", "udpv1", seed=3)


def test_the_first_stage_is_part_of_the_key() -> None:
    second = made("S3")
    longer = second.start.model_copy(update={"train": second.start.train.model_copy(update={"steps": 7})})
    keys = {second.key(), made("S1").key(), second.model_copy(update={"start": longer}).key()}
    assert len(keys) == 3


def test_a_second_stage_draws_other_numbers() -> None:
    second = made("S3")
    assert second.train.seed == second.start.train.seed and second.stream_seed != second.start.stream_seed


def test_a_second_stage_is_drawn_and_ordered_by_its_own_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = made("S3", train__steps=1, evaluate__times=1)
    seeds, fit = {}, Trainer.fit

    def noted(self: Trainer) -> list:
        seeds[self.key] = self.seed, self.batches.seed
        return fit(self)

    monkeypatch.setattr(Trainer, "fit", noted)
    train(second, QUIET, tmp_path / second.key())
    assert seeds == {one.key(): (one.stream_seed,) * 2 for one in (second.start, second)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"data": {"input_size": (64, 96)}}, "other data"), ({"model": {"width": 16}}, "not this model")],
)
def test_both_stages_have_one_network_and_the_same_data(change: dict, fault: str) -> None:
    values = made("S3").model_dump()
    with pytest.raises(ValueError, match=fault):
        Experiment.model_validate(profiles.merge(values, change))


def test_an_unknown_schedule_lists_the_known_ones() -> None:
    with pytest.raises(SSHPEError, match="no schedule 'S4'; choose one of: S1, S2, S3"):
        made("S4")


def test_s3_trains_both_stages_and_hands_the_weights_over(tmp_path: Path) -> None:
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    second = run(made("S3"), QUIET, **folders)
    first = records.find(tmp_path / "records", made("S1", "udpv1").key())
    told = second.provenance.data
    assert told["start"] == first.key and told["start_steps"] == first.curve[-1].step
    assert told["start_sha256"] == first.provenance.checkpoint_sha256 != second.provenance.checkpoint_sha256
    assert {"AP-vis", "AP-invis"} <= first.metrics["student"].keys()
    assert len(first.hard_cases) == len(second.hard_cases) > 0


def test_both_networks_of_a_pair_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tables.experiment("smoke", "jc-dual", schedule="S3")
    assert second.start.teacher.kind == "dual"
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    began, fit = {}, Trainer.fit

    def noted(self: Trainer) -> list:
        began[self.key] = [copy.deepcopy(network.state_dict()) for network in self.networks]
        return fit(self)

    monkeypatch.setattr(Trainer, "fit", noted)
    run(second, QUIET, **folders)
    ended = checkpoints.read(checkpoints.of(tmp_path / "runs" / second.start.key()), second.start.key())
    for network, state in zip(
        began[second.key()], (ended["student"], ended["teacher"]["network"]), strict=True
    ):
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.items())


def test_a_first_stage_without_its_checkpoint_is_trained_again(tmp_path: Path) -> None:
    folders = {"records_folder": tmp_path / "records", "runs_folder": tmp_path / "runs"}
    first = run(made("S1", "udpv1"), QUIET, **folders)
    checkpoints.of(tmp_path / "runs" / first.key).unlink()
    second = run(made("S3"), QUIET, **folders)
    assert second.provenance.data["start_sha256"] == first.provenance.checkpoint_sha256


def test_a_second_stage_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(made("S3"), QUIET, tmp_path / "whole" / "run")
    update = Trainer._update

    def stopped(self: Trainer, losses: Losses) -> Losses:
        if self.step == 3 and self.key == made("S3").key():
            raise KeyboardInterrupt  # the checkpoint is that of the evaluation after two steps
        return update(self, losses)

    monkeypatch.setattr(Trainer, "_update", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(made("S3"), QUIET, tmp_path / "halves" / "run")
    monkeypatch.setattr(Trainer, "_update", update)
    halves = train(made("S3"), QUIET, tmp_path / "halves" / "run")
    assert halves.provenance.checkpoint_sha256 == whole.provenance.checkpoint_sha256
    assert torch.load(checkpoints.of(tmp_path / "halves" / "run"), weights_only=True)["step"] == 6


def test_a_first_stage_is_trained_by_one_second_stage_at_a_time(tmp_path, monkeypatch):
    second, locks, train = made("S3", train__steps=1, evaluate__times=1), {}, experiment.train

    def noted(one, machine, folder):
        locks[one.key()] = is_locked(folder)
        return train(one, machine, folder)

    monkeypatch.setattr(experiment, "train", noted)
    experiment.train(second, QUIET, tmp_path / second.key())
    assert locks == {second.key(): False, second.start.key(): True}
