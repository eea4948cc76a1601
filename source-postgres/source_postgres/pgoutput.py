"""Messages of pgoutput, the stream of changes: taken apart, and turned into documents in batches.

A batch is what one read from the server brought. Its rows are gathered per table and converted a
column at a time, as a backfill's are; within a table their order is kept.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from struct import Struct, unpack
from typing import Final

import psycopg

from estuary_cdk.errors import CdkError, DataError, shortened
from estuary_cdk.kits.sql_cdc.database import Batch, Changes, Followed
from estuary_cdk.kits.sql_cdc.tables import TableId
from estuary_cdk.protocol.codec import encode_json
from source_postgres.column_types import Mapped
from source_postgres.documents import Heads, Origin, Transaction, lsn_text
from source_postgres.fitting import BEFORE_BYTES_MAX, fitted
from source_postgres.keys import pack_key, packer_of
from source_postgres.rows import Template, numbers
from source_postgres.tuples import UNCHANGED, Fields, Rows, Splitter, tuple_fields

# Between 1970, where Unix counts from, and 2000, where PostgreSQL does.
EPOCH_MS: Final = 946_684_800_000

_INSERTED, _UPDATED, _DELETED, _COMMITTED, _BEGUN, _RELATED, _TRUNCATED = b"IUDCBRT"
_NEW, _KEY, _OLD = b"NKO"
_CHANGES: Final = re.compile(rb"[IUD]+|[^IUD]", re.DOTALL)

_UINT16: Final = Struct(">H").unpack_from
_UINT32: Final = Struct(">I").unpack_from
_UINT64: Final = Struct(">Q").unpack_from
_BEGIN: Final = Struct(">QqI").unpack_from
_COMMIT: Final = Struct(">BQQq").unpack_from

_BARE_META: Final = (b"", b"", b"", b"")

Record = tuple[bytes, int, bytes, Fields, bool]
"""Head of `_meta` up to the LSN, the LSN, the rest of `_meta`, fields, whether all are there."""

Marks = tuple[list[bytes], list[bytes]]
"""What comes before and after the LSN in `_meta`, for each message."""

Lookup = Callable[[int], Mapped]
Refetch = Callable[["Relation", Sequence[Mapped], Sequence[int], Fields], Fields]
"""Returns a row, found by the columns of its key, with what was left out of it."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the stream describes it."""

    oid: int
    id: TableId
    identity: str
    names: tuple[str, ...]
    type_oids: tuple[int, ...]
    keys: tuple[bool, ...]


def relation(data: bytes, at: int) -> Relation:
    """Read a Relation message."""
    [oid] = _UINT32(data, at)
    namespace, at = _text(data, at + 4)
    name, at = _text(data, at)
    identity = chr(data[at])
    [count] = _UINT16(data, at + 1)
    at += 3
    names, types, keys = [], [], []
    for _ in range(count):
        keys.append(bool(data[at] & 1))
        column, at = _text(data, at + 1)
        names.append(column)
        types.append(_UINT32(data, at)[0])
        at += 8
    return Relation(
        oid, (namespace or "pg_catalog", name), identity, tuple(names), tuple(types), tuple(keys)
    )


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


