"""Every benchmark can be started: what it imports is there. What they measure is not asserted in a test."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from sshpe_lib import tables
from sshpe_lib.config import CocoSource
from tests import fakes

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"

START = """
import runpy, sys
from pathlib import Path
from types import SimpleNamespace
scripts = sorted(Path(sys.path[0]).glob("*.py"))
for script in scripts:
    assert callable(runpy.run_path(str(script), run_name="started")["main"]), script
print(len(scripts))
"""


def python(code: str) -> str:
    """What Python prints that runs some code beside the benchmarks."""
    code = f"import sys; sys.path[0] = {str(FOLDER)!r}{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_benchmarks_can_be_started():
    assert int(python(START)) == len(list(FOLDER.glob("*.py")))


def test_what_a_cpu_did_is_not_filed_as_a_gpus(monkeypatch, tmp_path):
    measure = runpy.run_path(str(ROOT / "book" / "measure.py"))
    texts = {script.stem: script.read_text() for script in FOLDER.glob("*.py")}
    naming = {name for name, text in texts.items() if "cuda" in text or "DEVICE" in text}
    assert measure["ON_A_GPU"] == naming | {"overfit"}  # which trains, and so takes what there is
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "a GPU")
    (tmp_path / "benchmarks").mkdir()
    measure["measure"].__globals__["ROOT"] = tmp_path
    for name in ("book", "step"):
        script = tmp_path / "benchmarks" / f"{name}.py"
        script.write_text('"""A benchmark."""\nimport os\nprint(os.environ.get("CUDA_VISIBLE_DEVICES"))\n')
        assert measure["measure"](script, tmp_path)
    found = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    assert found.keys() == {"book", "step_gpu"}
    assert found["step_gpu"]["device"] == "a GPU" != found["book"]["device"]
    assert found["book"]["output"] == "\n" != found["step_gpu"]["output"]  # nor does a clock wait for the GPU


OPEN = """
import growth
from sshpe_lib.data import documents
call = growth.opening(2)
for _ in range(2):
    call()
print(documents._parse_once.cache_info().hits)
"""


def test_every_opening_that_is_timed_parses_the_file():
    assert int(python(OPEN)) == 0


def test_what_was_measured_on_a_gpu_stands_as_it_was_printed():
    file = ROOT / "book" / "measured" / "feeding_gpu.json"
    heading, columns, *lines = json.loads(file.read_text())["output"].splitlines()
    assert re.fullmatch(r"[\d,]+ people in \d+ photographs, .* loader processes, bf16-mixed", heading)
    assert columns.split() == ["ms", "a", "step", "crops/s", "device", "waits"] and len(lines) == 11
    for line in lines:
        assert re.fullmatch(r"[\w -]+, [\w ]+? +[\d.]+ +[\d,]+( +[\d.]+%)?", line)
        assert bool(re.match("the loader alone|.*in memory", line)) != line.endswith("%")


NETWORKS = """
import backbones
print(*backbones.NETWORKS, sep="|")
"""


def test_every_network_of_the_table_was_measured():
    output = json.loads((ROOT / "book" / "measured" / "backbones.json").read_text())["output"]
    measured = [line.split(" | ")[0].removeprefix("| ") for line in output.splitlines()[3:]]
    assert measured == python(NETWORKS).strip().split("|")


PLANES = """
import torch, augmentations
seen = []
augmentations.gather = lambda maps, source: seen.append(maps.is_contiguous()) or maps.clone()
for slow, *_ in augmentations.mixing(4, torch.float32).values():
    slow()
print(len(seen), all(seen))
"""


def test_the_slow_form_of_mixing_has_the_usual_memory_layout():
    count, planar = python(PLANES).split()
    assert int(count) > 10 and planar == "True"


STEPS = """
import json, waiting
print(json.dumps(waiting.steps_of(json.loads(waiting.MEASURED.read_text()))))
"""


def test_the_pretended_accelerator_takes_as_long_as_the_measured_one():
    output = json.loads((ROOT / "book" / "measured" / "feeding_gpu.json").read_text())["output"]
    steps = json.loads(python(STEPS))
    assert list(steps) == ["resnet18", "resnet50", "hrnet-w32"]
    assert all(f"{name}, one batch in memory" in output and f" {ms} " in output for name, ms in steps.items())


def test_what_was_measured_stands_beside_every_figure_of_the_reference():
    page = (ROOT / "book" / "performance.md").read_text()
    cells = re.findall(r"```{code-cell}.*?\n\n(.*?)```", page, re.DOTALL)
    rows: list[str] = []
    shared = {"paths": SimpleNamespace(records=lambda: ROOT / "book" / "records"), "Markdown": rows.append}
    for name in ("aims = [", "reference = ["):
        (code,) = (cell for cell in cells if name in cell)
        exec(code, shared)
    lines = rows[1].splitlines()[2:]
    assert len(lines) == 10
    assert all(re.fullmatch(r"\|[^|]+\| [\d. –]+ \| [\d.]+ \| [\d.]+ \|", line) for line in lines)


def test_trainings_stand_in_a_line_with_those_of_their_machine_alone():
    page = (ROOT / "book" / "performance.md").read_text()
    code = next(
        cell for cell in re.findall(r"```{code-cell}.*?\n\n(.*?)```", page, re.DOTALL) if "def scale(" in cell
    )
    page_of = {}
    exec(code, page_of)
    made = tables.experiment("quick", "supervised")
    ran = (
        {"instructions": "AVX2", "precision": "32-true"},
        {"instructions": "AVX2", "precision": "bf16-mixed"},
        {},
    )
    places = {page_of["scale"](fakes.record(made, **one)) for one in ran}
    assert {place[4:6] for place in places} == {
        ("AVX2", "float32"),
        ("AVX2", "bfloat16"),
        ("instructions not noted", "bfloat16"),
    }
    assert {place[:2] for place in places} == {("synthetic people", "128x96")}
    own = CocoSource(kind="coco", annotations="/home/me/people.json", images="/home/me", fingerprint="0" * 64)
    own = made.model_copy(update={"data": made.data.model_copy(update={"val": own})})
    assert page_of["scale"](fakes.record(own))[0] == "own files"


def test_what_was_measured_is_found_for_every_aim():
    page = (ROOT / "book" / "performance.md").read_text()
    code = next(
        cell for cell in re.findall(r"```{code-cell}.*?\n\n(.*?)```", page, re.DOTALL) if "aims = [" in cell
    )
    rows = {}
    exec(
        code,
        {"paths": SimpleNamespace(records=lambda: ROOT / "book" / "records"), "Markdown": rows.setdefault},
    )
    (table,) = rows
    *lines, last = table.splitlines()[2:]
    assert len(lines) == 11 and not any(line.endswith("| – |") for line in lines)
    benchmark = (FOLDER / "loading.py").read_text()
    assert "an image decoded and warped once" in benchmark and last.startswith("| decoded and warped")
