"""Which tiles of a person stand in the same picture, where convolutions can relate them (Fig. 2 of Pose-MUM)."""

from __future__ import annotations

from torch import Tensor

from sshpe_lib.augment import tiles
from sshpe_lib.augment.mum import Mix


def probability_of_meeting(group: int, stages: int) -> float:
    """The probability that two given tiles of one person share a slot after at least one of `stages` mixes.

    group: N_G. Every mix moves the two by independent uniform permutations, so they share a slot with
    probability 1 / N_G whatever was before: 1 - (1 - 1 / N_G)**stages.
    """
    return 1 - (1 - 1 / group) ** stages


def tiles_that_meet(mix: Mix) -> list[tuple[str, Tensor]]:
    """For every stage after which tiles were exchanged, the pairs of an image's tiles in the same slot there.

    Returns (stage, together) in the order of the mixes, the first of them "image": together is (B, T, T) bool
    of T = rows x cols tiles, row by row from the top left; together[b, s, t] tells whether tiles s and t of
    image b are in the same slot from this stage to the next in the list (it does not look back). A site that
    `at_stage` lacks is left out; one whose permutation happens to move nothing stays, as a stage like the others.
    The sites are taken in the order of `PoseMUM.sites`, which is the network's.
    """
    return [(stage, together(slots)) for stage, slots in slots_of_tiles(mix)]


def slots_of_tiles(mix: Mix) -> list[tuple[str, Tensor]]:
    """For every stage of `tiles_that_meet`, the slots (B, T) that the tiles of image b are in."""
    arrangement = mix.at_image  # (rows, cols, B) names the image that each slot's tile comes from
    slots = [("image", _slots(arrangement))]
    for stage, mask in mix.at_stage.items():
        arrangement = tiles.compose(arrangement, mask)
        slots.append((stage, _slots(arrangement)))
    return slots


def together(slots: Tensor) -> Tensor:
    """Which tiles of an image are in the same slot, (B, T, T) bool, of their slots (B, T)."""
    return slots[:, :, None] == slots[:, None, :]


def _slots(arrangement: Tensor) -> Tensor:
    return tiles.inverse(arrangement).flatten(0, 1).T
