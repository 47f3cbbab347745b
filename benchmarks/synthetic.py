"""Synthetic people rendered a second a core, at the renderer's default difficulty and at that of the profile `quick`.

    python benchmarks/synthetic.py [--people 200] [--repeats 5]

A picture shows one person and is as large as the crops of `quick`, 96x128; asked were 300 a second a core. `render`
makes the picture and its annotation, `build` also writes it to a PNG file and the annotations to COCO's JSON. Each line
is CPU time of one process and one thread, the median of several turns, each over the same people.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
from timing import timing, turns

from sshpe_lib import tables
from sshpe_lib.data import sources
from sshpe_lib.data.synthetic import SyntheticPeople, build, render


def rendered(people: SyntheticPeople) -> None:
    """Everybody once, in memory."""
    for index in range(people.images):
        render(people, index)


def written(people: SyntheticPeople) -> None:
    """Everybody once, as a data set in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        build(people, Path(folder), progress=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    quick = replace(
        sources.people(tables.experiment("quick", "supervised").data.labeled), images=options.people
    )
    default = replace(quick, difficulty=SyntheticPeople(images=1).difficulty)
    names, calls = [], []
    for people, of in ((default, "the default"), (quick, "quick's")):
        for form, what in ((rendered, "rendered"), (written, "rendered and written")):
            names.append(f"{what}, difficulty {people.difficulty:g} ({of})")
            calls.append(partial(form, people))
    print(f"{options.people} people, {quick.width}x{quick.height}")
    for name, times in zip(names, turns(calls, options.repeats), strict=True):
        one = timing(times)
        each, spread = one.median / options.people, (one.third - one.first) / one.median
        print(
            f"{name:52} {1e3 / each:6,.0f} a second a core {each:8.2f} ms each (quartiles {spread:.0%} apart)"
        )


if __name__ == "__main__":
    main()