class TableDecoder:
    """Turns changes of one table into documents."""

    def __init__(
        self, seen: Relation, followed: Followed, lookup: Lookup, refetch: Refetch
    ) -> None:
        self._refetch = refetch
        self.relation = seen
        self.table_id = followed.table.id
        shown = {column.name for column in followed.table.columns}
        generated = {
            name for name, column in followed.table.details.columns.items() if column.generated
        }
        # Columns that came since the last discovery are captured at once.
        known = set(followed.table.details.columns)
        self.altered = not shown <= set(seen.names) <= known or (
            followed.table.identity != str(seen.oid)
        )
        self._shown = tuple(index for index, name in enumerate(seen.names) if name not in generated)
        self._mapped = [lookup(oid) for oid in seen.type_oids]
        self._binding = followed.binding
        self._templates: dict[tuple[int, ...], Template] = {}
        self._key = tuple(i for i, key in enumerate(seen.keys) if key)
        self._position_key: tuple[int, ...] | None = None
        if followed.key is not None:
            self._position_key = tuple(seen.names.index(name) for name in followed.key)
        self._primary = tuple(
            seen.names.index(name) for name in followed.table.key if name in seen.names
        )
        self._identity = self._primary or (self._key if seen.identity != "f" else ())
        self._splitter = Splitter(len(seen.names))
        self._messages: list[bytes] = []
        self._heads: list[Heads] = []
        self._begins: list[bytes] = []
        self._tails: list[bytes] = []
        self._layout = (0, 0)
        self.earlier: Changes | None = None

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

    @property
    def pending(self) -> bool:
        """Whether changes wait to be decoded."""
        return bool(self._messages)

    def taken(self) -> Changes | None:
        """Return the changes gathered so far, if there are any, and begin anew."""
        messages, self._messages = self._messages, []
        heads, self._heads = self._heads, []
        marks = self._begins, self._tails
        self._begins, self._tails = [], []
        earlier, self.earlier = self.earlier, None
        if not messages:
            return earlier
        lines, keys = self._decoded(messages, heads, marks)
        block = lines if isinstance(lines, bytes) else b"".join(lines)
        rows = len(messages) if isinstance(lines, bytes) else len(lines)
        if block.count(b"\n") != rows:
            raise DataError(f"a value of {self.relation.id} has a line break where none can be")
        if earlier is not None:
            block, rows = earlier.block + block, earlier.rows + rows
            keys = None if keys is None else [*(earlier.keys or ()), *keys]
        return Changes(self.table_id, keys=keys, block=block, rows=rows)

    def _decoded(
        self, messages: list[bytes], heads: list[Heads], marks: Marks
    ) -> tuple[bytes | list[bytes], list[bytes] | None]:
        """Return lines of changes and the packed keys of their rows, if they are wanted.

        The lines are in one piece where each message is one.
        """
        data_at = self._layout[1]
        row_at = data_at + 6
        rows: list[Rows] = []
        other = [i for i, message in enumerate(messages) if message[row_at - 1] != _NEW]
        if not other:
            rows, other = self._splitter.split(messages, row_at)
        elif len(other) < len(messages):
            apart = set(other)
            new = [i for i in range(len(messages)) if i not in apart]
            found, rest = self._splitter.split([messages[i] for i in new], row_at)
            rows = [replace(each, places=[new[i] for i in each.places]) for each in found]
            other = sorted([*other, *(new[i] for i in rest)])
        if len(rows) == 1 and not other:
            return self._split(rows[0], messages, marks), self._keys_of(rows[0].columns)
        lines: list[bytes] = []
        places: list[int] = []
        keys: list[bytes] = []
        for each in rows:
            lines += self._split(each, messages, marks).splitlines(keepends=True)
            places += each.places
            keys += self._keys_of(each.columns) or ()
        records: list[Record] = []
        for place in other:
            records += self._records(messages[place], heads[place])
            places += [place] * (len(lines) + len(records) - len(places))
        if records:
            lines += self._lines(records)
        order = sorted(range(len(lines)), key=places.__getitem__)
        lines = [lines[i] for i in order]
        if self._position_key is None:
            return lines, None
        if records:
            keys += self._keys_of(list(zip(*[record[3] for record in records], strict=True))) or ()
        return lines, [keys[i] for i in order]

    def _split(self, rows: Rows, messages: list[bytes], marks: Marks) -> bytes:
        """Return the lines of rows that are in the table now."""
        lsn_at, _ = self._layout
        begins, tails = marks
        if len(rows.places) < len(messages):
            messages, begins, tails = (
                [each[i] for i in rows.places] for each in (messages, begins, tails)
            )
        lsns = unpack(
            f">{len(messages)}Q", b"".join([message[lsn_at : lsn_at + 8] for message in messages])
        )
        shape = self._shown
        if rows.left_out:
            shape = tuple(i for i in shape if i not in rows.left_out)
        meta = [begins, numbers(lsns), tails]
        columns = [rows.columns[i] for i in shape]
        return self._template(shape).lines(meta, columns, len(messages))

    def _keys_of(self, columns: Sequence[Sequence[bytes]]) -> list[bytes] | None:
        if self._position_key is None:
            return None
        packers = [packer_of(self._mapped[i]) for i in self._position_key]
        keys = zip(*[columns[i] for i in self._position_key], strict=True)
        return [pack_key(key, packers) for key in keys]

    def _records(self, data: bytes, heads: Heads) -> Iterable[Record]:
        lsn_at, data_at = self._layout
        [lsn] = _UINT64(data, lsn_at)
        kind, at = data[data_at], data_at + 5
        if kind == _INSERTED:
            fields = tuple_fields(data, at + 1)[0]
            return [(heads.create, lsn, heads.tail, fields, UNCHANGED not in fields)]
        if kind == _UPDATED:
            return self._update(data, at, heads, lsn)
        whole = data[at] == _OLD
        fields = tuple_fields(data, at + 1)[0]
        if not whole:
            fields = self._only(fields, self._key)
        return [(heads.delete, lsn, heads.tail, fields, whole)]

    def _update(self, data: bytes, at: int, heads: Heads, lsn: int) -> Iterable[Record]:
        """Decode an Update; one whose key changed is a deletion and a creation."""
        kind = data[at]
        old: Fields | None = None
        if kind != _NEW:
            old, at = tuple_fields(data, at + 1)
        fields = tuple_fields(data, at + 1)[0]
        complete = UNCHANGED not in fields
        if old is None:
            return [(heads.update, lsn, heads.tail, fields, complete)]
        if kind == _OLD and not complete:
            fields = [
                before if after == UNCHANGED else after
                for before, after in zip(old, fields, strict=True)
            ]
            complete = True
        if kind == _KEY:
            old = self._only(old, self._key)
        if any(old[i] != fields[i] and fields[i] != UNCHANGED for i in self._identity):
            gone = old if kind == _OLD else self._only(old, self._key)
            if not complete:
                fields = self._refetch(self.relation, self._mapped, self._identity, fields)
                complete = UNCHANGED not in fields
            return [
                (heads.delete, lsn, heads.tail, gone, kind == _OLD),
                (heads.create, lsn, heads.tail, fields, complete),
            ]
        before = b'%b,"before":{%b}}' % (heads.tail[:-1], self._members(old))
        return [(heads.update, lsn, before, fields, complete)]

    @staticmethod
    def _only(fields: Fields, positions: tuple[int, ...]) -> Fields:
        """Leave out what isn't among `positions`."""
        kept = set(positions)
        return [raw if i in kept else UNCHANGED for i, raw in enumerate(fields)]

    def _members(self, fields: Fields) -> bytes:
        """Return the members of an object with those columns that are there."""
        there = [index for index in self._shown if fields[index] != UNCHANGED]
        values = [self._mapped[index].convert([fields[index]])[0] for index in there]
        names = [encode_json(self.relation.names[index]) for index in there]
        values = fitted(values, BEFORE_BYTES_MAX, [self._mapped[i].encoded for i in there])
        return b",".join([b"%b:%b" % each for each in zip(names, values, strict=True)])

    def _lines(self, records: list[Record]) -> list[bytes]:
        if all(record[4] for record in records):
            return self._shaped(records, self._shown)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for position, record in enumerate(records):
            fields = record[3]
            shape = (
                self._shown
                if record[4]
                else tuple(i for i in self._shown if fields[i] != UNCHANGED)
            )
            shapes.setdefault(shape, []).append(position)
        lines = [b""] * len(records)
        for shape, positions in shapes.items():
            shaped = self._shaped([records[position] for position in positions], shape)
            for position, line in zip(positions, shaped, strict=True):
                lines[position] = line
        return lines

    def _shaped(self, records: list[Record], shape: tuple[int, ...]) -> list[bytes]:
        """Convert rows that have the same columns."""
        heads, lsns, tails, rows, _ = zip(*records, strict=True)
        columns = list(map(list, zip(*rows, strict=True)))
        meta = [heads, numbers(lsns), tails]
        block = self._template(shape).lines(meta, [columns[i] for i in shape], len(records))
        return block.splitlines(keepends=True)

    def _template(self, shape: tuple[int, ...]) -> Template:
        form = self._templates.get(shape)
        if form is None:
            names = [self.relation.names[i] for i in shape]
            types = [self._mapped[i] for i in shape]
            form = self._templates[shape] = Template(self._binding, _BARE_META, names, types)
        return form


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
        self._tables: dict[int, TableDecoder] = {}
        self._heads: dict[int, Heads] = {}
        self._transaction = Transaction(0, 0, 0, position)
        self._skipping = False
        self._truncated: list[TableId] = []

    def follow(self, followed: Mapping[TableId, Followed]) -> None:
        """Decode the changes of these tables alone from now on; between transactions."""
        self._followed = followed
        self._tables = {}
        for seen in self._relations.values():
            self._relate(seen)

    def decode(self, messages: Sequence[bytes], lsn_at: int, data_at: int) -> list[Batch]:
        """Decode messages, each with its LSN and its data at an offset.

        Returns a batch up to the last commit and one of what comes after it, as far as there are.
        Raises DataError for messages that no server writes; whatever they are, for nothing else.
        """
        try:
            return self._batches(messages, lsn_at, data_at)
        except (CdkError, psycopg.Error):
            raise
        except Exception as error:
            # Broken bytes make any of many operations fail, and all mean the same.
            raise DataError(
                f"can't decode changes behind {lsn_text(self.position)}: the server sent what "
                f"isn't pgoutput's ({type(error).__name__}: {shortened(str(error), 100)})",
                hint="start the capture again; if it fails at the same place, report it",
            ) from error

    def _batches(self, messages: Sequence[bytes], lsn_at: int, data_at: int) -> list[Batch]:
        end = len(messages)
        while end and messages[end - 1][data_at] != _COMMITTED:
            end -= 1
        batches = []
        if end:
            self._take(messages[:end], lsn_at, data_at)
            batches.append(self._batch(lsn_text(self.position)))
        if end < len(messages):
            self._take(messages[end:], lsn_at, data_at)
            batches.append(self._batch(None))
        return batches

    def _batch(self, position: str | None) -> Batch:
        taken = (table.taken() for table in self._tables.values())
        changes = [each for each in taken if each is not None]
        altered = [table.table_id for table in self._tables.values() if table.altered]
        for table in self._tables.values():
            table.altered = False
        truncated, self._truncated = self._truncated, []
        return Batch(changes, position, truncated, altered)

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
        decoder = TableDecoder(seen, followed, self._lookup, self._refetch)
        if before is not None and before.pending:
            # The rows so far had other columns; they stay what they are.
            decoder.earlier = before.taken()
        self._tables[seen.oid] = decoder


def _oids(message: bytes, at: int, count: int) -> list[int]:
    return [_UINT32(message, at + 4 * index)[0] for index in range(count)]
