"""The controls of a notebook: every move draws anew, and a choice that is refused says why."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sshpe_lib import explore
from sshpe_lib.errors import SSHPEError
from sshpe_lib.report.memory import memories, memory


def parts(made) -> tuple[dict, object, object]:
    """Controls by their description, the message, and the picture."""
    column, told, picture = made.children
    return {control.description: control for control in column.children}, told, picture


def shown(picture) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(picture.value, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.std() > 5
    return image


def test_moving_tiles_and_sites_draws_the_mix_anew() -> None:
    controls, told, picture = parts(explore.mix("smoke"))
    assert list(controls) == ["group", "rows", "columns", "sites", "draw"]
    seen = [shown(picture)]
    for name, value in (("rows", 2), ("draw", 5), ("group", 2), ("sites", ("layer1", "layer3"))):
        controls[name].value = value
        assert told.value == ""
        seen.append(shown(picture))
    for one, other in zip(seen, seen[1:], strict=False):
        assert one.shape != other.shape or (one != other).any()


def test_any_first_draw_is_shown() -> None:
    controls, told, picture = parts(explore.mix("smoke", seed=1234))
    assert controls["draw"].value == 1234 and controls["draw"].max >= 1234 and told.value == ""
    assert (shown(picture) != shown(parts(explore.mix("smoke", seed=200))[2])).any()


def test_a_first_draw_is_a_whole_number() -> None:
    with pytest.raises(SSHPEError, match="seed is 1.5; give a whole number from 0 on"):
        explore.mix("smoke", 1.5)


def test_a_choice_that_is_refused_says_why_and_keeps_the_picture() -> None:
    controls, told, picture = parts(explore.mix("smoke"))
    before = picture.value
    controls["rows"].value = 7  # does not divide a crop of 128 rows
    assert told.value.startswith("<b>Not so:</b>") and "tiles" in told.value
    assert picture.value == before
    controls["rows"].value = 2
    assert told.value == "" and picture.value != before


def test_moving_the_decay_draws_the_memory_anew() -> None:
    controls, _, picture = parts(explore.teacher())
    before = shown(picture)
    controls["decay"].value = 0.5
    after = shown(picture)
    assert before.shape != after.shape or (before != after).any()


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.6, 0.9, 0.999])
def test_memory_is_the_number_of_students_that_make_99_percent(decay: float) -> None:
    shares = (1 - decay) * decay ** np.arange(20_000)
    assert memory(decay) == np.flatnonzero(shares.cumsum() >= 0.99 - 1e-12)[0] + 1


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_a_decay_of_no_average_is_refused(decay: float) -> None:
    with pytest.raises(SSHPEError, match="from 0 on and below 1"):
        memories([decay])
