"""One training step is the method section: every term checked against its definition."""

import pytest
import torch
from torch import nn

from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.errors import SSHPEError
from sshpe_lib.losses import heatmap_mse
from sshpe_lib.methods import semi_supervised, supervised
from sshpe_lib.methods.step import Labeled
from sshpe_lib.models import resnet
from sshpe_lib.supervision import Supervision
from sshpe_lib.teacher import EMA, EMAN, Dual, Single

TEACHING = Supervision(MSRAHeatmap((48, 64), (12, 16), 1.0))
STRONG = Strong([HardAffine(), PoseMUM(sites=("layer1", "layer2", "layer3"), probability=1.0)])


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> nn.Module:
    return resnet.build(18, 17, width=8, deconv_channels=16, output_stride=16, seed=seed)


@pytest.fixture
def labeled():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(8, 3, 64, 48, generator=generator)
    target = torch.rand(8, 17, 16, 12, generator=generator)
    weight = (torch.rand(8, 17, generator=generator) > 0.3).float()
    return Labeled(image, (target,), weight)


@pytest.fixture
def unlabeled():
    return torch.randn(8, 3, 64, 48, generator=torch.Generator().manual_seed(2))


def test_heatmap_mse_is_the_references():
    """Per joint 0.5 MSE(w p, w t) over batch and pixels, averaged over joints."""
    p, t, w = torch.rand(3, 5, 4, 6), torch.rand(3, 5, 4, 6), torch.tensor([[1.0, 0, 1, 1, 0]] * 3)
    joints = [
        0.5 * nn.functional.mse_loss(p[:, j] * w[:, j, None, None], t[:, j] * w[:, j, None, None])
        for j in range(5)
    ]
    assert torch.allclose(heatmap_mse(p, t, w), torch.stack(joints).mean())
    assert torch.allclose(heatmap_mse(p, t), 0.5 * (p - t).square().mean())


def test_the_supervised_step(labeled):
    student = network()
    losses = supervised.train_step([student], labeled, TEACHING)
    assert torch.equal(
        losses.total, heatmap_mse(network().train()(labeled.image), labeled.target[0], labeled.weight)
    )
    assert losses.consistency is None


@pytest.mark.parametrize(
    "make", [Single, lambda s: EMA(s, 0.6), lambda s: EMAN(s, 0.6)], ids=["single", "ema", "eman"]
)
def test_the_total_is_eq_1(labeled, unlabeled, make):
    student = network()
    losses = semi_supervised.train_step(
        [(student, make(student))], labeled, TEACHING, unlabeled, STRONG, 0.7, draw()
    )
    assert torch.allclose(losses.total, losses.supervised + 0.7 * losses.consistency)
    assert losses.consistency > 0


def test_the_consistency_compares_the_unmixed_view_with_the_moved_pseudo_heatmaps(labeled, unlabeled):
    student, reference = network(), network()
    losses = semi_supervised.train_step(
        [(student, EMAN(student, 0.6))], labeled, TEACHING, unlabeled, STRONG, 1.0, draw(5)
    )
    pseudo = network().eval()(unlabeled).detach()
    view, target = HardAffine()(View(unlabeled), pseudo, shared := draw(5))
    mixed, _ = PoseMUM(sites=("layer1", "layer2", "layer3"), probability=1.0)(view, target, shared)
    reference(labeled.image)
    predicted = reference(mixed.image, after_stage=mixed.after_stage)
    assert torch.equal(losses.consistency, heatmap_mse(predicted, target))


class Half(Single):
    """A teacher whose network answers in half precision."""

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        return super().predict(images).bfloat16()


def test_pseudo_heatmaps_of_half_precision_are_moved_in_float32(labeled, unlabeled):
    student, seen = network(), []

    def strong(image, heatmaps, draw):
        seen.append(heatmaps.dtype)
        return View(image), heatmaps

    pairs = [(student, Half(student))]
    semi_supervised.train_step(pairs, labeled, TEACHING, unlabeled, strong, 1.0, draw())
    assert seen == [torch.float32]


class Plain(nn.Module):
    """A network of one's own, which knows of no stages."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 17, 4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


@pytest.mark.parametrize("joint", [False, True])
def test_a_network_without_stages_learns_from_views_that_are_not_mixed(labeled, unlabeled, joint):
    student = Plain()
    pairs, strong = [(student, EMAN(student, 0.6))], Strong([HardAffine()])
    losses = semi_supervised.train_step(pairs, labeled, TEACHING, unlabeled, strong, 1.0, draw(), joint=joint)
    losses.total.backward()
    assert losses.consistency > 0 and student.layer.weight.grad.any()


def test_no_gradient_reaches_the_teacher(labeled, unlabeled):
    student = network()
    teacher = EMAN(student, 0.6)
    semi_supervised.train_step(
        [(student, teacher)], labeled, TEACHING, unlabeled, STRONG, 1.0, draw()
    ).total.backward()
    assert all(parameter.grad is None for parameter in teacher.network.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_a_single_teacher_gives_no_gradient_through_the_pseudo_heatmaps(unlabeled):
    """With no strong augmentation and the student as teacher, the consistency term is flat."""
    student = network()
    empty = Labeled(unlabeled, (torch.zeros(8, 17, 16, 12),), torch.zeros(8, 17))
    losses = semi_supervised.train_step(
        [(student, Single(student))], empty, TEACHING, unlabeled, Strong([]), 1.0, draw()
    )
    losses.total.backward()
    assert losses.consistency == 0
    assert all((p.grad is None) or (p.grad == 0).all() for p in student.parameters())


def test_every_forward_moves_the_running_statistics(labeled, unlabeled):
    """Labelled, easy and strong views are three forwards with batch statistics of their own (Single)."""
    student = network()
    semi_supervised.train_step(
        [(student, Single(student))], labeled, TEACHING, unlabeled, STRONG, 1.0, draw()
    )
    assert student.bn1.num_batches_tracked == 3
    student = network()
    semi_supervised.train_step(
        [(student, EMAN(student, 0.6))], labeled, TEACHING, unlabeled, STRONG, 1.0, draw()
    )
    assert student.bn1.num_batches_tracked == 2


@pytest.mark.parametrize(
    ("make", "apart"), [(Single, False), (lambda _: Dual(network(1)), False), (EMA, True), (EMAN, True)]
)
def test_only_a_teacher_that_shares_nothing_predicts_beside_the_student(
    labeled, unlabeled, monkeypatch, make, apart
):
    """The passes of others move statistics that the student's labelled pass moves, too."""
    student, asked = network(), []
    monkeypatch.setattr(semi_supervised, "beside", lambda run, device: asked.append(device) or run)
    pairs = [(student, make(student))]
    semi_supervised.train_step(pairs, labeled, TEACHING, unlabeled, STRONG, 1.0, draw())
    assert asked == [unlabeled.device] * apart


