"""What has run and what is missing, table by table."""

from __future__ import annotations

from dataclasses import dataclass

from sshpe_lib import paths, tables
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import path_of
from sshpe_lib.study import baseline_cells, wanted


@dataclass(frozen=True)
class Line:
    """One table on one profile: records there, records it wants, the command that makes the rest.

    trouble: why nothing can be said, such as data that is not on this machine; `total` is then unknown (0).
    """

    table: str
    profile: str
    done: int
    total: int
    command: str
    trouble: str = ""


def overview(profile: str = "all") -> list[Line]:
    """A line for every table and profile that runs something of it.

    Raises SSHPEError for an unknown profile, or a table's or profile's file that is wrong.
    """
    folder = paths.params()
    profiles = sorted(p.stem for p in (folder / "profiles").glob("*.yaml")) if profile == "all" else [profile]
    names = sorted(p.stem for p in folder.glob("*table*.yaml"))
    lines = [_line(name, chosen) for name in names for chosen in profiles]
    return [line for line in lines if line.total or line.trouble]


def _line(name: str, profile: str) -> Line:
    table, seeds = tables.load_table(name), tables.load_profile(profile).seeds
    command = f"sshpe run {name} --profile {profile}"
    try:
        cells = wanted(table, [*baseline_cells(table, table.cells), *table.cells], profile, seeds)
    except SSHPEError as error:
        return Line(name, profile, 0, 0, command, str(error))
    keys = {experiment.key() for one in cells for experiment in one.experiments}
    done = sum(path_of(paths.records(), key).exists() for key in keys)
    return Line(name, profile, done, len(keys), "" if done == len(keys) else command)
