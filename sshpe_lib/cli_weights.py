"""The `sshpe weights` commands."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column
from rich.table import Table as Grid

from sshpe_lib.cli_options import CategoryOption, Commands

weights_app = typer.Typer(
    cls=Commands,
    help="Files of weights: list, fetch and verify them, convert official checkpoints.",
    no_args_is_help=True,
)


@weights_app.command("list")
def weights_list(
    as_json: Annotated[bool, typer.Option("--json", help="print the list as JSON, and nothing else")] = False,
) -> None:
    """List what comes with the package, and the published trunks that can be fetched."""
    from sshpe_lib.zoo import known

    files = known()
    if as_json:
        typer.echo(json.dumps([asdict(file) for file in files], default=str))
        return
    # So much of the sha256 as the published names hold: whole names, and all columns, then fit 80 characters.
    grid = Grid(Column("file", no_wrap=True), "what it is", "sha256", "here")
    for file in files:
        grid.add_row(file.name, file.note, file.sha256[:8], "yes" if file.path else "no")
    Console().print(grid)
    typer.echo("`sshpe weights fetch FILE` downloads one that is not here.")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="names of the list, such as resnet18-5c106cde.pth")],
) -> None:
    """Download published weights, verify them by sha256, and print where they are; one that broke off goes on."""
    from sshpe_lib.zoo import fetch

    for name in names:
        typer.echo(fetch(name))


@weights_app.command("verify")
def weights_verify(files: Annotated[list[Path], typer.Argument(help="files of weights")]) -> None:
    """Read every tensor of files of weights, and say what they are; exit code 2 at the first that is not sound."""
    from sshpe_lib.zoo import verify

    for file in files:
        typer.echo(verify(file))


@weights_app.command("convert")
def weights_convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="an official checkpoint (.pth, .pth.tar) of SimpleBaseline, HRNet, HigherHRNet or RSN"
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="the .safetensors file to write; named as FILE if left out")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="height and width of its input, as 256x192; read from the file's name if left out"),
    ] = None,
    codec: Annotated[
        Literal["msra", "udp-gaussian", "udp-offset"] | None,
        typer.Option(
            help="how its heatmaps are read; if left out, udp-offset for 3 channels a keypoint, udp-gaussian for "
            "an HRNet or RSN that only UDP's code makes, and msra for others"
        ),
    ] = None,
    color: Annotated[
        Literal["rgb", "bgr"] | None,
        typer.Option(
            help="the channels it learned from; if left out, bgr for SimpleBaseline and rgb for others"
        ),
    ] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="a COCO-format file that names its keypoints; COCO's 17 if left out")
    ] = None,
    category: CategoryOption = None,
) -> None:
    """Write an official checkpoint as a network for `sshpe predict`, `evaluate` and `export`."""
    from sshpe_lib.converting import run

    typer.echo(run(file, output, size, codec=codec, color=color, keypoints=keypoints, category=category))
