"""Losses on heatmaps: equal to the references, and what they leave out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sshpe_lib import losses
from sshpe_lib.errors import SSHPEError
from sshpe_lib.losses import associative_embedding, averaged, heatmap_mse, masked_mse, offset_mse

GOLDEN = Path(__file__).parent / "goldens" / "data_losses.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file}


def test_heatmap_mse_equals_the_reference(golden) -> None:
    predicted, target, weight = golden["td_pred"], golden["td_target"], golden["td_weight"][..., 0]
    torch.testing.assert_close(heatmap_mse(predicted, target, weight), golden["joints_mse"])
    torch.testing.assert_close(heatmap_mse(predicted, target), golden["joints_mse_nw"])


def test_the_hardest_keypoints_equal_the_reference(golden) -> None:
    predicted, target, weight = golden["td_pred"], golden["td_target"], golden["td_weight"][..., 0]
    torch.testing.assert_close(heatmap_mse(predicted, target, weight, top=8), golden["joints_ohkm8"])


def test_offset_mse_equals_the_reference(golden) -> None:
    found = offset_mse(golden["off_pred"], golden["off_target"], golden["td_weight"][..., 0])
    torch.testing.assert_close(found, golden["udp_offset_loss_hm"] + golden["udp_offset_loss_os"])


def test_heatmaps_of_half_precision_are_compared_in_their_targets() -> None:
    predicted, target = torch.rand(2, 1, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    found = heatmap_mse(predicted.bfloat16(), target)
    assert found.dtype == torch.float32
    assert torch.equal(found, heatmap_mse(predicted.bfloat16().float(), target))


def test_losses_of_several_students_are_averaged() -> None:
    terms = [torch.tensor(value) for value in (1.0, 2.0, 6.0)]
    assert averaged(terms) == 3
    assert averaged(terms[:1]) is terms[0]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("loss", "channels"), [(heatmap_mse, 5), (offset_mse, 15)])
def test_a_gpu_learns_the_same_with_less_to_do(loss, channels, layout, weighted, monkeypatch) -> None:
    """Loss and gradients of the form that a GPU gets, here on a CPU and in float64."""
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(2, 2, channels, 6, 4, dtype=torch.float64, generator=generator)
    target = target.contiguous(memory_format=layout)
    weight = torch.rand(2, 5, dtype=torch.float64, generator=generator) if weighted else None
    found, asked = [], []
    for here in (False, True):
        monkeypatch.setattr(losses, "_learned", lambda *_, here=here: asked.append(here) or here)
        maps = predicted.contiguous(memory_format=layout).requires_grad_()
        value = loss(maps, target, weight)
        (gradient,) = torch.autograd.grad(3 * value, maps)
        assert gradient.is_contiguous(memory_format=layout) or not here  # no copy before it goes back
        found.append((value, gradient))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=0)
    assert asked == [False, True]


def test_a_gpu_learns_in_float32_what_a_network_answers_in_bfloat16(monkeypatch) -> None:
    monkeypatch.setattr(losses, "_learned", lambda *_: True)
    predicted = torch.rand(2, 5, 6, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    target = torch.rand(2, 5, 6, 4, generator=torch.Generator().manual_seed(1))
    value = heatmap_mse(predicted, target, torch.ones(2, 5))
    value.backward()
    assert value.dtype == torch.float32 and predicted.grad.dtype == torch.bfloat16
    error = predicted.detach().float() - target
    torch.testing.assert_close(value, 0.5 * error.square().mean())
    assert torch.equal(predicted.grad, (error * torch.tensor(0.5 * 2 / error.numel())).bfloat16())


@pytest.mark.parametrize(("loss", "channels"), [(heatmap_mse, 5), (offset_mse, 15)])
def test_top_of_all_is_the_mean_and_fewer_are_more(loss, channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.rand(2, 4, channels, 8, 6, generator=generator)
    every = loss(predicted, target)
    torch.testing.assert_close(loss(predicted, target, None, 5), every)
    values = [loss(predicted, target, None, top).item() for top in (5, 4, 3, 2, 1)]
    assert values == sorted(values) and values[0] < values[-1]


@pytest.mark.parametrize("top", [0, 6])
def test_an_impossible_number_of_hard_keypoints_is_refused(top: int) -> None:
    with pytest.raises(SSHPEError, match=r"no . hardest of 5 keypoints; .*train\.hard_keypoints"):
        heatmap_mse(torch.zeros(1, 5, 2, 2), torch.zeros(1, 5, 2, 2), None, top)


MAPS = torch.zeros(2, 6, 8, 4)


@pytest.mark.parametrize(
    "loss", [heatmap_mse, offset_mse, lambda p, t: masked_mse(p, t, torch.ones(2, 8, 4))]
)
@pytest.mark.parametrize("shape", [(2, 1, 8, 4), (1, 6, 8, 4), (6, 8, 4), (2, 6, 4, 8)])
def test_a_target_of_another_shape_is_refused(loss, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        SSHPEError, match=rf"\(2, 6, 8, 4\) and their target {re.escape(str(shape))}; give two"
    ):
        loss(MAPS, torch.zeros(shape))


@pytest.mark.parametrize(("loss", "keypoints"), [(heatmap_mse, 6), (offset_mse, 2)])
def test_a_weight_of_another_shape_is_refused(loss, keypoints: int) -> None:
    for shape in ((2, keypoints, 1), (1, keypoints), (2, 1), (2, 3 * keypoints)):
        told = re.escape(
            f"weight has shape {shape}, and heatmaps of (2, 6, 8, 4) take (B, K), (2, {keypoints})"
        )
        with pytest.raises(SSHPEError, match=told):
            loss(MAPS, MAPS, torch.ones(shape))


@pytest.mark.parametrize("loss", [heatmap_mse, offset_mse])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_heatmaps_of_nobody_have_no_mean(loss, device: str) -> None:
    nobody = torch.zeros(0, 6, 8, 4, device=device, requires_grad=True)
    with pytest.raises(SSHPEError, match=r"shape \(0, 6, 8, 4\), and there is no mean of nothing"):
        loss(nobody, nobody.detach())


def test_offsets_come_in_threes() -> None:
    with pytest.raises(SSHPEError, match=r"give two of one shape, \(B, 3 K, H, W\)"):
        offset_mse(MAPS[:, :5], MAPS[:, :5])


@pytest.mark.parametrize("shape", [(2, 1, 8, 4), (2, 6, 8, 4), (1, 8, 4), (8, 4), (2, 4, 8)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SSHPEError, match=rf"mask has shape {re.escape(str(shape))}, .* take \(B, H, W\)"):
        masked_mse(MAPS, MAPS, torch.ones(shape))


def test_offsets_outside_the_discs_do_not_count() -> None:
    target = torch.zeros(1, 3, 4, 4)
    target[0, 0, 1, 1] = 1
    predicted = target.clone()
    predicted[0, 1:] = 7  # wild offsets everywhere, but for the disc
    predicted[0, 1:, 1, 1] = 0
    assert offset_mse(predicted, target).item() == 0
    predicted[0, 1, 1, 1] = 1
    assert offset_mse(predicted, target).item() == pytest.approx(0.5 / 16)


def test_masked_mse_equals_the_reference_and_leaves_the_masked_out(golden) -> None:
    predicted, target, mask = golden["hl_pred"], golden["hl_gt"], golden["hl_mask"]
    torch.testing.assert_close(masked_mse(predicted, target, mask), golden["heatmap_loss"])
    wild = predicted.where(mask[:, None] > 0, 1e6)
    torch.testing.assert_close(masked_mse(wild, target, mask), golden["heatmap_loss"])


def embedding(golden, name: str = "joints_batch") -> tuple[torch.Tensor, torch.Tensor]:
    """The golden's tags, and its list of joints as an index."""
    tags = np.random.default_rng(62).standard_normal((2, 17 * 64 * 64, 1)).astype(np.float32)[..., 0]
    joints = golden[name].long()
    return torch.from_numpy(tags).requires_grad_(), joints[..., 0].where(joints[..., 1] > 0, -1)


