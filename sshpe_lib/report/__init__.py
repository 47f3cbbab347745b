"""Records turned into what people look at: tables, learning curves, pictures of test people."""

from __future__ import annotations

from sshpe_lib.report.curves import curves
from sshpe_lib.report.people import Picture, people
from sshpe_lib.report.results import Result, Study
from sshpe_lib.report.runs import runs
from sshpe_lib.report.scenes import Scene, scenes
from sshpe_lib.report.table import TableView, table, to_text

__all__ = [
    "Picture", "Result", "Scene", "Study", "TableView", "curves", "people", "runs", "scenes", "table", "to_text",
]  # fmt: skip
