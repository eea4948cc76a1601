"""Messages of pgoutput, the stream of changes: taken apart, and turned into documents in batches.

A batch is what one read from the server brought. Its rows are gathered per table and converted a
column at a time, as a backfill's are; within a table their order is kept.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

import psycopg

from estuary_cdk.errors import CdkError, DataError, shortened
from estuary_cdk.kits.sql_cdc.database import Batch, Changes, Followed
from estuary_cdk.kits.sql_cdc.tables import TableId
from source_postgres.changes import (
    ChangeDecoder,
    Decoded,
    Gathered,
    Helper,
    Refetch,
    Shape,
    Task,
    decoded,
)
from source_postgres.column_types import Mapped
from source_postgres.documents import Heads, Origin, Transaction, lsn_text
from source_postgres.relations import Relation, relation

DECODE_BYTES: Final = 64 << 10
"""What fits into the processor's cache is decoded in two thirds of the time."""
# Between 1970, where Unix counts from, and 2000, where PostgreSQL does.
EPOCH_MS: Final = 946_684_800_000

_INSERTED, _UPDATED, _DELETED, _COMMITTED, _BEGUN, _RELATED, _TRUNCATED = b"IUDCBRT"
_CHANGES: Final = re.compile(rb"[IUD]+|[^IUD]", re.DOTALL)

_UINT32: Final = Struct(">I").unpack_from
_BEGIN: Final = Struct(">QqI").unpack_from
_COMMIT: Final = Struct(">BQQq").unpack_from

Lookup = Callable[[int], Mapped]


def _shape(seen: Relation, followed: Followed, lookup: Lookup) -> Shape:
    columns = followed.table.details.columns
    generated = {name for name, column in columns.items() if column.generated}
    keys = tuple(i for i, key in enumerate(seen.keys) if key)
    primary = tuple(seen.names.index(name) for name in followed.table.key if name in seen.names)
    position_key = None
    if followed.key is not None:
        position_key = tuple(seen.names.index(name) for name in followed.key)
    return Shape(
        seen,
        tuple(lookup(oid) for oid in seen.type_oids),
        tuple(index for index, name in enumerate(seen.names) if name not in generated),
        primary or (keys if seen.identity != "f" else ()),
        position_key,
        followed.binding,
    )


class TableChanges:
    """Gathers changes of one table."""

    def __init__(self, seen: Relation, followed: Followed, lookup: Lookup) -> None:
        self.table_id = followed.table.id
        shown = {column.name for column in followed.table.columns}
        # Columns that came since the last discovery are captured at once.
        known = set(followed.table.details.columns)
        self.altered = not shown <= set(seen.names) <= known or (
            followed.table.identity != str(seen.oid)
        )
        self.earlier: list[Task] = []
        """What was gathered while the table had other columns."""
        self._decoder = ChangeDecoder(_shape(seen, followed, lookup))
        self._messages: list[bytes] = []
        self._heads: list[Heads] = []
        self._begins: list[bytes] = []
        self._tails: list[bytes] = []
        self._layout = (0, 0)

    def take(
        self, messages: Sequence[bytes], kinds: bytes, heads: Heads, layout: tuple[int, int]
    ) -> None:
        """Take changes of one transaction, of these kinds, to be decoded together with others.

        Their LSNs and data are at the places in `layout`.
        """
        self._layout = layout
        count = len(messages)
        self._messages += messages
        self._heads += [heads] * count
        self._tails += [heads.tail] * count
        if kinds.count(_INSERTED) == count:
            self._begins += [heads.create] * count
        else:
            begins = {_INSERTED: heads.create, _UPDATED: heads.update, _DELETED: heads.delete}
            self._begins += map(begins.__getitem__, kinds)

    def taken(self) -> list[Task]:
        """Return the changes gathered so far, if there are any, and begin anew."""
        tasks, self.earlier = self.earlier, []
        if self._messages:
            gathered = Gathered(
                self._messages, self._heads, self._begins, self._tails, *self._layout
            )
            tasks.append((self._decoder, gathered))
            self._messages, self._heads, self._begins, self._tails = [], [], [], []
        return tasks


@dataclass(frozen=True, slots=True)
class _Undecoded:
    """A batch whose changes have yet to be decoded."""

    tasks: Sequence[tuple[TableId, Sequence[Task]]]
    position: str | None
    truncated: Sequence[TableId]
    altered: Sequence[TableId]

    def batch(self, decoded: Iterator[Decoded]) -> Batch:
        """Return the batch; takes what its tasks became, in their order."""
        changes = []
        for table_id, tasks in self.tasks:
            parts = [next(decoded) for _ in tasks]
            keys = (
                None if parts[-1].keys is None else [k for part in parts for k in part.keys or ()]
            )
            block = b"".join([part.block for part in parts])
            rows = sum(part.rows for part in parts)
            changes.append(Changes(table_id, keys=keys, block=block, rows=rows))
        return Batch(changes, self.position, self.truncated, self.altered)


