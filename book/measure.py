"""Run the benchmarks and keep what they print for the book.

    python book/measure.py [NAME ...]

Without names, every file of benchmarks/. Each one's output goes to book/measured/NAME.json, or NAME_gpu.json where it
ran on a GPU, with the machine, the versions, the commit and the date. A benchmark that fails, for want of real data or
a GPU, is reported and keeps its old file.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch

from sshpe_lib import provenance

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "measured"
ROWS = "rows: "
# Those that use one where there is one.
ON_A_GPU = {
    "augmentations", "codec", "dropping", "eman", "feeding", "mixing", "networks", "overfit", "step", "udp",
}  # fmt: skip


def title_of(script: Path) -> str:
    """The first sentence of a script's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(script.read_text())) or script.stem
    return " ".join(docstring.split("\n\n")[0].split()).rstrip(".")


def without_rows(output: str) -> tuple[str, list | None]:
    """What a benchmark printed, and the numbers that it gives for a plot in a last line, "rows: [...]", if any."""
    text, mark, rows = output.rpartition(ROWS)
    return (text, json.loads(rows)) if mark else (output, None)


def measure(script: Path, folder: Path = FOLDER) -> bool:
    """Run one benchmark from the root of the checkout, show and keep its output; False where it failed."""
    command = [sys.executable, str(script.relative_to(ROOT))]
    print(f"==> {script.name}", flush=True)
    # Asked now, as the checkout may move on meanwhile.
    commit, dirty = provenance.revision("benchmarks", "book/measure.py")
    on_gpu = torch.cuda.is_available() and script.stem in ON_A_GPU
    # Where there is a GPU, the others are of the CPU all the same, and so is their time.
    environment = os.environ if on_gpu else os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    printed = ""
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as running:
            for line in running.stdout:
                printed += line
                if not line.startswith(ROWS):
                    print(line, end="", flush=True)
        errors.seek(0)
        told = errors.read().strip() or printed.strip()
    if running.returncode:
        print(f"{script.name} failed: {told.splitlines()[-1] if told else running.returncode}")
        return False
    print()
    output, rows = without_rows(printed)
    found = {
        "title": title_of(script),
        "command": f"python {script.relative_to(ROOT)}",
        "output": output,
        **({} if rows is None else {"rows": rows}),
        "device": provenance.device_name(torch.device("cuda" if on_gpu else "cpu")),
        "cores": os.cpu_count(),
        "versions": provenance.versions(),
        "commit": commit[:10] + (" with changes" if dirty else ""),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{script.stem}_gpu" if on_gpu else script.stem
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run, such as codec")
    names = parser.parse_args().names
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    known = [script.stem for script in scripts]
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; choose one of: {', '.join(known)}")
    done = [measure(script) for script in scripts if not names or script.stem in names]
    sys.exit(0 if all(done) else 1)


if __name__ == "__main__":
    main()
