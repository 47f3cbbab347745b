"""Every benchmark can be started: what it imports is there. What they measure is not asserted in a test."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"

START = """
import runpy, sys
from pathlib import Path
scripts = sorted(Path(sys.path[0]).glob("*.py"))
for script in scripts:
    assert callable(runpy.run_path(str(script), run_name="started")["main"]), script
print(len(scripts))
"""


def test_benchmarks_can_be_started():
    started = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[0] = {str(FOLDER)!r}{START}"],
        capture_output=True,
        text=True,
    )
    assert started.returncode == 0, started.stderr
    assert int(started.stdout) == len(list(FOLDER.glob("*.py")))
