"""The `sshpe` command."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table as Grid

from sshpe_lib.cli_data import data_app
from sshpe_lib.cli_weights import weights_app
from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    from sshpe_lib.machine import Machine
    from sshpe_lib.reproduce import Comparison

app = typer.Typer(
    help="Semi-supervised human pose estimation: run experiments, look at their records, use their networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


def _devices(value: str) -> str:
    """Refuse what is no number of devices, in the words of the command line."""
    if value != "auto" and not (value.isdecimal() and int(value) > 0):
        raise typer.BadParameter(f"{value!r} is neither auto nor a number from 1 on")
    return value


TableArgument = Annotated[
    str, typer.Argument(help="a table's name or file, such as table4 or params/table4.yaml")
]
ProfileOption = Annotated[str, typer.Option(help="smoke, quick, lsp or paper")]
SeedsOption = Annotated[
    int | None, typer.Option(min=1, help="how many seeds; the profile's own number if left out")
]
RowOption = Annotated[str, typer.Option(help="one row of the table, or all")]
ColumnOption = Annotated[str, typer.Option(help="one column of the table, or all")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch")]
WorkersOption = Annotated[int, typer.Option(min=0, help="loader processes; 0 loads in the training process")]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="runs at the same time; as many as there are cores if left out")
]
AcceleratorOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="what to train on")]
DevicesOption = Annotated[str, typer.Option(help="auto, or a number of devices", callback=_devices)]
TensorboardOption = Annotated[bool, typer.Option(help="also write TensorBoard logs into the run's folder")]


@app.command()
def run(
    table: TableArgument,
    profile: ProfileOption = "quick",
    seeds: SeedsOption = None,
    row: RowOption = "all",
    column: ColumnOption = "all",
    jobs: JobsOption = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="train on other machines: slurm; the address of a Dask scheduler, as tcp://host:8786; or dask, "
            "workers on this one. All of them must see the folders of records and runs"
        ),
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(help="an option of Slurm's, through submitit, as slurm_partition=gpu; repeatable"),
    ] = None,
    threads: ThreadsOption = 1,
    workers: WorkersOption = 0,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = "auto",
    tensorboard: TensorboardOption = False,
) -> None:
    """Train what is missing of a table and print it."""
    from sshpe_lib import report
    from sshpe_lib.study import study

    machine = _machine(threads, workers, accelerator, devices, tensorboard)
    elsewhere = None
    if cluster is not None:
        from sshpe_lib.cluster import Cluster
        from sshpe_lib.profiles import assignments

        options = assignments(cluster_option or [], "--cluster-option", "slurm_partition=gpu")
        elsewhere = Cluster(cluster, options)
    made = study(
        table, profile, seeds=seeds, row=row, column=column, machine=machine, jobs=jobs, cluster=elsewhere
    )
    if machine.progress:  # of several processes the first speaks
        typer.echo(report.to_text(made))


@app.command("table")
def show_table(
    table: TableArgument,
    profile: ProfileOption = "quick",
    seeds: SeedsOption = None,
    row: RowOption = "all",
    column: ColumnOption = "all",
    as_json: Annotated[bool, typer.Option("--json", help="the numbers as JSON, and nothing else")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="the numbers as CSV, and nothing else")] = False,
) -> None:
    """Print a table from the records that are there; nothing is trained."""
    from sshpe_lib import report
    from sshpe_lib.study import study

    made = report.table(study(table, profile, seeds=seeds, row=row, column=column, train=False))
    if as_csv:
        lines = made.lines()
        writer = csv.DictWriter(sys.stdout, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    else:
        typer.echo(json.dumps(made.lines(), ensure_ascii=False) if as_json else str(made))


@app.command()
def plan(
    table: TableArgument,
    profile: ProfileOption = "quick",
    seeds: SeedsOption = None,
    device: Annotated[
        str | None, typer.Option(help="a device of params/devices.yaml; this machine if left out")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="time a few training steps of each size on this machine, now")
    ] = False,
    tflops: Annotated[
        float | None, typer.Option(min=1e-6, help="assume this sustained throughput, in TFLOP/s")
    ] = None,
    threads: ThreadsOption = 1,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Show what each row of a table will do and cost, and whether its data is there; nothing is trained."""
    from sshpe_lib import plan as plans

    machine = _machine(threads, 0, accelerator, "1")
    made = plans.make(
        table, profile, seeds=seeds, machine=machine, device=device, tflops=tflops, measured=measure
    )
    typer.echo(plans.to_text(made))


