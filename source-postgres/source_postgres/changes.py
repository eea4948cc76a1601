"""Changes of one table turned into lines of documents, many at once.

What is to be decoded is a value that another process can be sent. A row that has to be looked up
once more is looked up by whoever has a connection.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from struct import Struct, unpack
from typing import Final, Protocol

from estuary_cdk.errors import DataError
from estuary_cdk.protocol.codec import encode_json
from source_postgres.column_types import Mapped
from source_postgres.documents import Heads
from source_postgres.fitting import BEFORE_BYTES_MAX, fitted
from source_postgres.keys import pack_key, packer_of
from source_postgres.relations import Relation
from source_postgres.rows import Template, numbers
from source_postgres.tuples import UNCHANGED, Fields, Rows, Splitter, tuple_fields

_INSERTED, _UPDATED = b"IU"
_NEW, _KEY, _OLD = b"NKO"
_UINT64: Final = Struct(">Q").unpack_from
_BARE_META: Final = (b"", b"", b"", b"")

SHARED_MIN: Final = 4
"""So many tasks are worth a helper's time."""
ASKED_TASKS: Final = 2
ASKED_MAX: Final = 2
"""How many times so many tasks a helper is given at a time: one to do, and one to go on with."""

Record = tuple[bytes, int, bytes, Fields, bool]
"""Head of `_meta` up to the LSN, the LSN, the rest of `_meta`, fields, whether all are there."""

Refetch = Callable[[Relation, Sequence[Mapped], Sequence[int], Fields], Fields]
"""Returns a row, found by the columns of its key, with what was left out of it."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Messages of changes to a table, with what surrounds the LSN of each in its `_meta`.

    Their LSNs and their data begin at `lsn_at` and `data_at`.
    """

    messages: list[bytes]
    heads: list[Heads]
    begins: list[bytes]
    tails: list[bytes]
    lsn_at: int
    data_at: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """Changes as lines in one block, in order, with the packed keys of their rows if wanted."""

    block: bytes
    rows: int
    keys: list[bytes] | None


class Helper(Protocol):
    """Another process that decodes."""

    @property
    def ready(self) -> bool:
        """Whether it has started."""
        ...

    @property
    def answered(self) -> bool:
        """Whether an answer waits; it may not be noticed at once."""
        ...

    def release(self) -> None:
        """Let it end."""
        ...

    def ask(self, tasks: "Sequence[Task]") -> None:
        """Give it something to do."""
        ...

    def answer(self) -> Sequence[Decoded | None]:
        """Wait for the first of what it was asked for; None for what it can't do."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What the documents of a table's changes are made of.

    The columns that are `shown` and those that identify a row, by their places in the relation;
    `position_key` are those to pack, `binding` is the index of the table's binding.
    """

    relation: Relation
    types: tuple[Mapped, ...]
    shown: tuple[int, ...]
    identity: tuple[int, ...]
    position_key: tuple[int, ...] | None
    binding: int


