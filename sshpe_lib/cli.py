"""The `sshpe` command."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table as Grid

from sshpe_lib.cli_data import data_app
from sshpe_lib.cli_networks import networks_app
from sshpe_lib.cli_options import (
    AcceleratorOption,
    ColumnOption,
    Commands,
    DevicesOption,
    GraphsOption,
    JobsOption,
    PackOption,
    ProfileOption,
    RowOption,
    SeedsOption,
    TableArgument,
    TensorboardOption,
    ThreadsOption,
    WorkersOption,
    machine_of,
    prose_width,
)
from sshpe_lib.cli_weights import weights_app
from sshpe_lib.connection import connected
from sshpe_lib.errors import SSHPEError

if TYPE_CHECKING:
    from sshpe_lib.reproduce import Comparison

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # its grid of panels cuts names and defaults in a terminal of 80 columns
    help="Semi-supervised human pose estimation: run experiments, look at their records, use their networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(networks_app)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


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
    pack: PackOption = False,
    cuda_graphs: GraphsOption = False,
) -> None:
    """Train what is missing of a table and print it."""
    from sshpe_lib import report
    from sshpe_lib.study import study

    machine = machine_of(threads, workers, accelerator, devices, tensorboard, pack, cuda_graphs)
    elsewhere = None
    if cluster is None and cluster_option:
        raise SSHPEError("--cluster-option is an option of Slurm's; name the cluster, too: --cluster slurm")
    if cluster is not None:
        from sshpe_lib.cluster import Cluster
        from sshpe_lib.profiles import assignments

        options = assignments(cluster_option or [], "--cluster-option", "slurm_partition=gpu")
        elsewhere = Cluster(cluster, options)
    made = study(
        table, profile, seeds=seeds, row=row, column=column, machine=machine, jobs=jobs, cluster=elsewhere
    )
    if machine.progress:  # of several processes the first speaks
        typer.echo(report.to_text(made, prose_width()))


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

    if as_json and as_csv:
        raise SSHPEError("--json and --csv are two ways to print the same numbers; give one")
    made = report.table(study(table, profile, seeds=seeds, row=row, column=column, train=False))
    if as_csv:
        lines = made.lines()
        writer = csv.DictWriter(sys.stdout, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    else:
        typer.echo(json.dumps(made.lines(), ensure_ascii=False) if as_json else made.text(prose_width()))


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
    devices: Annotated[
        list[int] | None, typer.Option(min=1, help="tell the hours on so many of them at once; repeatable")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="of an hour on one device")] = None,
    threads: ThreadsOption = 1,
    accelerator: AcceleratorOption = "auto",
    cuda_graphs: GraphsOption = False,
) -> None:
    """Show what each row of a table will do and cost, and whether its data is there; nothing is trained."""
    from sshpe_lib import plan as plans

    machine = machine_of(threads, 0, accelerator, "1", cuda_graphs=cuda_graphs)
    made = plans.make(
        table, profile, seeds=seeds, machine=machine, device=device, tflops=tflops, measured=measure
    )
    typer.echo(plans.to_text(made, devices or (), price, prose_width()))


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
    troubles: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.trouble:
            troubles.setdefault((line.profile, line.trouble), []).append(line.table)
    for (profile, trouble), names in troubles.items():
        typer.echo(f"{', '.join(names)} on {profile}: {trouble}")


@app.command()
def reproduce(
    key: Annotated[str, typer.Argument(help="the key of a record, or its first letters")],
    threads: Annotated[
        int | None,
        typer.Option(min=0, help="CPU threads; those of the record if left out; 0 leaves it to torch"),
    ] = None,
    workers: WorkersOption = 0,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = "auto",
    keep: Annotated[
        bool, typer.Option(help="keep the trained network as the run's checkpoint, unless the two differ")
    ] = False,
) -> None:
    """Train a record again, as if there were none, and compare; exit code 1 where they differ."""
    from sshpe_lib import paths, records
    from sshpe_lib.reproduce import reproduce as train_again

    if threads is None:
        threads = records.only(paths.records(), key).provenance.threads
    made = train_again(key, machine_of(threads, workers, accelerator, devices), keep=keep)
    if keep and not made.agrees:
        typer.echo(f"{made.old.key}: the trained network is not kept, as it is not the record's")
    _show([made])


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


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Inside the block SIGTERM, with which batch systems and `timeout` end a program, raises SystemExit.

    What the program started is then ended too, as after an interrupt. Processes of torchrun die at once: those that
    wait for one another could not see the exception, and torchrun ends all of them.
    """
    if os.environ.get("WORLD_SIZE"):
        yield
        return
    owner = os.getpid()

    def end(number: int, _: object) -> NoReturn:
        if os.getpid() != owner:  # a process that was forked and has not set its own handler yet
            os._exit(128 + number)
        # `timeout` sends it twice, and the second would interrupt the ending.
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    """Run the command; a mistake in the input is one line on stderr and exit code 2, SIGTERM exit code 143.

    A process or machine of the same run that can no longer be reached is told like a mistake in the input, and so is a
    file that the system refuses.
    """
    try:
        with _ended_in_order(), connected():
            app()
    except SSHPEError as error:
        typer.echo(f"sshpe: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # other people's folders, names too long: wherever a path is asked for
        typer.echo(f"sshpe: {error.filename or 'output'}: {error.strerror or error}", err=True)
        sys.exit(2)
