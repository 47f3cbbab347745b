"""Keypoint sets: names, flip pairs, limbs and OKS sigmas."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sshpe_lib.errors import SSHPEError


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of keypoints.

    `flip_pairs`, the left one first, and `limbs` hold index pairs (from 0); `sigmas` are the per-keypoint OKS constants
    of the COCO evaluation (dimensionless); `upper_body` indexes the keypoints above the hips (half-body crops).
    """

    name: str
    keypoints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    upper_body: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """The permutation of keypoints that a mirror applies; it is its own inverse."""
        order = list(range(len(self)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    @property
    def sides(self) -> tuple[str, ...]:
        """ "left", "right" or "middle": where each keypoint lies on the person, by its pair."""
        left, right = map(set, zip(*self.flip_pairs, strict=True)) if self.flip_pairs else (set(), set())
        return tuple(
            "left" if joint in left else "right" if joint in right else "middle" for joint in range(len(self))
        )

    def difference(self, other: Skeleton) -> str | None:
        """What keeps keypoints of `other` from standing for these, in words; None where they do.

        Names, limbs and which keypoints are above the hips may differ.
        """
        if len(other) != len(self):
            return f"{len(other)} keypoints, not {len(self)}"
        for number, (name, known) in enumerate(zip(other.keypoints, self.keypoints, strict=True), 1):
            if name != known:
                return f"keypoint {number} is {name!r}, not {known!r}"
        if set(other.flip_pairs) != set(self.flip_pairs):
            return f"a mirror swaps {other.flip_pairs}, not {self.flip_pairs}"
        for name, theirs, ours in zip(self.keypoints, other.sigmas, self.sigmas, strict=True):
            if theirs != ours:
                return f"the OKS constant of {name!r} is {theirs}, not {ours}"
        return None

    def check(self) -> None:
        """Raises ValueError where an index is none of a keypoint, or the sigmas are not as many as the keypoints."""
        pairs = (*self.flip_pairs, *self.limbs, self.upper_body)
        if any(not 0 <= index < len(self) for pair in pairs for index in pair):
            raise ValueError(f"skeleton: an index is none of {len(self)} keypoints")
        if len(self.sigmas) != len(self):
            raise ValueError("skeleton: there are not as many sigmas as keypoints")


# Where a name changes from one word to the next without a separator: leftEye, LEye.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# A side: in full anywhere in a name (left_eye, lefteye), as a letter only where that is a word (l_eye, eye_l).
_SIDE = re.compile(r"left|right|(?<![^_])[lr](?![^_])")
_OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}


def _words(name: str) -> str:
    """A keypoint's name in small letters, its words parted by underscores."""
    return re.sub(r"[\W_]+", "_", _CAMEL.sub("_", name)).lower()


def _plain(name: str) -> str:
    """A keypoint's name as COCO would write it, its side first and in full: left_eye of LeftEye, l_eye or eye-L."""
    words = _words(name)
    sides = _SIDE.findall(words)
    if len(sides) != 1:
        return words
    rest = re.sub("_+", "_", _SIDE.sub("_", words)).strip("_")
    return f"{'left' if sides[0][0] == 'l' else 'right'}_{rest}"


def flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The keypoints that a mirror swaps, by their names: indices from 0, the left one first.

    Two names are a pair where they are the same but for the side: left_eye and right_eye, LeftEye, "left eye", lefteye,
    eye_left, l_eye, L_Eye, LEye or eye_l with the like. A letter is a side only where it is a word of its own.
    """
    words = [_words(name) for name in names]
    position = {name: i for i, name in enumerate(words)}
    pairs = []
    for name, left in position.items():
        side = _SIDE.search(name)
        mirrored = _SIDE.sub(lambda found: _OTHER_SIDE[found[0]], name)
        if side and side[0][0] == "l" and mirrored in position:
            pairs.append((left, position[mirrored]))
    return tuple(pairs)


def without_partner(names: Sequence[str]) -> tuple[str, ...]:
    """The names that tell a side and have no other one among `names` that is the same on the other side."""
    paired = {index for pair in flip_pairs(names) for index in pair}
    return tuple(name for i, name in enumerate(names) if _SIDE.search(_words(name)) and i not in paired)


def without_sigma(names: Sequence[str]) -> tuple[str, ...]:
    """The names that no known set has, so that their OKS constants are guessed."""
    return tuple(name for name in names if _plain(name) not in _SIGMAS)


def _build(
    name: str,
    keypoints: tuple[str, ...],
    limbs_from_one: tuple[tuple[int, int], ...],
    sigmas: tuple[float, ...],
    upper_body: tuple[int, ...],
    pairs: tuple[tuple[int, int], ...] | None = None,
) -> Skeleton:
    limbs = tuple((a - 1, b - 1) for a, b in limbs_from_one)
    pairs = flip_pairs(keypoints) if pairs is None else pairs
    return Skeleton(name, keypoints, pairs, limbs, sigmas, upper_body)


COCO17 = _build(
    "coco17",
    (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    (
        (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
        (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
    ),
    (
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
        0.087, 0.087, 0.089, 0.089,
    ),
    tuple(range(11)),
)  # fmt: skip

CROWDPOSE14 = _build(
    "crowdpose14",
    (
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
    ),
    (
        (11, 9), (9, 7), (12, 10), (10, 8), (7, 8), (1, 7), (2, 8), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6),
        (13, 14), (14, 1), (14, 2),
    ),
    (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    (0, 1, 2, 3, 4, 5, 12, 13),
)  # fmt: skip

# LSP publishes PCP and PCK only; its OKS constants here are COCO's for the limb joints and CrowdPose's 0.079
# for neck and head top.
LSP14 = _build(
    "lsp14",
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist",
        "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
    ),
    (
        (1, 2), (2, 3), (4, 5), (5, 6), (3, 4), (7, 8), (8, 9), (10, 11), (11, 12), (9, 10), (9, 13),
        (10, 13), (13, 14), (3, 9), (4, 10),
    ),
    (0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
    (6, 7, 8, 9, 10, 11, 12, 13),
)  # fmt: skip

# The OKS constants are AI Challenger's own (Wu et al., 2017, arXiv:1711.06475; keypoint_eval.py of the repository
# AIChallenger/AI_Challenger_2017), two to six times smaller than COCO's. There delta = 2 sigma, and a joint at
# distance d counts exp(-d^2 / (2 delta^2 (area + 1))): COCO's OKS but for the 1. The rest of it is not done here: its
# area is the whole box, where 0.53 of the box stands for a missing area here, and it counts joints in sight only.
AIC14 = _build(
    "aic14",
    (
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck",
    ),
    (
        (3, 2), (2, 1), (1, 14), (14, 4), (4, 5), (5, 6), (9, 8), (8, 7), (7, 10), (10, 11), (11, 12),
        (13, 14), (1, 7), (4, 10),
    ),
    (
        0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941,
        0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173,
    ),
    (0, 1, 2, 3, 4, 5, 12, 13),
)  # fmt: skip

KNOWN = (COCO17, CROWDPOSE14, LSP14, AIC14)

# What a custom category gets for a keypoint by its name: COCO's constant or what is on its scale, and where no set has
# the name, the mean over COCO's body joints.
_SIGMAS = {
    name: sigma
    for known in (LSP14, CROWDPOSE14, COCO17)
    for name, sigma in zip(known.keypoints, known.sigmas, strict=True)
}
UNKNOWN_SIGMA = 0.08


def to_category(skeleton: Skeleton) -> dict:
    """The COCO category of people with these keypoints, which `from_category` reads."""
    limbs = [[a + 1, b + 1] for a, b in skeleton.limbs]
    named = {"id": 1, "name": "person", "supercategory": "person"}
    return named | {"keypoints": list(skeleton.keypoints), "skeleton": limbs}


def from_category(category: Mapping, where: str) -> Skeleton:
    """The skeleton that a COCO category describes; one of the known sets when the names are its own.

    `category` is an entry of the file's `categories`, with `keypoints` (names) and, optionally, `skeleton`
    (limbs, counted from 1) and `sigmas`. Flip pairs come from the names (`flip_pairs`), and so do sigmas that are not
    given, however a side is written: COCO's of that name, and 0.08 where it has none. Raises SSHPEError, naming
    `where`, if the names are missing or repeated, a limb points outside them, or a sigma is not above 0 and up to 1.
    """
    given = tuple(str(name).strip() for name in category.get("keypoints") or ())
    names, plain = tuple(name.lower().replace(" ", "_") for name in given), tuple(map(_plain, given))
    if not names:
        raise SSHPEError(
            f"{where}: category {category.get('id')!r} lists no 'keypoints'; add their names in order"
        )
    if len(set(names)) != len(names):
        raise SSHPEError(f"{where}: category {category.get('id')!r} repeats a keypoint name: {names}")
    sigmas = category.get("sigmas")
    for known in KNOWN:
        if plain == known.keypoints and sigmas is None:
            return known
    limbs = tuple((int(a), int(b)) for a, b in category.get("skeleton") or ())
    if any(not 1 <= end <= len(names) for limb in limbs for end in limb):
        raise SSHPEError(
            f"{where}: a limb of category {category.get('id')!r} is outside 1..{len(names)}: {limbs}"
        )
    if sigmas is None:
        sigmas = [_SIGMAS.get(name, UNKNOWN_SIGMA) for name in plain]
    if len(sigmas) != len(names):
        raise SSHPEError(
            f"{where}: category {category.get('id')!r} has {len(sigmas)} sigmas for {len(names)} keypoints"
        )
    wrong = [sigma for sigma in sigmas if not 0 < sigma <= 1]
    if wrong:
        raise SSHPEError(
            f"{where}: category {category.get('id')!r}: its sigmas hold {wrong[0]!r}, not a number above 0 and up to 1"
        )
    lower = ("hip", "knee", "ankle", "foot", "toe", "heel")
    upper = tuple(i for i, n in enumerate(names) if not any(part in n for part in lower))
    about = names, limbs, tuple(float(s) for s in sigmas), upper
    return _build(str(category.get("name", "custom")), *about, pairs=flip_pairs(given))  # by capitals, too
