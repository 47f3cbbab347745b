"""What a synthetic data set is: a value with a fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from sshpe_lib.errors import SSHPEError

VERSION: int = 5  # bumped by hand when any rendered bit changes

_SIDE = (32, 1024)
_CROWD = 12


@dataclass(frozen=True)
class SyntheticPeople:
    """A set of rendered people.

    `images`: how many; `height`, `width`: of each, pixels; `people`: fewest and most per image; `crowding`:
    expected share of the narrower neighbour's width that overlaps, 0..1; `first_id`: id of the first image
    and of the first annotation; `difficulty`: how much there is of what makes a picture hard, 0..1 (people who
    lie, lean or turn away, borders that cut, clutter, occluders, blur, faded contrast, grain).

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
            if not isinstance(value, int) or isinstance(value, bool):
                raise SSHPEError(f"SyntheticPeople: {name} is {value!r}; give a whole number")
        if self.images < 1:
            raise SSHPEError(f"SyntheticPeople: images is {self.images}; ask for at least 1")
        if self.seed < 0 or self.first_id < 0:
            raise SSHPEError(
                f"SyntheticPeople: seed {self.seed} and first_id {self.first_id} must not be negative"
            )
        for name in ("height", "width"):
            if not _SIDE[0] <= getattr(self, name) <= _SIDE[1]:
                raise SSHPEError(
                    f"SyntheticPeople: {name} is {getattr(self, name)}; choose {_SIDE[0]} to {_SIDE[1]}"
                )
        try:
            fewest, most = (int(n) for n in self.people)
        except (TypeError, ValueError):
            raise SSHPEError(
                f"SyntheticPeople: people is {self.people!r}; give (fewest, most) per image"
            ) from None
        if not 1 <= fewest <= most <= _CROWD:
            raise SSHPEError(
                f"SyntheticPeople: people is {self.people!r}; give 1 <= fewest <= most <= {_CROWD}"
            )
        object.__setattr__(self, "people", (fewest, most))
        for name in ("crowding", "difficulty"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= 1:
                raise SSHPEError(f"SyntheticPeople: {name} is {value!r}; choose a share from 0 to 1")
            object.__setattr__(self, name, float(value))


def fingerprint(spec: SyntheticPeople) -> str:
    """16 hex digits that name the rendered data: a hash of the spec and VERSION."""
    text = json.dumps({"version": VERSION, **asdict(spec)}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