@pytest.mark.parametrize("form", ["exp", "max"])
def test_associative_embedding_equals_the_reference_and_its_gradient(golden, form: str) -> None:
    tags, index = embedding(golden)
    push, pull = associative_embedding(tags, index, form)
    torch.testing.assert_close(push, golden[f"ae_{form}_push"])
    torch.testing.assert_close(pull, golden[f"ae_{form}_pull"])
    (gradient,) = torch.autograd.grad(0.7 * push.sum() + 0.3 * pull.sum(), tags)
    places, values = golden[f"ae_{form}_grad_idx"], golden[f"ae_{form}_grad_val"]
    torch.testing.assert_close(gradient.flatten()[places], values, rtol=1e-5, atol=1e-8)
    assert gradient.count_nonzero() == values.count_nonzero()


def test_one_person_is_not_pushed_and_nobody_costs_nothing(golden) -> None:
    tags, index = embedding(golden)
    alone = index.clone()
    alone[:, 1:] = -1
    push, pull = associative_embedding(tags, alone)
    assert push.tolist() == golden["ae_oneperson_push"].tolist() == [0, 0]
    assert pull[0] > 0
    push, pull = associative_embedding(tags, torch.full_like(index, -1))
    assert push.tolist() == pull.tolist() == golden["ae_empty_push"].tolist() == [0, 0]
    (gradient,) = torch.autograd.grad((push + pull).sum(), tags)
    assert not gradient.any()


