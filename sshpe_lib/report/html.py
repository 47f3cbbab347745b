"""A table as HTML for a notebook and a page."""

from __future__ import annotations

from html import escape

from sshpe_lib.report.blocks import GAP, Block, Column, Line, Printed

TICK = "✓"

# Inline, because a notebook page keeps no style sheet of ours; colours are the page's own, light or dark.
# Small and tight, so that most tables fit the text of a page; a wider one scrolls.
_PADDING = "padding:.35em .4em"
_NAME = f"{_PADDING}; text-align:right; vertical-align:bottom"
_NUMBER = f"{_PADDING}; text-align:right; white-space:nowrap; font-variant-numeric:tabular-nums"
_HEAD = f"{_PADDING}; text-align:center; vertical-align:bottom"
_SOURCE = f"{_HEAD}; font-weight:normal; font-size:smaller"
_LEFT = f"{_PADDING}; text-align:left; white-space:nowrap"
_UPRIGHT = "writing-mode:vertical-rl; transform:rotate(180deg); white-space:nowrap"
_RULE = "; border-left:1px solid currentColor"


def html(table: Printed) -> str:
    """The table, wide ones in a box that scrolls, and its notes."""
    reasons = [f"<sup>{number}</sup> {escape(reason)}" for number, reason in enumerate(table.reasons, 1)]
    notes = "<br>".join([*reasons, *(escape(note) for note in table.notes)])
    return (
        f"<p><strong>{escape(table.title)}</strong></p>"
        + "".join(_block(table, block) for block in table.blocks)
        + f'<p style="font-size:smaller">{notes}</p>'
    )


def _block(table: Printed, block: Block) -> str:
    heads = [[_cell("th", "", _LEFT, 1 + len(block.marks))] for _ in range(2)]
    heads.append([_cell("th", block.title, _LEFT), *_mark_heads(block)])
    for column in block.columns:
        for line, cells in zip(heads, _heads(table, block, column), strict=True):
            line += cells
    rows = [_row(table, block, row) for row in block.rows()]
    head, body = ("".join(f"<tr>{''.join(cells)}</tr>" for cells in lines) for lines in (heads, rows))
    return (
        f'<div style="overflow-x:auto"><table class="table" style="font-size:.82em"><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _mark_heads(block: Block) -> list[str]:
    """The names of the columns of marks; upright over mere ticks, which are narrower than any name."""
    heads = []
    for index, name in enumerate(block.marks):
        found = {line.marks[index] for column in block.columns for line in column.lines}
        upright = found <= {"", TICK}
        inside = f'<span style="{_UPRIGHT}">{escape(name)}</span>' if upright else escape(name)
        heads.append(f'<th style="{_HEAD}">{inside}</th>')
    return heads


def _heads(table: Printed, block: Block, column: Column) -> tuple[list[str], list[str], list[str]]:
    """A column's cells of the three heading lines: its name, whose data, which number."""
    ours = column.ours or ("",)
    whose = ("paper", "ours") if block.title else (f"paper: {table.data}", f"ours: {column.measured}")
    sources = [
        _cell("th", whose[0], _SOURCE + _RULE, len(column.paper)),
        _cell("th", whose[1], _SOURCE, len(ours)),
    ]
    shown = [name.replace(GAP, GAP.replace(" ", "\u00a0")) for name in (*column.paper, *ours)]
    names = [_cell("th", name, _NAME + _RULE * (i == 0)) for i, name in enumerate(shown)]
    return [_cell("th", column.name, _HEAD + _RULE, len(column.paper) + len(ours))], sources, names


def _row(table: Printed, block: Block, row: str) -> list[str]:
    found = {column.name: line for column in block.columns for line in column.lines if line.row == row}
    marks = next(iter(found.values())).marks
    cells = [_cell("th", row, _LEFT), *(_cell("td", mark, _HEAD) for mark in marks)]
    for column in block.columns:
        cells += _numbers(table, column, found.get(column.name))
    return cells


def _numbers(table: Printed, column: Column, line: Line | None) -> list[str]:
    """A row's cells under one column; one empty cell where the table has no such number."""
    width = max(len(column.ours), 1)
    if line is None:
        return [_cell("td", "", _HEAD + _RULE, len(column.paper) + width)]
    cells = [_cell("td", text, _NUMBER + _RULE * (i == 0)) for i, text in enumerate(line.paper)]
    if line.ours:
        return cells + [_cell("td", text, _NUMBER) for text in line.ours]
    note = f"not run<sup>{table.reason_number(line)}</sup>"
    return [*cells, f'<td colspan="{width}" style="{_HEAD}; white-space:nowrap">{note}</td>']


def _cell(tag: str, text: str, style: str, span: int = 1) -> str:
    columns = f' colspan="{span}"' if span > 1 else ""
    return f'<{tag}{columns} style="{style}">{escape(text)}</{tag}>'
