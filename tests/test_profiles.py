"""A profile, a method or a setting of another kind than it should be is an error of ours, wherever it stands."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sshpe_lib import paths, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.overview import overview
from sshpe_lib.profiles import Profile, assignments, load_methods, load_profile, read_yaml, validated
from tests import choices

WRONG = [True, None, "x", [1], {"a": 1}, {}]
ASKED = [
    ("pose-mum+", {}),
    ("supervised", {}),
    ("aid-has", {"schedule": "S3", "protocol": "aid"}),
    ("aid-has-whole", {"schedule": "bottom-up S3", **choices.WHOLE}),
]


def places(values: dict, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


def changed(values: dict, place: tuple[str, ...], value: Any) -> dict:
    """A copy with another value at a place; without it, for the value `del`."""
    whole = inside = copy.deepcopy(values)
    for name in place[:-1]:
        inside = inside[name]
    if value == "del":
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return whole


@pytest.mark.parametrize(("method", "how"), ASKED, ids=[method for method, _ in ASKED])
def test_whatever_is_wrong_in_a_profile_is_told(method: str, how: dict) -> None:
    """Every setting of a profile in turn is something else, or left out: an experiment, or one error of ours."""
    sound = read_yaml(paths.params() / "profiles" / "smoke.yaml")
    refused = 0
    for place in places(sound):
        for value in (*WRONG, "del"):
            try:
                profile = validated(Profile, changed(sound, place, value), Path("smoke.yaml"))
                tables.experiment(profile, method, **how)
            except SSHPEError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("base", "train"), True, "train: a mapping of settings is expected, not True"),
        (("base", "train", "steps"), {"a": 1}, "train.steps: a number is expected, not {'a': 1}"),
        (("supervised",), {"data": 3}, "data: a mapping of settings is expected, not 3"),
    ],
)
def test_the_place_in_a_profile_is_named(place: tuple, value: Any, message: str) -> None:
    sound = read_yaml(paths.params() / "profiles" / "smoke.yaml")
    profile = validated(Profile, changed(sound, place, value), Path("smoke.yaml"))
    with pytest.raises(SSHPEError, match=f"profile smoke, method supervised: {message}"):
        tables.experiment(profile, "supervised")


def test_a_profile_may_be_a_file(tmp_path: Path) -> None:
    """Wherever it lies, it makes the same experiments; an installed package has no folder to put it in."""
    path = tmp_path / "my own.yaml"
    path.write_text((paths.params() / "profiles" / "smoke.yaml").read_text())
    assert load_profile(path) == load_profile(str(path)) == load_profile("smoke")
    assert tables.experiment(str(path), "pose-mum+").key() == tables.experiment("smoke", "pose-mum+").key()
    missing = next(line for line in overview(str(path)) if line.table == "table4")
    assert missing.command == f"sshpe run table4 --profile '{path}'"
    with pytest.raises(
        SSHPEError, match=rf"no profile '{tmp_path}/none.yaml' in {tmp_path}; choose one of: "
    ):
        load_profile(tmp_path / "none.yaml")


@pytest.mark.parametrize("value", [True, None, [1]])
def test_a_method_without_settings_is_named(tmp_path: Path, value: Any) -> None:
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump({"mine": value}))
    with pytest.raises(SSHPEError, match="methods.yaml: mine: a mapping of settings is expected"):
        load_methods(tmp_path)


def test_a_setting_inside_a_number_is_told() -> None:
    with pytest.raises(SSHPEError, match="data.labels: Input should be a valid integer"):
        tables.experiment("smoke", "pose-mum+", set={"data.labels.x": 3})


def test_what_was_read_may_be_changed(tmp_path: Path) -> None:
    """A file's text is parsed once, and everybody has a copy of it."""
    path = tmp_path / "some.yaml"
    path.write_text("a: {b: [1]}")
    read_yaml(path)["a"]["b"].append(2)
    assert read_yaml(path) == {"a": {"b": [1]}}


# Sound YAML as far as its layout goes, with a value that cannot be made.
ODD = {
    "no date": "2026-02-30",
    "no time": "2026-01-01T99:00:00Z",
    "no number": "!!int zz",
    "no digit": "!!int ''",
    "no bits": "0b_",
    "too many digits": "1" * 5000,
    "no truth": "!!bool x",
    "no timestamp": "!!timestamp x",
    "too deep": "[" * 600 + "]" * 600,
    "too deep a mapping": "{a: " * 600 + "1" + "}" * 600,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_value_that_cannot_be_made_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(f"a: {text}")
    with pytest.raises(SSHPEError, match=r"odd\.yaml: it cannot be read as YAML: ") as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SSHPEError, match="assigns nothing; write it as a=1"):
        assignments([f"a={text}"], "--set", "a=1")
