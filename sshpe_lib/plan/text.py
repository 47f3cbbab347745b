"""A plan as text of at most 100 columns, and its prose of as many as are wanted."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from sshpe_lib.plan.cost import COUNTING_RULE
from sshpe_lib.plan.devices import Size
from sshpe_lib.plan.lines import Line, Plan
from sshpe_lib.report.entries import setting

TEXT_WIDTH = 100
UNKNOWN = "?"
NOTHING = "–"
_HEADINGS = ("net", "labels", "pool", "epochs", "steps", "FLOP", "hours", "disk", "records")
_GAP = "  "  # between two columns
_LEGEND = (
    "Each row is one run, once for each seed; pool: unlabelled people (bottom-up: images); epochs: passes over the "
    "pool; hours: training and evaluation; disk: what the run leaves behind, its networks and Adam's two moments in "
    "float32 (twice that while a checkpoint is written) and a record of at most 20 KB; records: found, of those wanted."
)
_NOT_MEASURED = (
    "not measured; --measure times a few steps here, --device NAME takes another device of params/devices.yaml, "
    "--tflops X assumes a throughput"
)


class _Names(textwrap.TextWrapper):
    """Folds names at every hyphen, as in "HRNet-W32", where `textwrap` wants two letters behind it."""

    wordsep_re = re.compile(r"(\s+)|(?<=-)")


def to_text(
    plan: Plan, devices: Sequence[int] = (), price: float | None = None, width: int = TEXT_WIDTH
) -> str:
    """The plan in print: a block for each column of the paper's table, totals, the rates, the data.

    devices: numbers of them for which the time side by side is told; price: of an hour on one; width: of the prose.
    """
    seeds = f"{plan.seeds} seed" + ("s" if plan.seeds > 1 else "")
    lines = _wrapped(
        f"Plan of {plan.table.name} on profile {plan.profile}, {seeds}: {plan.description}", width
    )
    notes: list[str] = []
    for column in dict.fromkeys(line.cell.column for line in plan.lines):
        inside = [line for line in plan.lines if line.cell.column == column]
        lines += ["", *_block(column, [line for line in inside if not line.not_run], notes, width)]
        for reason, rows in _left_out(inside):
            lines += _wrapped(f"{column}, not run on {plan.profile} ({reason}): {rows}", width, "  ")
    lines.append("")
    for number, note in enumerate(notes, 1):
        lines += _wrapped(f"({number}) {note}", width, "    ")
    for paragraph in (_total(plan, devices, price), _LEGEND, COUNTING_RULE):
        lines += [*_wrapped(paragraph, width), ""]
    lines += [*_rates(plan, width), "", *_data(plan, width)]
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _block(column: str, inside: list[Line], notes: list[str], prose: int) -> list[str]:
    """One column of the paper's table; a row that is an earlier one's runs again gets a note."""
    if not inside:
        return []
    numbers = [_HEADINGS, *(_numbers(line) for line in inside)]
    widths = [max(map(len, texts)) for texts in zip(*numbers, strict=True)]
    # What the numbers leave of the width goes to the names, half of it at most to the method's, less where a row's
    # words would be cut.
    room = TEXT_WIDTH - len(_GAP.join(" " * width for width in widths)) - 2 * len(_GAP)
    names = [(column, "method")]
    names += [(line.cell.row + _note(line, notes), line.cell.method or "") for line in inside]
    whole = max(len(part or "") for name, _ in names for part in _Names.wordsep_re.split(name))
    method = min(max(len(how) for _, how in names), room // 2, max(room - whole, len("method")))
    row = min(max(len(name) for name, _ in names), room - method)
    head, *body = (
        _folded(pair, (row, method), texts, widths) for pair, texts in zip(names, numbers, strict=True)
    )
    rule = ["-" * len(head[0])]
    experiments = [one for line in inside for one in line.experiments]
    return [
        *head,
        *rule,
        *(part for parts in body for part in parts),
        *_wrapped(f"each {setting(experiments)}", prose),
    ]


def _note(line: Line, notes: list[str]) -> str:
    """The number of a new note on a line whose runs are another's; nothing for the others."""
    if line.same_as is None:
        return ""
    notes.append(f"the runs of {line.same_as.cell.row}, {line.same_as.cell.column}; counted once")
    return f" ({len(notes)})"


def _folded(
    names: tuple[str, str], name_widths: tuple[int, int], numbers: Iterable[str], widths: list[int]
) -> list[str]:
    """The lines of a row: names folded to their widths, the numbers beside their first lines."""
    row, method = (_Names(width).wrap(name) for name, width in zip(names, name_widths, strict=True))
    right = _GAP.join(text.rjust(width) for text, width in zip(numbers, widths, strict=True))
    lines = []
    for i in range(max(len(row), len(method))):
        left = [(part[i] if i < len(part) else "") for part in (row, method)]
        padded = [text.ljust(width) for text, width in zip(left, name_widths, strict=True)]
        lines.append(_GAP.join([*padded, right if i == 0 else ""]))
    return lines


