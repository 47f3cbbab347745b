"""The `sshpe data` commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

data_app = typer.Typer(help="Look at data before training on it, draw some, split it.", no_args_is_help=True)


@data_app.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(help="a COCO-format keypoint file, or a folder of them")],
    images: Annotated[
        Path | None, typer.Option(help="the folder of images; found beside the file if left out")
    ] = None,
) -> None:
    """Count people and keypoints, and list every fault by file and entry; exit code 1 where one is fatal."""
    from sshpe_lib.data.check import check

    report = check(path, images)
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)


@data_app.command("synth")
def data_synth(
    folder: Annotated[Path, typer.Argument(help="where the data set goes; made if missing")],
    images: Annotated[int, typer.Option(min=1, help="how many")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="another one, other people")] = 0,
    height: Annotated[int, typer.Option(help="of an image, pixels")] = 128,
    width: Annotated[int, typer.Option(help="of an image, pixels")] = 96,
    fewest: Annotated[int, typer.Option(min=1, help="people in an image")] = 1,
    most: Annotated[int, typer.Option(min=1, help="people in an image")] = 1,
    crowding: Annotated[
        float, typer.Option(min=0, max=1, help="share of a person its neighbour overlaps")
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
    count: Annotated[
        int | None, typer.Option(min=1, help="choose so many people who have labels, and write their ids")
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            help="or hold out this share of the images, such as 0.2: writes a file to train on and one to measure on"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="with --count the file to write, split.json if left out; with --hold-out the folder, that of the file "
            "if left out"
        ),
    ] = None,
    rule: Annotated[
        Literal["first", "random"],
        typer.Option(help="of --count: first in the file, as the reference, or drawn"),
    ] = "first",
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 0,
) -> None:
    """Choose the people who have labels, or part a file into one to train on and one to measure on."""
    from sshpe_lib.data import coco, splits

    if hold_out is not None and count is None:
        for path, images in splits.hold_out(annotations, hold_out, seed, output):
            typer.echo(f"{path}: {images:,} images")
        return
    if count is None or hold_out is not None:
        raise typer.BadParameter("give one of --count and --hold-out")
    output = output or Path("split.json")
    people = coco.load_instances(annotations, annotations.parent, check_images=False)
    drawn = rule == "random"
    chosen = splits.random_instances(people, count, seed) if drawn else splits.first_instances(people, count)
    splits.write_split(output, people, chosen, rule=rule, seed=seed if drawn else None)
    typer.echo(f"{output}: {count:,} of {len(people):,} people, {rule}" + (f", seed {seed}" if drawn else ""))
