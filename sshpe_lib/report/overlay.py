"""Skeletons drawn onto a picture at its own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sshpe_lib.skeleton import Skeleton

# RGB, of the palette of Okabe and Ito, which the colour-blind tell apart: the person's left, right, and the middle.
SIDES = {"left": (230, 159, 0), "right": (86, 180, 233), "middle": (0, 158, 115)}
DARK = (20, 20, 20)
FAINTEST = 0.25  # opacity of what has a score of 0
_SUBPIXEL = 4  # binary digits of a coordinate below the pixel


def overlay(image: np.ndarray, people: Sequence[np.ndarray] | np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """A copy of an image with everybody's skeleton: left orange, right blue, the less sure the fainter.

    image: (H, W, 3) uint8 RGB; people: (K, 3) x, y in pixels and score each, a joint of score 0 is not drawn
    and one of score 1 is opaque. Lines have a dark rim, so that they show on any picture, and grow with the person.
    """
    drawn, sides = image.copy(), skeleton.sides
    for person in people:
        seen = person[:, 2] > 0
        if not seen.any():
            continue
        reach = np.ptp(person[seen, :2], axis=0).max()
        width = int(np.clip(round(reach / 90), 1, 8))
        for a, b in skeleton.limbs:
            if seen[a] and seen[b]:
                shade = SIDES[sides[a] if sides[a] == sides[b] else "middle"]
                _blend(drawn, person[[a, b]], shade, width)
        for joint in np.flatnonzero(seen).tolist():
            _blend(drawn, person[[joint]], SIDES[sides[joint]], width + 1)
    return drawn


def _blend(image: np.ndarray, points: np.ndarray, shade: tuple[int, int, int], width: int) -> None:
    """Draw a line between two points, or a dot on one, into the image, as opaque as the least sure of them."""
    import cv2

    certain = float(np.clip(points[:, 2].min(), 0, 1))
    opacity = FAINTEST + (1 - FAINTEST) * certain
    margin = 2 * width + 3
    low = np.floor(points[:, :2].min(0)).astype(int) - margin
    high = np.ceil(points[:, :2].max(0)).astype(int) + margin
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, image.shape[1::-1])
    if x0 >= x1 or y0 >= y1:
        return  # outside the picture
    part = image[y0:y1, x0:x1]
    layer = np.ascontiguousarray(part)
    places = np.rint((points[:, :2] - (x0, y0)) * 2**_SUBPIXEL).astype(int).tolist()
    for colour, rim in ((DARK, 2), (shade, 0)):
        if len(places) == 2:
            cv2.line(layer, *places, colour, width + rim, cv2.LINE_AA, _SUBPIXEL)
        else:
            radius = int((width + rim / 2) * 2**_SUBPIXEL)
            cv2.circle(layer, places[0], radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)
    image[y0:y1, x0:x1] = cv2.addWeighted(layer, opacity, part, 1 - opacity, 0)