def _machine(
    threads: int, workers: int, accelerator: str, devices: str, tensorboard: bool = False
) -> Machine:
    from sshpe_lib.machine import Machine, first_process

    count = devices if devices == "auto" else int(devices)
    return Machine(accelerator, count, threads, workers, progress=first_process(), tensorboard=tensorboard)


@app.command()
def status(
    profile: Annotated[str, typer.Option(help="one profile, or all")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="print the same as JSON, and nothing else")] = False,
) -> None:
    """Show for every table and profile what has run and what is missing."""
    from sshpe_lib.overview import overview

    lines = overview(profile)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines]))
        return
    grid = Grid("table", "profile", "records", "missing", "next command")
    for line in lines:
        counts = f"{line.done} of {line.total}", f"{line.total - line.done}"
        grid.add_row(line.table, line.profile, *counts, line.command)
    Console().print(grid)
    for line in lines:
        if line.trouble:
            typer.echo(f"{line.table} on {line.profile}: {line.trouble}")


@app.command()
def reproduce(
    key: Annotated[str, typer.Argument(help="the key of a record, or its first letters")],
    threads: ThreadsOption = 1,
    workers: WorkersOption = 0,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = "auto",
    keep: Annotated[bool, typer.Option(help="keep the trained network as the run's checkpoint")] = False,
) -> None:
    """Train a record again, as if there were none, and compare; exit code 1 where they differ."""
    from sshpe_lib.reproduce import reproduce as train_again

    _show([train_again(key, _machine(threads, workers, accelerator, devices), keep=keep)])