class Decoder:
    """Decodes messages in order; keeps the tables it has seen and the transaction under way."""

    def __init__(
        self,
        lookup: Lookup,
        refetch: Refetch,
        origin: Origin,
        position: int,
        streamed: Callable[[int], None],
    ) -> None:
        self._streamed = streamed
        self._refetch = refetch
        self.position = position
        """End of the last transaction that was decoded, or from where the stream starts."""
        self.in_transaction = False
        self._lookup = lookup
        self._origin = origin
        self._followed: Mapping[TableId, Followed] = {}
        self._relations: dict[int, Relation] = {}
        self._tables: dict[int, TableChanges] = {}
        self._heads: dict[int, Heads] = {}
        self._transaction = Transaction(0, 0, 0, position)
        self._skipping = False
        self._truncated: list[TableId] = []
        self.helper: Helper | None = None
        """What decodes a half of large batches, once there is something."""

    def follow(self, followed: Mapping[TableId, Followed]) -> None:
        """Decode the changes of these tables alone from now on; between transactions."""
        self._followed = followed
        self._tables = {}
        for seen in self._relations.values():
            self._relate(seen)

    def decode(self, messages: Sequence[bytes], lsn_at: int, data_at: int) -> list[Batch]:
        """Decode messages, each with its LSN and its data at an offset.

        Returns batches up to a commit, and one of what comes after it, as far as there are.
        Raises DataError for messages that no server writes; whatever they are, for nothing else.
        """
        before = self.position
        try:
            return self._batches(messages, lsn_at, data_at)
        except (CdkError, psycopg.Error):
            raise
        except Exception as error:
            # Broken bytes make any of many operations fail, and all mean the same.
            raise DataError(
                f"can't decode changes behind {lsn_text(before)}: the server sent what "
                f"isn't pgoutput's ({type(error).__name__}: {shortened(str(error), 100)})",
                hint="start the capture again; if it fails at the same place, report it",
            ) from error

    def _batches(self, messages: Sequence[bytes], lsn_at: int, data_at: int) -> list[Batch]:
        gathered: list[_Undecoded] = []
        step = max(1, DECODE_BYTES * len(messages) // (1 + sum(map(len, messages))))
        for first in range(0, len(messages), step):
            some = messages[first : first + step]
            end = len(some)
            while end and some[end - 1][data_at] != _COMMITTED:
                end -= 1
            if end:
                self._take(some[:end], lsn_at, data_at)
                gathered.append(self._gathered(lsn_text(self.position)))
            if end < len(some):
                self._take(some[end:], lsn_at, data_at)
                gathered.append(self._gathered(None))
        tasks = [task for each in gathered for _, some in each.tasks for task in some]
        results = iter(decoded(tasks, self._refetch, self.helper))
        return [each.batch(results) for each in gathered]

    def _gathered(self, position: str | None) -> _Undecoded:
        taken = [(table.table_id, table.taken()) for table in self._tables.values()]
        tasks = [each for each in taken if each[1]]
        altered = [table.table_id for table in self._tables.values() if table.altered]
        for table in self._tables.values():
            table.altered = False
        truncated, self._truncated = self._truncated, []
        return _Undecoded(tasks, position, truncated, altered)

    def _take(self, messages: Sequence[bytes], lsn_at: int, data_at: int) -> None:
        kinds = bytes([message[data_at] for message in messages])
        for found in _CHANGES.finditer(kinds):
            first, end = found.span()
            if found[0][0] not in b"IUD":
                self._control(kinds[first], messages[first], data_at + 1)
            elif not self._skipping:
                self._rows(messages[first:end], kinds[first:end], lsn_at, data_at)

    def _rows(self, messages: Sequence[bytes], kinds: bytes, lsn_at: int, data_at: int) -> None:
        """Hand changes of one transaction to their tables."""
        at, end = data_at + 1, data_at + 5
        tables = {message[at:end] for message in messages}
        for table in tables:
            [oid] = _UINT32(table)
            decoder = self._tables.get(oid)
            if decoder is None:
                continue
            heads = self._heads.get(oid)
            if heads is None:
                heads = self._origin.heads(decoder.table_id, self._transaction)
                self._heads[oid] = heads
            of_table = messages
            if len(tables) > 1:
                of_table = [message for message in messages if message[at:end] == table]
                kinds = bytes([message[data_at] for message in of_table])
            decoder.take(of_table, kinds, heads, (lsn_at, data_at))

    def _control(self, kind: int, message: bytes, at: int) -> None:
        if kind == _COMMITTED:
            _, _, end, _ = _COMMIT(message, at)
            self.position = max(self.position, end) if self._skipping else end
            self.in_transaction = False
        elif kind == _BEGUN:
            final, moment, xid = _BEGIN(message, at)
            self._transaction = Transaction(final, moment // 1000 + EPOCH_MS, xid, self.position)
            self._heads.clear()
            self._streamed(xid)
            self._skipping = final < self.position
            self.in_transaction = True
        elif kind == _RELATED:
            seen = relation(message, at)
            self._relations[seen.oid] = seen
            self._relate(seen)
        elif kind == _TRUNCATED and not self._skipping:
            [count] = _UINT32(message, at)
            for oid in _oids(message, at + 5, count):
                if oid in self._tables:
                    self._truncated.append(self._tables[oid].table_id)

    def _relate(self, seen: Relation) -> None:
        followed = self._followed.get(seen.id)
        if followed is None:
            self._tables.pop(seen.oid, None)
            return
        before = self._tables.get(seen.oid)
        changes = TableChanges(seen, followed, self._lookup)
        if before is not None:
            # The rows so far had other columns; they stay what they are.
            changes.earlier = before.taken()
        self._tables[seen.oid] = changes


def _oids(message: bytes, at: int, count: int) -> list[int]:
    return [_UINT32(message, at + 4 * index)[0] for index in range(count)]
