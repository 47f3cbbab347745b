"""What has run and what is missing, table by table."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sshpe_lib import paths, profiles, tables
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.records import path_of


@dataclass(frozen=True)
class Line:
    """One table on one profile: records there, records it wants, the command that makes the rest.

    trouble: why the rest cannot be made here, such as data that is not on this machine.
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
    folder = paths.params() / "profiles"
    profiles = sorted(path.stem for path in folder.glob("*.yaml")) if profile == "all" else [profile]
    lines = [_line(name, chosen) for name in tables.names() for chosen in profiles]
    return [line for line in lines if line.total]


def _line(name: str, profile: str) -> Line:
    table, seeds = tables.load_table(name), profiles.load_profile(profile).seeds
    asked = tables.cell_experiments(table, profile, seeds, table.every_cell)
    experiments = dict.fromkeys(one for _, made in asked if not isinstance(made, str) for one in made)
    done, trouble = 0, ""
    for experiment in experiments:
        try:
            done += path_of(paths.records(), sources.pin(experiment).key()).exists()
        except SSHPEError as error:  # no data, and no record that would tell what the data was
            trouble = str(error)
    command = "" if done == len(experiments) else f"sshpe run {name} --profile {shlex.quote(profile)}"
    return Line(name, profile, done, len(experiments), command, trouble)