@app.command()
def train(
    people: Annotated[Path, typer.Argument(help="a COCO-format keypoint file to learn from")],
    val: Annotated[
        Path,
        typer.Option(
            help="a COCO-format keypoint file to measure on; `sshpe data split` makes one of a part"
        ),
    ],
    method: Annotated[
        str, typer.Option(help="how: supervised, pose-mum+, udpv1, aid-cutout, ... (params/methods.yaml)")
    ] = "supervised",
    labels: Annotated[
        int | None,
        typer.Option(
            min=1, help="how many people have labels, the first of the file; all of them if left out"
        ),
    ] = None,
    unlabeled: Annotated[
        Path | None,
        typer.Option(
            help="a further file, of people without labels for pose-mum+ and the like; everybody in PEOPLE if left out"
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="PEOPLE's images; found beside the file if left out")
    ] = None,
    val_images: Annotated[
        Path | None, typer.Option(help="the images to measure on; found beside their file if left out")
    ] = None,
    unlabeled_images: Annotated[
        Path | None, typer.Option(help="the unlabelled images; found beside their file if left out")
    ] = None,
    profile: Annotated[str, typer.Option(help="sizes: smoke and quick for a CPU, paper for a GPU")] = "quick",
    backbone: Annotated[
        str,
        typer.Option(help="resnet18, hrnet-w32, ...; higherhrnet-w32 finds people by itself, without boxes"),
    ] = "resnet18",
    size: Annotated[str | None, typer.Option(help="of the input: one of the profile's, as 384x288")] = None,
    schedule: Annotated[str | None, typer.Option(help="S1, S2 or S3 of params/schedules.yaml")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="one of the profile's, such as aid: UDP, and a flip test")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the weights and all draws")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="any other setting, as teacher.decay=0.9; repeatable")
    ] = None,
    output: Annotated[Path, typer.Option(help="the .safetensors file to write, for `sshpe predict`")] = Path(
        "trained.safetensors"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="print key, metrics and file as JSON, and nothing else")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch")] = 0,
    workers: WorkersOption = 0,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = "auto",
    tensorboard: TensorboardOption = False,
) -> None:
    """Train a network on your own people, measure it, and write it for `sshpe predict`."""
    from sshpe_lib.data.sources import own
    from sshpe_lib.profiles import assignments
    from sshpe_lib.training import run as train_on

    told, made = train_on(
        output, _machine(threads, workers, accelerator, devices, tensorboard), own(people, images),
        own(val, val_images), method, profile, labels=labels,
        unlabeled=None if unlabeled is None else own(unlabeled, unlabeled_images), backbone=backbone, size=size,
        schedule=schedule, protocol=protocol, seed=seed,
        set=assignments(settings or [], "--set", "teacher.decay=0.9"),
    )  # fmt: skip
    if told:
        typer.echo(made if as_json else told)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="pictures with people")],
    weights: Annotated[
        Path | None, typer.Option(help="a network that `sshpe export` wrote; the package's own if left out")
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="where the people are: a JSON list of {file_name, bbox}, bbox being x, y, width and height, or a COCO "
            "file. Without it a top-down network takes every picture for one person; a bottom-up one needs none"
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="the folder for keypoints.json and the drawn pictures")] = Path(
        "."
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print the COCO results, and nothing else")] = False,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Find people's joints in pictures: writes keypoints.json (COCO results) and a drawn copy of each picture."""
    from sshpe_lib.predict import run

    told, found = run(images, weights, boxes, output, _machine(1, 0, accelerator, "1"))
    typer.echo(found if as_json else told)


@app.command()
def evaluate(
    network: Annotated[
        str, typer.Argument(help="a .safetensors file that `sshpe export` wrote, or the key of a record")
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(help="a COCO-format keypoint file; the network's own test people if left out"),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="its images; images/ beside it if left out")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="a folder for results.json, breakdown.png, failures.html and heatmaps.png"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the statistics as JSON, and nothing else")
    ] = False,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Measure a network on labelled people: AP, what became of every joint, the worst cases."""
    from sshpe_lib.evaluating import run

    told, statistics = run(network, annotations, images, output, _machine(1, 0, accelerator, "1"))
    typer.echo(statistics if as_json else told)


@app.command()
def export(
    key: Annotated[
        str,
        typer.Argument(
            help="the key of a record, or its first letters; or a .safetensors file that this wrote"
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="the file to write: .safetensors for `sshpe predict`, .onnx, or .pt2 for torch.export.load; "
            "KEY.safetensors if left out"
        ),
    ] = None,
) -> None:
    """Write a trained network for `sshpe predict`, or as one graph from crops (uint8 RGB) to keypoints."""
    from sshpe_lib import exporting

    typer.echo(exporting.export(key, output))


@app.command("test-dev")
def test_dev(
    key: Annotated[str, typer.Argument(help="the key of a record, or its first letters")],
    detections: Annotated[
        Path | None,
        typer.Option(help="a detector's results file for test-dev's images; of a top-down network"),
    ] = None,
    image_info: Annotated[Path, typer.Option(help="COCO's image_info_test-dev2017.json")] = Path(
        "coco/annotations/image_info_test-dev2017.json"
    ),
    images: Annotated[Path, typer.Option(help="the folder of the images")] = Path("coco/images/test2017"),
    output: Annotated[Path, typer.Option(help="the folder for the zip file")] = Path("."),
    name: Annotated[str, typer.Option(help="what the server shall call the results")] = "sshpe",
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Predict COCO's test-dev with a trained network, and write the file that its server takes."""
    from sshpe_lib.test_dev import submit

    machine = _machine(1, 0, accelerator, "1")
    typer.echo(submit(key, detections, image_info, images, output, name, machine))


@app.command()
def compare(
    committed: Annotated[Path, typer.Argument(help="folder of records to compare with")],
    fresh: Annotated[Path, typer.Argument(help="folder of new records")],
) -> None:
    """Set every record of a folder beside its twin in another; exit code 1 where two differ."""
    from sshpe_lib.reproduce import compare_folders

    _show(compare_folders(committed, fresh))


def _show(comparisons: list[Comparison]) -> None:
    for comparison in comparisons:
        typer.echo(comparison.describe())
    if not all(comparison.agrees for comparison in comparisons):
        raise typer.Exit(1)


def main() -> None:
    """Run the command; a mistake in the input is one line on stderr and exit code 2."""
    try:
        app()
    except SSHPEError as error:
        typer.echo(f"sshpe: {error}", err=True)
        sys.exit(2)
