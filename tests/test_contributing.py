"""The diffs of CONTRIBUTING.md, applied to a copy of the checkout: what they add runs, and its types are right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sshpe_lib.data import coco
from sshpe_lib.data.synthetic import SyntheticPeople, build

ROOT = Path(__file__).resolve().parents[1]
# The packages that take mypy longest, and about which the diffs are not.
SKIPPED = """
[[tool.mypy.overrides]]
module = ["torch.*", "torchvision.*", "lightning_fabric.*", "numpy.*", "pandas.*"]
follow_imports = "skip"
follow_imports_for_stubs = true
"""
USED = """
import sys
from pathlib import Path

import sshpe_lib
from sshpe_lib import errors, experiment, plan, tables
from sshpe_lib.data import sources

assert Path(sshpe_lib.__file__).is_relative_to(Path.cwd())
people = {"kind": "lines", "annotations": sys.argv[1], "images": sys.argv[2]}
taught = {"data.labeled": people, "model": {"network": "plain", "width": 8}, "train.steps": 2}
made = tables.experiment("smoke", "jc-eman", size="256x192", set=taught | {"data.labels": 10, "train.batch_size": 4})
assert str(made.model) == made.model.short == "Plain" and made.semi_supervised
record = experiment.run(made)
assert record.experiment.data.labeled.fingerprint and 0 <= record.metrics["teacher"]["AP"] <= 100

mum = {"augment.strong": [{"kind": "mum", "group": 2, "tiles": [2, 2], "sites": ["stem"]}]}
mixed = tables.experiment("smoke", "jc-eman", size="256x192", set=taught | mum)
assert mixed.unmix_stage(mixed.augment.strong[0]) == "stem"
for read in (sources.ground_truth, sources.whole_images):
    try:
        read(made.data.labeled)
    except errors.SSHPEError as error:
        assert "people of kind 'lines' are learned from, not measured on" in str(error)
    else:
        raise AssertionError(read)
found = plan.data.look(made.data.labeled)
assert found.there and found.people == 12 and "12 people in 12 images" in found.said[0]

assert "labels" in tables.names()
cells = list(tables.cell_experiments(tables.load_table("labels"), "smoke", 1))
assert len(cells) == 3 and not any(isinstance(value, str) for _, value in cells)
"""


def recipes() -> list[list[str]]:
    """The diffs of the page, each as its files' parts: the path, then hunks."""
    blocks = re.findall(
        r"^```diff\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.split(r"^\+\+\+ ", block, flags=re.MULTILINE)[1:] for block in blocks]


def apply(part: str, root: Path) -> None:
    """Change one file as its part of a diff says: hunks, between lines of "@@", stand where their old lines do."""
    name, _, hunks = part.partition("\n")
    path = root / name
    text = path.read_text() if path.exists() else ""
    for hunk in hunks.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        if old:
            assert text.count(old) == 1, f"CONTRIBUTING.md: {name} has not, once, the lines\n{old}"
            text = text.replace(old, new)
        else:
            text += new
    path.write_text(text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package needs, with all diffs applied."""
    copy = tmp_path_factory.mktemp("contributed")
    for name in ("sshpe_lib", "params"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for part in (part for recipe in recipes() for part in recipe):
        apply(part, copy)
    return copy


def run(checkout: Path, *arguments: str) -> None:
    # A record of a network that only the copy knows stays there.
    folders = {f"SSHPE_{name.upper()}": str(checkout / name) for name in ("records", "runs")}
    environment = os.environ | folders | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_a_recipe_is_short() -> None:
    assert len(recipes()) == 4
    for recipe in recipes():
        assert len(recipe) <= 3 and sum(part.count("\n") for part in recipe) <= 45


def test_what_the_recipes_add_runs(checkout: Path, tmp_path: Path) -> None:
    file = build(SyntheticPeople(images=12), tmp_path, progress=False)
    people = coco.load_instances(file, file.parent / "images")
    lines = [
        [people.file_names[image], *people.image_sizes[image], *box, *keypoints.reshape(-1)]
        for image, box, keypoints in zip(people.image_index, people.boxes, people.keypoints, strict=True)
    ]
    annotations = tmp_path / "people.csv"
    annotations.write_text("\n".join(",".join(map(str, line)) for line in lines))
    run(checkout, "-c", USED, str(annotations), str(file.parent / "images"))


def test_what_the_recipes_add_has_the_right_types_and_form(checkout: Path) -> None:
    with (checkout / "pyproject.toml").open("a") as settings:
        settings.write(SKIPPED)
    # Without those packages some ignored lines have nothing to ignore, and one call is not understood.
    loose = ["--no-warn-unused-ignores", "--no-warn-redundant-casts", "--disable-error-code=call-arg"]
    run(checkout, "-m", "mypy", "--cache-dir", os.devnull, *loose)
    changed = [part.partition("\n")[0] for recipe in recipes() for part in recipe if ".py\n" in part]
    run(checkout, "-m", "ruff", "check", "--no-cache", *changed)
