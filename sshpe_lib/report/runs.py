"""Where a study's numbers come from: one line a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sshpe_lib.report.results import Study

if TYPE_CHECKING:
    import pandas as pd


def runs(study: Study) -> pd.DataFrame:
    """A line for every record of a study, by key: what ran, AP in percent of both networks, time, machine.

    The table's column is left out where there is one only. A commit ending in "+" had changes that were not
    committed. `sshpe reproduce KEY` trains a record again.
    """
    import pandas as pd

    lines = []
    for cell, record in study.runs():
        made = record.provenance
        aps = {network: metrics["AP"] for network, metrics in record.metrics.items()}
        lines.append(
            {
                "row": cell.row,
                "column": cell.column,
                "seed": record.experiment.train.seed,
                "student AP": f"{aps['student']:.1f}",
                "teacher AP": f"{aps['teacher']:.1f}" if "teacher" in aps else "–",
                "seconds": round(made.seconds),
                "commit": made.commit[:9] + ("+" if made.dirty else ""),
                "device": made.device.replace(" ", "\u00a0"),  # on one line of a page
                "precision": record.precision,
                "threads": made.threads,
                "torch": made.versions.get("torch", "unknown"),
            }
        )
    frame = pd.DataFrame(lines, index=[record.key for _, record in study.runs()])
    return frame if frame["column"].nunique() > 1 else frame.drop(columns="column")
