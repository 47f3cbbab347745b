"""A step of every method gives a device its work and reads nothing there, shown on tensors without memory (`meta`).

What a step makes of a batch first depends on nothing that steps make, so that a GPU may make it during earlier ones.
"""

import pytest

from sshpe_lib import profiles, tables, trainer
from sshpe_lib.augment.draw import Draw
from sshpe_lib.machine import Machine
from sshpe_lib.plan.measure import noise_batch, unsaved_trainer
from tests import choices
from tests.devices import Made, OneDevice, Steps, Without

CPU = Machine(accelerator="cpu", progress=False)


AID = {"amount": "all", "protocol": "aid on true boxes"}
STEPS = [
    *((method, choices.of(method)) for method in sorted(profiles.load_methods())),
    ("aid-cutout", {"backbone": "hrnet-w32", **AID}),
    ("aid-cutout", {"backbone": "2xrsn50", "set": {"train.hard_keypoints": 8}, **AID}),
    ("pose-mum+", {"set": {"data.codec": "udp-gaussian"}}),
    ("affine-eman", {"set": {"teacher.std": True}}),
    ("aid-has-whole", {**choices.WHOLE, "backbone": "hrnet-w32 bottom-up"}),
]


@pytest.mark.parametrize(("method", "chosen"), STEPS)
def test_a_step_reads_nothing_on_its_device(tmp_path, method, chosen, monkeypatch):
    made = tables.experiment("smoke", method, **chosen)
    one = unsaved_trainer(made, CPU, Steps(), tmp_path)
    for network in one.all_networks:
        network.to("meta")
    for student in one.students:
        student.train()
    monkeypatch.setattr(
        trainer, "Draw", lambda generator, rank, world, device: Draw(generator, device="meta")
    )
    batch = noise_batch(made).to("meta")
    numbers = [parcel.to("meta").open() for parcel in one._drawn(batch)]
    with OneDevice():
        prepared = one.preparation(batch, *numbers)
        with Made(
            [[*network.parameters(), *network.buffers()] for network in one.all_networks]
        ) as made_by_step:
            losses = one._forward(prepared)
            losses.total.backward()
            if one.teacher is not None:
                one.teacher.update(one.network)
        with Without(made_by_step.tensors):
            one.preparation(batch, *numbers)
    assert losses.total.is_meta and next(one.network.parameters()).grad.is_meta
