"""How long the book takes to build, from its records alone and with nothing kept from an earlier build.

    python benchmarks/book.py [--repeats 1]

Warnings are errors, as in the tests. CPU time is that of the build and of all processes that it starts, a kernel for
every page that computes, one after the other. More than two minutes on a laptop are more than one should have to wait.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(jupyter_book), "build", str(BOOK), "--path-output", folder, "-W", "--keep-going"]
            start, worked = time.perf_counter(), work_of_children()
            ended = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}
            )
            wall, cpu = time.perf_counter() - start, work_of_children() - worked
            if ended.returncode:
                raise SystemExit(ended.stderr or ended.stdout)
            pages = len(list(Path(folder).rglob("_build/html/**/*.html")))
        print(f"{pages} pages in {wall:.0f} s on the clock, {cpu:.0f} s of CPU", flush=True)


def work_of_children() -> float:
    """CPU seconds of the processes started from here and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
