"""What every operation takes: settings that a configuration takes, images of any floating dtype and of any number."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from sshpe_lib import config
from sshpe_lib.augment.affine import HardAffine
from sshpe_lib.augment.mum import PoseMUM
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError
from sshpe_lib.parts import OPERATIONS
from tests.augment.helpers import draw

KEEPS = {"mum", "cut_occlude"}  # which move pixels, whatever these are
REFUSED = [
    ("joint_cutout", {"joints": 0}, "joint cutout's joints is 0; give a whole number, 1 or more"),
    ("joint_cutout", {"jitter": math.nan}, "joint cutout's jitter is nan; give 0 or more"),
    ("joint_cutout", {"jitter": -1.0}, "joint cutout's jitter is -1.0"),
    ("joint_cutout", {"half_size": (19, 10)}, r"half_size is \(19, 10\); give 1 or more, ascending"),
    ("joint_cutout", {"half_size": (0, 10)}, r"half_size is \(0, 10\)"),
    ("cut_occlude", {"joints": 0}, "cut-occlude's joints is 0"),
    ("cut_occlude", {"jitter": math.nan}, "cut-occlude's jitter is nan"),
    ("cut_occlude", {"half_size": (19, 10)}, "cut-occlude's half_size"),
    ("cutout", {"holes": 0}, "cutout's holes is 0"),
    ("cutout", {"holes": 1.5}, r"cutout's holes is 1\.5; give a whole number"),
    ("cutout", {"half_size": (19, 10)}, "cutout's half_size"),
    ("rand_augment", {"number": 0}, "RandAugment's number is 0; give a whole number, 1 or more"),
    ("rand_augment", {"magnitude": 60}, "RandAugment's magnitude is 60; give 0 to 30"),
    ("rand_augment", {"magnitude": -5}, "RandAugment's magnitude is -5"),
]


@pytest.mark.parametrize(("kind", "setting", "told"), REFUSED)
def test_an_operation_refuses_what_the_configuration_refuses(kind, setting, told):
    with pytest.raises(SSHPEError, match=told):
        OPERATIONS[kind](**setting)
    with pytest.raises(ValidationError):
        TypeAdapter(config.Operation).validate_python({"kind": kind, **setting})


@pytest.mark.parametrize("kind", sorted(OPERATIONS.keys() - KEEPS))
def test_images_that_are_not_normalised_are_refused(kind):
    """Bytes have another black and another mean; they would come out of the arithmetic as something else."""
    pixels = torch.full((4, 3, 64, 48), 128, dtype=torch.uint8)
    with pytest.raises(
        SSHPEError, match=r"torch.uint8 of shape \(4, 3, 64, 48\); give floating .*pixels\.normalize"
    ):
        OPERATIONS[kind]()(View(pixels), torch.rand(4, 17, 16, 12), draw())


@pytest.mark.parametrize("kind", sorted(OPERATIONS.keys() - KEEPS))
def test_one_image_that_is_no_batch_is_refused(kind):
    with pytest.raises(SSHPEError, match=r"of shape \(3, 64, 48\); give floating point numbers \(B, "):
        OPERATIONS[kind]()(View(torch.rand(3, 64, 48)), torch.rand(4, 17, 16, 12), draw())


@pytest.mark.parametrize("kind", ["rand_augment", "information_cutout"])
def test_what_has_three_colours_takes_no_grey_images(kind):
    with pytest.raises(SSHPEError, match=r"\(4, 1, 64, 48\); give floating point numbers \(B, 3, H, W\)"):
        OPERATIONS[kind]()(View(torch.rand(4, 1, 64, 48)), torch.rand(4, 17, 16, 12), draw())


@pytest.mark.parametrize("legacy", [False, True])
def test_an_affine_moves_images_that_have_no_heatmaps(legacy):
    view, heatmaps = HardAffine(legacy=legacy)(
        View(torch.rand(4, 3, 64, 48)), torch.ones(4, 0, 16, 12), draw()
    )
    assert view.image.shape == (4, 3, 64, 48) and heatmaps.shape == (4, 0, 16, 12)


@pytest.mark.parametrize("legacy", [False, True])
def test_an_affine_takes_no_heatmaps_of_whole_numbers(legacy):
    with pytest.raises(SSHPEError, match=r"an affine's heatmaps are torch\.int64 of shape"):
        HardAffine(legacy=legacy)(
            View(torch.rand(4, 3, 64, 48)), torch.ones(4, 17, 16, 12, dtype=torch.long), draw()
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", sorted(OPERATIONS))
def test_images_keep_their_dtype(kind, dtype):
    pixels = torch.randint(0, 256, (4, 3, 64, 48), generator=torch.Generator().manual_seed(0))
    image = normalize(pixels).to(dtype)
    view, _ = OPERATIONS[kind]()(View(image), torch.rand(4, 17, 16, 12), draw())
    assert view.image.dtype == dtype and view.image.shape == image.shape


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "operation",
    [*(make() for make in OPERATIONS.values()), HardAffine(legacy=True), PoseMUM(sites=("layer1",))],
    ids=repr,
)
def test_a_batch_may_be_empty(operation, layout):
    image = torch.rand(0, 3, 64, 48).contiguous(memory_format=layout)
    view, heatmaps = operation(View(image), torch.rand(0, 17, 16, 12), draw())
    assert view.image.shape == image.shape and heatmaps.shape == (0, 17, 16, 12)


@pytest.mark.parametrize("kind", ["affine", "cut_occlude", "joint_cutout"])
@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((17, 16, 12), r"heatmaps are torch.float32 of shape \(17, 16, 12\); give floating"),
        ((3, 17, 16, 12), "has heatmaps of 3 images for 4"),
        ((8, 17, 16, 12), "has heatmaps of 8 images for 4"),
    ],
)
def test_heatmaps_of_other_images_are_refused(kind, shape, told):
    with pytest.raises(SSHPEError, match=told):
        OPERATIONS[kind]()(View(torch.rand(4, 3, 64, 48)), torch.rand(shape), draw())