class ChangeDecoder:
    """Decodes changes of tables of one shape; it can be pickled."""

    def __init__(self, shape: Shape) -> None:
        self.relation = shape.relation
        self._shown = shape.shown
        self._mapped = shape.types
        self._binding = shape.binding
        self._templates: dict[tuple[int, ...], Template] = {}
        self._key = tuple(i for i, key in enumerate(shape.relation.keys) if key)
        self._position_key = shape.position_key
        self._identity = shape.identity
        self._splitter = Splitter(len(shape.relation.names))

    def decode(self, gathered: Gathered, refetch: Refetch) -> Decoded:
        """Decode changes; raises DataError for what no server writes."""
        lines, keys = self._lines_of(gathered, refetch)
        block = lines if isinstance(lines, bytes) else b"".join(lines)
        rows = len(gathered.messages) if isinstance(lines, bytes) else len(lines)
        if block.count(b"\n") != rows:
            raise DataError(f"a value of {self.relation.id} has a line break where none can be")
        return Decoded(block, rows, keys)

    def _lines_of(
        self, gathered: Gathered, refetch: Refetch
    ) -> tuple[bytes | list[bytes], list[bytes] | None]:
        """Return lines of changes and the packed keys of their rows, if they are wanted.

        The lines are in one piece where each message is one.
        """
        messages = gathered.messages
        data_at = gathered.data_at
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
            return self._split(rows[0], gathered), self._keys_of(rows[0].columns)
        lines: list[bytes] = []
        places: list[int] = []
        keys: list[bytes] = []
        for each in rows:
            lines += self._split(each, gathered).splitlines(keepends=True)
            places += each.places
            keys += self._keys_of(each.columns) or ()
        records: list[Record] = []
        for place in other:
            records += self._records(gathered, place, refetch)
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

    def _split(self, rows: Rows, gathered: Gathered) -> bytes:
        """Return the lines of rows that are in the table now."""
        lsn_at = gathered.lsn_at
        messages, begins, tails = gathered.messages, gathered.begins, gathered.tails
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

    def _records(self, gathered: Gathered, place: int, refetch: Refetch) -> Iterable[Record]:
        data, heads = gathered.messages[place], gathered.heads[place]
        [lsn] = _UINT64(data, gathered.lsn_at)
        kind, at = data[gathered.data_at], gathered.data_at + 5
        if kind == _INSERTED:
            fields = tuple_fields(data, at + 1)[0]
            return [(heads.create, lsn, heads.tail, fields, UNCHANGED not in fields)]
        if kind == _UPDATED:
            return self._update(data[at:], heads, lsn, refetch)
        whole = data[at] == _OLD
        fields = tuple_fields(data, at + 1)[0]
        if not whole:
            fields = self._only(fields, self._key)
        return [(heads.delete, lsn, heads.tail, fields, whole)]

    def _update(self, data: bytes, heads: Heads, lsn: int, refetch: Refetch) -> Iterable[Record]:
        """Decode the rows of an Update; one whose key changed is a deletion and a creation."""
        kind, at = data[0], 0
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
                fields = refetch(self.relation, self._mapped, self._identity, fields)
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


Task = tuple[ChangeDecoder, Gathered]
"""Changes to be decoded, and by what."""


def decoded(tasks: Sequence[Task], refetch: Refetch, helper: Helper | None) -> list[Decoded]:
    """Decode changes, with the help of a helper that is ready.

    It is given some from the end, and more once it has answered, while we begin at the front: so
    whoever is faster does more, and neither waits for more than a few.
    """
    if helper is None or len(tasks) < SHARED_MIN or not helper.ready:
        return [decoder.decode(gathered, refetch) for decoder, gathered in tasks]
    results: dict[int, Decoded] = {}
    asked: deque[int] = deque()
    mine, end = 0, len(tasks)
    while mine < end or asked:
        while len(asked) < ASKED_MAX and end - mine > ASKED_TASKS:
            end -= ASKED_TASKS
            asked.append(end)
            helper.ask(tasks[end : end + ASKED_TASKS])
        if asked and (mine == end or helper.answered):
            first = asked.popleft()
            for place, theirs in enumerate(helper.answer(), first):
                decoder, gathered = tasks[place]
                results[place] = theirs or decoder.decode(gathered, refetch)
        elif mine < end:
            decoder, gathered = tasks[mine]
            results[mine] = decoder.decode(gathered, refetch)
            mine += 1
    return [results[place] for place in range(len(tasks))]


def helped(tasks: Sequence[Task]) -> list[Decoded | None]:
    """Decode what can be decoded without looking rows up; see `Helper.answer`."""
    return [_alone(decoder, gathered) for decoder, gathered in tasks]


class _ElsewhereError(Exception):
    """A row has to be looked up, which can't be done here."""


def _alone(decoder: ChangeDecoder, gathered: Gathered) -> Decoded | None:
    try:
        return decoder.decode(gathered, _nowhere)
    except _ElsewhereError:
        return None


def _nowhere(*_: object) -> Fields:
    raise _ElsewhereError
