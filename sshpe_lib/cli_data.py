"""The `sshpe data` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sshpe_lib.cli_options import CategoryOption, Commands

data_app = typer.Typer(
    cls=Commands, help="Look at data before training on it, draw some, split it.", no_args_is_help=True
)


@data_app.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(help="a COCO-format keypoint file, or a folder of them")],
    images: Annotated[
        Path | None, typer.Option(help="the folder of images; found beside the file if left out")
    ] = None,
    category: CategoryOption = None,
) -> None:
    """Count people and keypoints, and list every fault by file and entry; exit code 1 where one is fatal."""
    from sshpe_lib.data.check import check

    report = check(path, images, category)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("synth")
def data_synth(
    folder: Annotated[
        Path,
        typer.Argument(
            help="where the data set goes, into a subfolder named by its settings; its annotations.json is printed"
        ),
    ],
    images: Annotated[int, typer.Option(min=1, help="how many")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="another one, other people")] = 0,
    height: Annotated[int, typer.Option(help="of an image, pixels")] = 128,
    width: Annotated[int, typer.Option(help="of an image, pixels")] = 96,
    fewest: Annotated[int, typer.Option(min=1, help="people in an image")] = 1,
    most: Annotated[int, typer.Option(min=1, help="people in an image")] = 1,
    crowding: Annotated[
        float, typer.Option(min=0, max=1, help="share of the narrower neighbour's width that overlaps")
    ] = 0.0,
    difficulty: Annotated[
        float, typer.Option(min=0, max=1, help="of poses, clutter, blur and contrast")
    ] = 1.0,
) -> None:
    """Draw people into pictures, with a COCO keypoint file."""
    from sshpe_lib.data.synthetic import SyntheticPeople, build

    spec = SyntheticPeople(images, seed, height, width, (fewest, most), crowding, difficulty=difficulty)
    typer.echo(build(spec, folder))


@data_app.command("split")
def data_split(
    annotations: Annotated[Path, typer.Argument(help="a COCO-format keypoint file")],
    hold_out: Annotated[float, typer.Option(help="the share of the images to measure on, such as 0.2")],
    output: Annotated[
        Path | None, typer.Option(help="the folder of the two files; that of the old one if left out")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 0,
    category: CategoryOption = None,
) -> None:
    """Part a file by images, drawn at random: one to train on, one to measure on."""
    from sshpe_lib.data import splits

    for path, images in splits.hold_out(annotations, hold_out, seed, output, category):
        typer.echo(f"{path}: {images:,} images")
