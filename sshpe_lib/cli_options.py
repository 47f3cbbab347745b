"""Options that several commands have, the machine that they describe, and how the terminal is filled."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from sshpe_lib.machine import Machine


class Commands(TyperGroup):
    """Commands, listed with the whole of their help, which otherwise ends in dots at the width of the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for command in self.commands.values():
            command.short_help = command.help


def _devices(value: str) -> str:
    """Refuse what is no number of devices, in the words of the command line."""
    if value != "auto" and not (value.isdecimal() and int(value) > 0):
        raise typer.BadParameter(f"{value!r} is neither auto nor a number from 1 on")
    return value


TableArgument = Annotated[
    str, typer.Argument(help="a table's name or file, such as table4 or params/table4.yaml")
]
ProfileOption = Annotated[str, typer.Option(help="smoke, quick, lsp or paper, or a .yaml file of your own")]
SeedsOption = Annotated[
    int | None, typer.Option(min=1, help="how many seeds; the profile's own number if left out")
]
RowOption = Annotated[str, typer.Option(help="one row of the table, or all")]
ColumnOption = Annotated[str, typer.Option(help="one column of the table, or all")]
CategoryOption = Annotated[
    str | None,
    typer.Option(
        help="which category, by name or id, where several have keypoints; person, or the only one, if left out"
    ),
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch")]
WorkersOption = Annotated[int, typer.Option(min=0, help="loader processes; 0 loads in the training process")]
JobsOption = Annotated[
    int | None,
    typer.Option(min=1, help="runs at the same time; as many as there are cores, or GPUs, if left out"),
]
AcceleratorOption = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="what to run on")]
DevicesOption = Annotated[
    str,
    typer.Option(
        help="auto, or the number of devices on this machine, where torchrun starts a process for each",
        callback=_devices,
    ),
]
PackOption = Annotated[
    bool, typer.Option(help="decode every image once, into a file that all runs and loader processes map")
]
GraphsOption = Annotated[
    bool,
    typer.Option(
        help="give a GPU each pass of a network whole, not kernel by kernel; the same results, sooner"
    ),
]
TensorboardOption = Annotated[bool, typer.Option(help="also write TensorBoard logs into the run's folder")]


def machine_of(
    threads: int,
    workers: int,
    accelerator: str,
    devices: str,
    tensorboard: bool = False,
    pack: bool = False,
    cuda_graphs: bool = False,
) -> Machine:
    """The machine of these options."""
    from sshpe_lib.machine import Machine, first_process

    count = devices if devices == "auto" else int(devices)
    return Machine(accelerator, count, threads, workers, first_process(), tensorboard, pack, cuda_graphs)


def prose_width() -> int:
    """Columns that prose is folded at: those of the terminal, from 60 to 100; 100 where there is none."""
    return max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
