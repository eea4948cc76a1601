"""One transaction of a materialization: documents gathered by key, loaded, reduced and stored.

Keys are held packed, which is how they sort. A binding with delta updates loads nothing and only
combines; any other reduces each key's documents onto the stored one. A key greater than every key
ever stored can't be stored yet, so it isn't loaded.
"""

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from estuary_cdk.protocol.codec import load_line, store_line
from estuary_cdk.protocol.materialize import MaterializationBinding
from estuary_cdk.protocol.message import present
from flow_local.collections import Published, identities, packed_of
from flow_local.schema.extraction import Extractor, Row
from flow_local.schema.reductions import Reducer

STORE_KEYS: Final = 1024
TRUNCATED_POINTER: Final = "/_meta/flow_truncated"
ALL_KEYS: Final = b"\xff"
"""A max key that has every key loaded."""


@dataclass(frozen=True, slots=True)
class Fields:
    """How a binding's stores are made of documents; compiled once per session."""

    index: int
    keys: Extractor
    row: Extractor
    """The values of all selected fields: keys, then values."""
    key_count: int
    published: tuple[int, ...]
    """Which of the row's places hold a UUID that stands for a time."""
    has_document: bool
    reducer: Reducer
    delta: bool


def fields_of(index: int, binding: MaterializationBinding) -> Fields:
    """Compile a binding."""
    collection, selection = binding.collection, binding.field_selection
    assert collection is not None
    by_field = {projection.field: projection for projection in collection.projections}
    projections = [by_field[name] for name in (*selection.keys, *selection.values)]
    pointers = [projection.ptr for projection in projections]
    defaults = {
        projection.ptr: bytes(projection.inference.default)
        for projection in projections
        if present(projection.inference.default)
    }
    defaults[TRUNCATED_POINTER] = b"false"
    published = [
        place
        for place, projection in enumerate(projections)
        if projection.ptr == collection.uuid_ptr
        and projection.inference.string is not None
        and projection.inference.string.format == "date-time"
    ]
    schema = bytes(collection.read_schema) or bytes(collection.write_schema)
    return Fields(
        index=index,
        keys=Extractor(pointers[: len(selection.keys)], defaults),
        row=Extractor(pointers, defaults),
        key_count=len(selection.keys),
        published=tuple(published),
        has_document=bool(selection.document),
        reducer=Reducer(schema),
        delta=binding.delta_updates,
    )


