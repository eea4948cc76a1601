"""What changed between two snapshots of a whole: pure, given the rows as JSON text.

Rows are numbered in the order they come, and a row's number is its key. A snapshot whose rows are
the same bytes in the same order as last time changes nothing. One that differs is emitted whole:
as created where the number is new, else as updated; numbers that are gone are deleted. The digest
is of the rows alone: what is emitted around them differs from time to time.

Emitting a large snapshot takes several commits. Before the first, `under_way` is recorded: it knows
of every row that may have been emitted, so that one that is cut short leaves none behind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from estuary_cdk.document import meta_json, stamped

DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Taken:
    """What is known of a snapshot: how many rows it had, and a digest of them in hexadecimal."""

    count: int
    digest: str


NOTHING: Final = Taken(0, "")


class Counter:
    """Counts and digests the rows of a snapshot while it is read."""

    def __init__(self) -> None:
        self._count = 0
        self._digest = blake2b(digest_size=DIGEST_BYTES)

    def add(self, rows: Sequence[bytes]) -> None:
        """Take the next rows."""
        self._count += len(rows)
        # Lengths keep rows apart: no two sequences of rows have the same bytes under the digest.
        self._digest.update(b"".join(b"%d:%b" % (len(row), row) for row in rows))

    def taken(self) -> Taken:
        """Return what is known once all rows are in."""
        return Taken(self._count, self._digest.hexdigest())


def changed(before: Taken, after: Taken) -> bool:
    """Tell whether there is anything to emit."""
    return before != after


def under_way(before: Taken, after: Taken) -> Taken:
    """Return what to record while `after` is being emitted: no digest, and all rows of both."""
    return Taken(max(before.count, after.count), "")


def documents(before: Taken, rows: Sequence[bytes], first: int) -> list[bytes]:
    """Return the documents of `rows`, of which the first has the number `first`."""
    return [
        stamped(row, meta_json("u" if number < before.count else "c", number))
        for number, row in enumerate(rows, first)
    ]


def tombstones(before: Taken, after: Taken, tombstone: bytes) -> Iterator[bytes]:
    """Yield the documents that delete the rows that are gone."""
    for number in range(after.count, before.count):
        yield stamped(tombstone, meta_json("d", number))
