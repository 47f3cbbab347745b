"""Settings that are published are the defaults, of the operations and of an experiment's."""

import pytest
from pydantic import TypeAdapter

from sshpe_lib import config
from sshpe_lib.parts import OPERATIONS

PUBLISHED = {
    # The configurations of Pose-MUM's reference implementation.
    "affine": {"scale": 0.25, "rotation": 30.0, "probability": 0.8},
    "rand_augment": {"number": 2, "magnitude": 20.0},
    "joint_cutout": {"joints": 5, "jitter": 10.0, "half_size": (10, 19)},
    "cutout": {"holes": 5, "half_size": (10, 19)},  # as many and as large as those of Joint Cutout
    "cut_occlude": {"joints": 2, "half_size": (10, 19)},  # SSPCM
    "mum": {"group": 4, "tiles": (4, 3)},  # Fig. 1 of Pose-MUM
    # AID's official code: of its top-down training, and of its bottom-up one.
    "information_cutout": {
        "probability": 1.0, "fill": "black", "shape": "ellipse", "radius": (0.2, 0.4), "holes": 1,
    },
    "hide_and_seek": {"probability": 1.0, "fill": "black", "sizes": (0, 16, 32, 44, 56), "hide": 0.5},
    # The official code of each, for ImageNet.
    "grid_mask": {"fill": "mean", "spacing": (96 / 224, 1.0), "ratio": 0.6, "rotate": 360.0, "invert": True},
    "random_erasing": {"probability": 0.5, "fill": "mean", "area": (0.02, 0.4), "aspect": (0.3, 1 / 0.3)},
}  # fmt: skip


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_defaults_are_the_published_settings(kind):
    published, chosen = PUBLISHED[kind], TypeAdapter(config.Operation).validate_python({"kind": kind})
    for made in (OPERATIONS[kind](), chosen):
        assert {name: getattr(made, name) for name in published} == published


def test_every_operation_has_published_settings():
    assert PUBLISHED.keys() == OPERATIONS.keys()
