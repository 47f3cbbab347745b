"""The keys of a few committed records to train again, other ones every night.

    python -m tests.tonight [COUNT]

Of every kind of experiment, which is a network with a teacher and augmentations, the record that took least time; of
these COUNT a night (3), in turn.
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime

from sshpe_lib import paths, records
from sshpe_lib.records import Record

COUNT = 3


def kind_of(record: Record) -> tuple:
    """What two experiments share that run the same code."""
    made = record.experiment
    operations = [
        tuple(operation.kind for operation in some) for some in (made.augment.strong, made.augment.dropping)
    ]
    return made.model.network, made.teacher.kind, made.data.codec, *operations


def candidates() -> list[Record]:
    """The cheapest record of each kind, from drawn people and without a first stage, which would have to be trained."""
    committed = [one for one in records.read_all(paths.records()) if one.experiment.start is None]
    drawn = [one for one in committed if one.experiment.data.labeled.kind == "synthetic"]
    cheapest: dict[tuple, Record] = {}
    for record in sorted(drawn, key=lambda one: (one.provenance.seconds, one.key)):
        cheapest.setdefault(kind_of(record), record)
    return list(cheapest.values())


def chosen(day: date, count: int = COUNT) -> list[str]:
    """The keys of a day."""
    keys = [record.key for record in candidates()]
    first = day.toordinal() * count
    return [keys[number % len(keys)] for number in range(first, first + count)]


if __name__ == "__main__":
    print(*chosen(datetime.now(UTC).date(), *map(int, sys.argv[1:])))
