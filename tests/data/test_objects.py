"""Procedural objects: the same seed draws the same pictures, and every class can be told from the others."""

from __future__ import annotations

import numpy as np
import pytest

from sshpe_lib.data import objects
from sshpe_lib.data.objects import CLASSES, render, render_many
from sshpe_lib.data.objects.scene import draw
from sshpe_lib.data.objects.sketch import BODY, BRIGHT, DARK, TRIM, Parts, Sketch, step
from sshpe_lib.seeding import numpy_stream

KINDS = dict(zip(CLASSES, objects._KINDS, strict=True))


def sketched(kind: str, seed: int = 0) -> Parts:
    sketch = Sketch(numpy_stream("test", kind, seed))
    KINDS[kind](sketch)
    return sketch.parts()


def silhouette(kind: str, seed: int = 0) -> np.ndarray:
    """The filled shape on a 48x48 grid that its bounding box fits."""
    import cv2

    parts = sketched(kind, seed)
    low, high = parts.points.min(axis=0), parts.points.max(axis=0)
    corners = np.round((parts.points - low) * (47 / (high - low).max())).astype(np.int32)
    mask = np.zeros((48, 48), dtype=np.uint8)
    for polygon in np.split(corners, np.cumsum(parts.counts)[:-1]):
        cv2.fillPoly(mask, [polygon], 1)
    return mask.astype(bool)


@pytest.mark.parametrize("size", [(64, 48), (72, 54), (128, 96)])
def test_a_picture_is_rgb_bytes_of_the_size_asked_for(size: tuple[int, int]) -> None:
    image, label = render(0, 70, size)
    assert image.shape == (*size, 3) and image.dtype == np.uint8
    assert label == 70 % len(CLASSES)


def test_the_same_seed_and_index_draw_the_same_picture_in_any_order() -> None:
    forth, labels = render_many(3, range(40))
    back, reversed_labels = render_many(3, range(39, -1, -1))
    np.testing.assert_array_equal(forth, back[::-1])
    np.testing.assert_array_equal(labels, reversed_labels[::-1])


def test_another_seed_or_index_draws_another_picture_of_the_class() -> None:
    first = render(0, 5)[0]
    assert (first != render(1, 5)[0]).mean() > 0.5
    assert (first != render(0, 5 + len(CLASSES))[0]).mean() > 0.5


def test_every_run_of_as_many_pictures_as_classes_holds_each_once() -> None:
    labels = np.concatenate([render_many(0, range(a, a + len(CLASSES)), (16, 12))[1] for a in (0, 17)])
    np.testing.assert_array_equal(np.bincount(labels), np.full(len(CLASSES), 2))


def test_class_names_are_unique_and_no_person_is_among_them() -> None:
    assert len(set(CLASSES)) == len(CLASSES) >= 40
    assert not {"person", "human", "man", "woman", "child", "monkey"} & set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_varies_and_stays_finite(kind: str) -> None:
    one, other = sketched(kind, 0), sketched(kind, 1)
    assert len(one) >= 1 and one.counts.sum() == len(one.points) and one.counts.min() >= 3
    assert np.isfinite(one.points).all()
    assert set(one.roles.tolist()) <= {BODY, TRIM, DARK, BRIGHT}
    assert one.points.shape != other.points.shape or np.abs(one.points - other.points).max() > 0.01


def test_no_two_classes_have_the_same_shape() -> None:
    shapes = {kind: silhouette(kind) for kind in CLASSES}
    for index, a in enumerate(CLASSES):
        for b in CLASSES[index + 1 :]:
            both, either = (shapes[a] & shapes[b]).sum(), (shapes[a] | shapes[b]).sum()
            assert both / either < 0.9, f"{a} and {b} overlap by {both / either:.2f}"


def seen(label: int, hardness: float) -> np.ndarray:
    """A picture of a class, as hard as it is wanted."""
    return draw(objects._KINDS, label, numpy_stream("objects", 0, label), (64, 48), hardness)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_plain_view_shows_the_object(kind: str) -> None:
    """The object takes a fair share of the picture: covered pixels differ from the ground's own variation."""
    image = seen(CLASSES.index(kind), hardness=0)
    ground = np.median(image.reshape(-1, 3), axis=0)
    apart = np.abs(image.astype(float) - ground).max(axis=2)
    assert (apart > 2 * np.median(apart)).mean() > 0.02
    assert image.std() > 4


def test_hard_pictures_stray_further_than_plain_ones() -> None:
    """Noise, the one part that can be measured from outside: differences of neighbouring pixels."""
    hard, plain = (
        np.median([np.abs(np.diff(seen(i, h).astype(int), axis=1)).mean() for i in range(64)])
        for h in (1.0, 0.0)
    )
    assert hard > 1.2 * plain


def test_headings_turn_clockwise_from_the_right() -> None:
    assert step(2, 0) == 2
    assert step(2, 90) == pytest.approx(2j)  # y is down


def test_a_limb_is_a_tube_with_round_ends() -> None:
    sketch = Sketch(numpy_stream(0))
    sketch.limb(0, 4, 1, 0.5)
    low, high = sketch.parts().points.min(axis=0), sketch.parts().points.max(axis=0)
    np.testing.assert_allclose(low, [-1, -1], atol=1e-12)
    np.testing.assert_allclose(high, [4.5, 1], atol=1e-12)


def test_a_chain_turns_at_every_joint() -> None:
    sketch = Sketch(numpy_stream(0))
    end = sketch.chain(0, 0, [1, 1, 1], (0, 90, 90), 0.1, 0.1)
    assert end == pytest.approx(1j)  # right, down, left
    assert len(sketch.parts()) == 3


def test_parts_keep_the_order_they_were_drawn_in() -> None:
    sketch = Sketch(numpy_stream(0))
    sketch.shape([0, 1, 1j], DARK)
    sketch.blob(5, 1, role=TRIM)
    sketch.limb(9, 9, 1, role=BRIGHT)
    parts = sketch.parts()
    assert parts.roles.tolist() == [DARK, TRIM, BRIGHT]
    middle = parts.slice(1, 2)
    np.testing.assert_allclose(middle.points.mean(axis=0), [5, 0], atol=1e-12)
    assert middle.counts.tolist() == [len(middle.points)]
