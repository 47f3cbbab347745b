"""What a synthetic data set is: a value with a fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from sshpe_lib.config.data import DRAWN_PEOPLE, DRAWN_SIDE
from sshpe_lib.errors import SSHPEError, is_whole

VERSION: int = 5  # bumped by hand when any rendered bit changes


@dataclass(frozen=True)
class SyntheticPeople:
    """A set of rendered people.

    `images`: how many; `height`, `width`: of each, pixels; `people`: fewest and most per image; `crowding`:
    expected share of the narrower neighbour's width that overlaps, 0..1, where there are several; `first_id`: id of
    the first image and of the first annotation; `difficulty`: how much there is of what makes a picture hard, 0..1
    (people who lie, lean or turn away, clutter, occluders, blur, faded contrast, grain, and borders that cut one who
    is alone).

    Raises SSHPEError, with the value and the cure, for a value out of range.
    """

    images: int
    seed: int = 0
    height: int = 128
    width: int = 96
    people: tuple[int, int] = (1, 1)
    crowding: float = 0.0
    first_id: int = 1
    difficulty: float = 1.0

    def __post_init__(self) -> None:
        for name in ("images", "seed", "height", "width", "first_id"):
            value = getattr(self, name)
            if not is_whole(value):
                raise SSHPEError(f"SyntheticPeople: {name} is {value!r}; give a whole number")
        if self.images < 1:
            raise SSHPEError(f"SyntheticPeople: images is {self.images}; ask for at least 1")
        if self.seed < 0 or self.first_id < 0:
            raise SSHPEError(
                f"SyntheticPeople: seed {self.seed} and first_id {self.first_id} must not be negative"
            )
        for name in ("height", "width"):
            if not DRAWN_SIDE[0] <= getattr(self, name) <= DRAWN_SIDE[1]:
                raise SSHPEError(
                    f"SyntheticPeople: {name} is {getattr(self, name)}; choose {DRAWN_SIDE[0]} to {DRAWN_SIDE[1]}"
                )
        pair = self.people
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(is_whole, pair)):
            raise SSHPEError(
                f"SyntheticPeople: people is {pair!r}; give two whole numbers, (fewest, most) per image"
            )
        fewest, most = pair
        if not 1 <= fewest <= most <= DRAWN_PEOPLE:
            raise SSHPEError(
                f"SyntheticPeople: people is {pair!r}; give 1 <= fewest <= most <= {DRAWN_PEOPLE}"
            )
        object.__setattr__(self, "people", (fewest, most))
        for name in ("crowding", "difficulty"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not 0 <= value <= 1:
                raise SSHPEError(f"SyntheticPeople: {name} is {value!r}; choose a share from 0 to 1")
            object.__setattr__(self, name, float(value))


def fingerprint(spec: SyntheticPeople) -> str:
    """16 hex digits that name the rendered data: a hash of the spec and VERSION."""
    text = json.dumps({"version": VERSION, **asdict(spec)}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
