"""Where a study's numbers come from: one line a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sshpe_lib.report.results import Study

if TYPE_CHECKING:
    import pandas as pd


def runs(study: Study) -> pd.DataFrame:
    """A line for every record of a study, by key: what ran, AP in percent of both networks, time, machine.

    The table's column is left out where there is one only. A commit ending in "+" had changes that were not
    committed. Where a run went on with other code or on another machine, those of all its parts are told, in order.
    `sshpe reproduce KEY` trains a record again.
    """
    import pandas as pd

    lines = []
    for cell, record in study.runs():
        made = record.provenance
        parts = [made.model_dump() | other for other in (*made.earlier, {})]
        aps = {network: metrics["AP"] for network, metrics in record.metrics.items()}
        lines.append(
            {
                "row": cell.row,
                "column": cell.column,
                "seed": record.experiment.train.seed,
                "student AP": f"{aps['student']:.1f}",
                "teacher AP": f"{aps['teacher']:.1f}" if "teacher" in aps else "–",
                "seconds": round(made.seconds),
                "commit": f"{_all(part['commit'][:9] for part in parts)}{'+' if made.dirty else ''}",
                # Without a break, on one line of a page.
                "device": _all(part["device"].replace(" ", "\u00a0") for part in parts),
                "precision": _all(part["precision"] or record.precision for part in parts),
                "threads": _all(part["threads"] for part in parts),
                "torch": _all(part["versions"].get("torch", "unknown") for part in parts),
            }
        )
    frame = pd.DataFrame(lines, index=[record.key for _, record in study.runs()])
    return frame if frame["column"].nunique() > 1 else frame.drop(columns="column")


def _all(values: Iterable[object]) -> object:
    """The value that all parts of a run have, or each of several once."""
    first, *others = dict.fromkeys(values)
    return ", ".join(map(str, (first, *others))) if others else first