class Gathered:
    """A binding's documents of one transaction."""

    def __init__(self, fields: Fields, max_key: bytes, *, loads_all: bool = False) -> None:
        self.documents = 0
        self.loaded_bytes = 0
        self.max_key = max_key
        """The greatest key ever stored, this transaction included."""
        self._fields = fields
        self._stored_max = ALL_KEYS if loads_all else max_key
        self._by_key: dict[bytes, bytes | list[bytes]] = {}
        self._asked: set[bytes] = set()
        self._loaded: dict[bytes, bytes] = {}
        self._published = Published()

    def add(self, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """Take documents, in order; return how many loads to send for them, and their lines."""
        rows = self._fields.keys.rows(documents)
        keys = identities(rows)
        fresh = self._new_keys(keys, documents)
        self.documents += len(documents)
        greatest = max(keys)
        if not self._fields.delta:
            self.max_key = max(self.max_key, greatest)
        if self._fields.delta or (fresh is None and min(keys) > self._stored_max):
            return 0, b""
        wanted = range(len(keys)) if fresh is None else fresh
        lines = [
            self._load(keys[place], rows[place])
            for place in wanted
            if keys[place] <= self._stored_max
        ]
        return len(lines), b"".join(lines)

    def _new_keys(self, keys: list[bytes], documents: Sequence[bytes]) -> list[int] | None:
        """Keep the documents; return the places of keys that are new, None if all are."""
        by_key = self._by_key
        if by_key.keys().isdisjoint(keys) and len(set(keys)) == len(keys):
            by_key.update(zip(keys, documents, strict=True))
            return None
        new: list[int] = []
        for place, (key, document) in enumerate(zip(keys, documents, strict=True)):
            known = by_key.setdefault(key, document)
            if known is document:
                new.append(place)
            elif isinstance(known, list):
                known.append(document)
            else:
                by_key[key] = [known, document]
        return new

    def _load(self, key: bytes, row: Row) -> bytes:
        self._asked.add(key)
        return load_line(self._fields.index, _array(row), _base64(key, row))

    def loaded(self, documents: Sequence[bytes]) -> bytes:
        """Take stored documents; return the first key that wasn't asked for, if any, as JSON."""
        rows = self._fields.keys.rows(documents)
        for key, row, document in zip(identities(rows), rows, documents, strict=True):
            if key not in self._asked:
                return _array(row)
            self._asked.discard(key)
            self._loaded[key] = document
            self.loaded_bytes += len(document)
        return b""

    def stores(self) -> Iterator[tuple[int, bytes]]:
        """Yield stores, counted and as lines, in the order of their keys; forgets them."""
        ordered = sorted(self._by_key)
        for start in range(0, len(ordered), STORE_KEYS):
            final = self._delta if self._fields.delta else self._final
            yield self._spelt(*final(ordered[start : start + STORE_KEYS]))

    def _final(self, keys: list[bytes]) -> tuple[list[bytes], list[bytes], list[bool], list[bool]]:
        """Return key, document, exists and delete of each store."""
        reducer = self._fields.reducer
        take, stored = self._by_key.pop, self._loaded.pop
        simple = reducer.last_write_wins and not reducer.deletes
        documents: list[bytes] = []
        exists: list[bool] = []
        deletes: list[bool] = []
        for key in keys:
            newer = take(key)
            older = stored(key, None)
            exists.append(older is not None)
            if simple:
                documents.append(newer if isinstance(newer, bytes) else newer[-1])
                continue
            reduced = reducer.reduced(older, [newer] if isinstance(newer, bytes) else newer)
            documents.append(reduced.document)
            deletes.append(reduced.deleted)
        return keys, documents, exists, deletes or [False] * len(keys)

    def _delta(self, keys: list[bytes]) -> tuple[list[bytes], list[bytes], list[bool], list[bool]]:
        reducer = self._fields.reducer
        documents: list[bytes] = []
        repeated: list[bytes] = []
        for key in keys:
            newer = self._by_key.pop(key)
            combined = [newer] if isinstance(newer, bytes) else reducer.combined(newer)
            documents += combined
            repeated += [key] * len(combined)
        deletes = [reducer.is_tombstone(document) for document in documents]
        return repeated, documents, [False] * len(documents), deletes

    def _spelt(
        self, keys: list[bytes], documents: list[bytes], exists: list[bool], deletes: list[bool]
    ) -> tuple[int, bytes]:
        fields = self._fields
        index, count, has_document = fields.index, fields.key_count, fields.has_document
        rows = fields.row.rows(documents)
        if fields.published:
            rows = [self._told(row) for row in rows]
        lines = [
            store_line(
                index,
                _array(row[:count]),
                _base64(key, row[:count]),
                b"[" + b",".join(row[count:]) + b"]",
                document if has_document else None,
                exists=exist,
                delete=delete,
            )
            for key, row, document, exist, delete in zip(
                keys, rows, documents, exists, deletes, strict=True
            )
        ]
        return len(lines), b"".join(lines)

    def _told(self, row: Row) -> Row:
        values = list(row)
        for place in self._fields.published:
            values[place] = self._published.at(values[place])
        return tuple(values)


def _array(row: Row) -> bytes:
    return b"[" + b",".join(row) + b"]"


def _base64(key: bytes, row: Row) -> bytes:
    return binascii.b2a_base64(packed_of(key, row), newline=False)
