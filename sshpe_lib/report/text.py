"""A table as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial

from sshpe_lib.report.blocks import GAP, Block, Column, Printed

WIDTH = 100
Heading = tuple[str, str]  # in two lines


def text(table: Printed, width: int = WIDTH) -> str:
    """The table in lines of at most 100 columns: a block for every column, the notes below.

    Columns of marks stand beside the numbers where there is room, else in a block of their own. width: of the prose.
    """
    wrapped = partial(textwrap.wrap, width=width)
    lines = wrapped(table.title)
    for block in table.blocks:
        beside = all(_fits(_numbers(table, block, column, marks=True)) for column in block.columns)
        if block.marks and not beside:
            lines += ["", *_marks(block)]
        for column in block.columns:
            lines += ["", *_numbers(table, block, column, marks=beside)]
            if not block.title:
                lines += wrapped(f"paper: {table.data}")
                lines += wrapped(f"ours:  {column.measured}")
    lines.append("")
    for number, reason in enumerate(table.reasons, 1):
        lines += wrapped(f"({number}) {reason}")
    for note in table.notes:
        lines += wrapped(note)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _numbers(table: Printed, block: Block, column: Column, marks: bool = False) -> list[str]:
    """One column of a block, with the columns of marks if `marks`."""
    names = block.marks if marks else ()
    headings = [(f"{column.name},", block.title) if block.title else ("", column.name)]
    headings += [("", name) for name in names]
    headings += [("paper", name) for name in column.paper]
    headings += [_ours(name) for name in column.ours] or [("our", column.paper[0])]
    rows = []
    for line in column.lines:
        ours = line.ours or (f"not run ({table.reason_number(line)})", *[""] * (len(column.ours) - 1))
        rows.append([line.row, *(line.marks if marks else ()), *line.paper, *ours])
    align = ("left", *["center"] * len(names), *["right"] * (len(headings) - 1 - len(names)))
    return _grid(headings, rows, align)


def _marks(block: Block) -> list[str]:
    """The marks of every row that has some."""
    marks = {line.row: line.marks for column in block.columns for line in column.lines if any(line.marks)}
    headings = [("", ""), *(("", name) for name in block.marks)]
    return _grid(
        headings, [[row, *those] for row, those in marks.items()], ("left", *["center"] * len(block.marks))
    )


def _ours(name: str) -> Heading:
    if name.endswith(GAP):
        return name.removesuffix(GAP).strip(), GAP
    return ("", name) if name in ("p", "seeds") else ("our", name)


def _grid(headings: Sequence[Heading], rows: list[list[str]], align: Sequence[str]) -> list[str]:
    """Columns two spaces apart under their headings; tabulate's own headings would make them wider."""
    from tabulate import tabulate

    heads = [line for line in map(list, zip(*headings, strict=True)) if any(line)]
    ruler = ["-" * max(map(len, column)) for column in zip(*heads, *rows, strict=True)]
    return tabulate(
        [*heads, ruler, *rows], tablefmt="plain", disable_numparse=True, colalign=align
    ).splitlines()


def _fits(lines: list[str]) -> bool:
    return max(map(len, lines)) <= WIDTH