def test_equal_tags_are_pulled_by_nothing_and_pushed_most() -> None:
    index = torch.tensor([[[0, 1], [2, 3], [-1, -1]]])
    for form in ("exp", "max"):
        near, _ = associative_embedding(torch.zeros(1, 4), index, form)
        far, pull = associative_embedding(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), index, form)
        assert near.item() == pytest.approx(0.5) and far.item() < 1e-9 and pull.item() == 0


def test_people_who_are_far_apart_are_not_pushed() -> None:
    """With "max", a distance above 1 counts for nothing, and never for less."""
    index = torch.tensor([[[0], [1], [2]]])
    push, _ = associative_embedding(torch.tensor([[0.0, 9.0, 18.0]]), index, "max")
    assert push.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["exp", "max"])
def test_tags_of_half_precision_are_summed_up_in_float32(dtype: torch.dtype, form: str) -> None:
    """Squares of some hundreds are beyond float16, and sums of joints beyond what bfloat16 tells apart."""
    generator = torch.Generator().manual_seed(0)
    tags = (300 * torch.randn(2, 20, generator=generator)).to(dtype)
    index = torch.randint(0, 20, (2, 3, 4), generator=generator)
    found = associative_embedding(tags, index, form)
    for one, other in zip(found, associative_embedding(tags.float(), index, form), strict=True):
        assert torch.equal(one, other) and one.isfinite().all()


def test_an_unknown_push_is_refused() -> None:
    with pytest.raises(SSHPEError, match="embedding's push is 'Exp'; choose 'exp' or 'max'"):
        associative_embedding(torch.zeros(1, 4), torch.zeros(1, 1, 1, dtype=torch.long), "Exp")


@pytest.mark.parametrize(("tags", "index"), [((5, 8), (2, 3, 4)), ((2, 4, 2), (2, 3, 4)), ((2, 8), (2, 12))])
def test_tags_of_other_images_are_refused(tags: tuple[int, ...], index: tuple[int, ...]) -> None:
    with pytest.raises(SSHPEError, match=r"tags have shape .* and their index .*; give \(B, N\)"):
        associative_embedding(torch.zeros(tags), torch.zeros(index, dtype=torch.long))


def test_a_tag_is_read_at_the_first_pixel_too() -> None:
    """Tags of 0 and of 2 at two pixels vary by 1."""
    _, pull = associative_embedding(torch.tensor([[0.0, 2.0]]), torch.tensor([[[0, 1]]]))
    assert pull.item() == 1