def _numbers(line: Line) -> list[str]:
    first, cost = line.experiments[0], line.cost
    return [
        first.model.short,
        "all" if first.data.labels is None else f"{first.data.labels:,}",
        _count(line.pool) if first.semi_supervised else NOTHING,
        NOTHING if line.epochs is None else f"{line.epochs:.3g}",
        _count(cost.steps),
        operations(cost.flops),
        _hours(line.hours),
        number_of_bytes(cost.disk),
        f"{UNKNOWN if line.recorded is None else line.recorded} of {len(line.experiments)}",
    ]


def _left_out(inside: list[Line]) -> Iterator[tuple[str, str]]:
    """Every reason for which cells are not run, with their rows."""
    for reason in dict.fromkeys(line.not_run for line in inside if line.not_run):
        yield reason, ", ".join(line.cell.row for line in inside if line.not_run == reason)


def _total(plan: Plan, devices: Sequence[int] = (), price: float | None = None) -> str:
    wanted = sum(len(line.experiments) for line in plan.distinct)
    shared = sum(len(line.experiments) for line in plan.lines if line.same_as)
    recorded = sum(line.recorded or 0 for line in plan.distinct)
    runs = sum(line.runs_left for line in plan.distinct)
    once = f" (and {shared} that rows share, counted once)" if shared else ""
    told = f"Total: {wanted} runs{once}, {recorded} with a record, {runs} left"
    if plan.first_stages:
        told += f", after {len(plan.first_stages)} first stage(s) that no checkpoint here holds"
    if runs:
        told += f": {operations(plan.flops)}FLOP ({operations(plan.evaluation)} of them in evaluations), "
        told += f"{_hours(plan.hours)} h one after another, "
        told += "".join(f"{_hours(plan.hours_on(many))} h on {many} at once, " for many in devices)
        if price is not None:
            cost = UNKNOWN if plan.hours is None else f"{plan.hours * price:,.2f}"
            told += f"{cost} at {price:g} an hour, "
        told += f"{number_of_bytes(plan.disk)} of disk"
    if plan.unknown_records:
        told += f". Some records cannot be looked for and are not counted: {plan.unknown_records}"
    return told


def _rates(plan: Plan, width: int) -> list[str]:
    """What a step of each size takes, how fast it goes, and who says so."""
    rates = plan.rates
    if rates.assumed:
        told = f"ASSUMED {rates.assumed / 1e12:,.4g} TFLOP/s sustained (--tflops), not measured"
    else:
        told = f"on {rates.device}"
        if rates.cuda_graphs:
            told += ", with --cuda-graphs, which `sshpe run` is to be given too"
    lines = _wrapped(
        f"Hours: {told}; reading the images is not in them, and may be slower than the steps.", width
    )
    for size, step in _largest_steps(plan):
        told = f"{size}: {operations(step)}FLOP a step"
        if size in rates.by_size:
            told += f" at {rates.by_size[size] / 1e12:,.3g} TFLOP/s ({rates.sources[size]})"
        elif not rates.assumed:
            told += f"; {_NOT_MEASURED}"
        lines += _wrapped(f"- {told}", width, "  ")
    return lines


def _largest_steps(plan: Plan) -> Iterator[tuple[Size, int]]:
    """Every size of the steps that are planned, with the FLOPs of a step of its largest run."""
    largest: dict[Size, int] = {}
    for line in (*plan.distinct, *plan.first_stages):
        size = Size.of(line.experiments[0])
        largest[size] = max(largest.get(size, 0), line.cost.step)
    yield from largest.items()


def _data(plan: Plan, width: int) -> list[str]:
    """What there is of the data, and what would stop a run."""
    lines = []
    for kinds, found in plan.found:
        first, *more = found.said
        lines += _wrapped(f"Data, {' and '.join(kinds)}: {first}", width, "  ")
        for said in more:
            lines += _wrapped(f"  {said}", width, "    ")
    for told in plan.weights:
        lines += _wrapped(told, width, "  ")
    for labels, there, what in sorted(set(map(_labels, plan.distinct))):
        if there and labels > there:
            lines += _wrapped(f"A RUN WOULD STOP: {labels:,} labels are wanted of {there:,} {what}", width)
    return lines


def _labels(line: Line) -> tuple[int, int, str]:
    """Labels that a line wants, those there are (0 where not known), and of what."""
    first = line.experiments[0]
    return first.data.labels or 0, line.people or 0, "images" if first.bottom_up else "people"


def number_of_bytes(count: float) -> str:
    """Bytes in print, such as 246 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{_three_digits(count)} TB"


def _three_digits(value: float) -> str:
    """Three digits below 1,000, whole numbers above."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _hours(value: float | None) -> str:
    """Hours in print: two digits below 10, whole ones above."""
    if value is None:
        return UNKNOWN
    return f"{value:.2g}" if value < 9.95 else f"{value:,.0f}"


def operations(flops: float | None) -> str:
    """A number of operations with its prefix, such as 183 P."""
    if flops is None:
        return f"{UNKNOWN} "
    for prefix in ("", "k", "M", "G", "T", "P"):
        if flops < 999.5:
            return f"{flops:.3g} {prefix}"
        flops /= 1000
    return f"{_three_digits(flops)} E"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns; those after the first indented."""
    return textwrap.wrap(text, width, subsequent_indent=indent)