def test_dual_is_each_network_taught_by_the_other(labeled, unlabeled):
    """0.5 (sup 1 + sup 2) + cons 1 + cons 2, every pseudo heatmap from the other network."""
    one, two = network(0), network(1)
    pairs = [(one, Dual(two)), (two, Single(one))]
    losses = semi_supervised.train_step(pairs, labeled, TEACHING, unlabeled, Strong([]), 0.7, draw())
    supervised, consistency = [], []
    for student, other in ((network(0), network(1)), (network(1), network(0))):
        supervised.append(heatmap_mse(student.train()(labeled.image), labeled.target[0], labeled.weight))
        pseudo = other.train()(unlabeled).detach()
        consistency.append(heatmap_mse(student(unlabeled), pseudo))
    assert torch.allclose(losses.supervised, sum(supervised) / 2)
    assert torch.allclose(losses.consistency, sum(consistency))
    assert torch.allclose(losses.total, losses.supervised + 0.7 * losses.consistency)


def test_dual_sends_each_gradient_to_its_own_network(labeled, unlabeled):
    """With no loss of its own, a network learns nothing from the pseudo heatmaps that it gives."""
    one, two = network(0), network(1)
    semi_supervised.train_step(
        [(one, Dual(two))], labeled, TEACHING, unlabeled, STRONG, 1.0, draw()
    ).total.backward()
    assert all(parameter.grad is not None for parameter in one.parameters())
    assert all(parameter.grad is None for parameter in two.parameters())


def test_dual_averages_the_supervised_loss_of_a_burn_in(labeled):
    losses = supervised.train_step([network(0), network(1)], labeled, TEACHING)
    alone = [supervised.train_step([network(seed)], labeled, TEACHING).total for seed in (0, 1)]
    assert torch.allclose(losses.total, sum(alone) / 2)


class Branches(nn.Module):
    """Two resolutions side by side after every stage, as in HRNet."""

    def forward(self, images, after_stage=None):
        branches = [images, nn.functional.avg_pool2d(images, 2)]
        if after_stage:
            branches = after_stage("layer4", after_stage("layer1", branches))
        return branches[0] + nn.functional.interpolate(branches[1], scale_factor=2)


@pytest.mark.parametrize("net", [network().eval(), Branches()], ids=["one map", "branches"])
def test_one_joint_forward_equals_two_without_batch_statistics(labeled, unlabeled, net):
    """In evaluation mode nothing passes between the samples of a batch, so the labelled images are not mixed."""
    if isinstance(net, Branches):
        labeled = labeled._replace(target=(torch.rand_like(labeled.image),), weight=torch.ones(8, 3))
    mix = Strong([PoseMUM(sites=("layer1",), probability=1.0)])
    teacher = Single(net, train_mode=False)
    separate, joint = (
        semi_supervised.train_step(
            [(net, teacher)], labeled, TEACHING, unlabeled, mix, 1.0, draw(), joint=together
        )
        for together in (False, True)
    )
    torch.testing.assert_close(joint.supervised, separate.supervised)
    torch.testing.assert_close(joint.consistency, separate.consistency)


@pytest.mark.parametrize("joint", [False, True])
def test_a_step_whose_mix_is_never_undone_is_refused(labeled, unlabeled, joint):
    student, mix = network(), Strong([PoseMUM(unmix="layerr4")])
    with pytest.raises(SSHPEError, match="unmixes after layerr4, and the network came to stem, .*decoder"):
        semi_supervised.train_step(
            [(student, EMAN(student, 0.6))], labeled, TEACHING, unlabeled, mix, 1.0, draw(), joint=joint
        )


def test_a_joint_forward_shares_the_statistics(labeled, unlabeled):
    """One forward instead of two, and other losses: the statistics are those of both kinds of image."""
    alone, together = network(), network()
    losses = [
        semi_supervised.train_step(
            [(student, EMAN(student, 0.6))], labeled, TEACHING, unlabeled, STRONG, 1.0, draw(), joint=joint
        )
        for student, joint in ((alone, False), (together, True))
    ]
    assert together.bn1.num_batches_tracked == 1
    assert losses[0].supervised != losses[1].supervised
