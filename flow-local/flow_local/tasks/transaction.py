"""One transaction of a materialization: documents gathered by key, loaded, reduced and stored.

Keys are held packed, which is how they sort. A binding with delta updates loads nothing and only
combines; any other reduces each key's documents onto the stored one. A key greater than every key
ever stored can't be stored yet, so it isn't loaded.
"""

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from estuary_cdk.protocol.codec import Stores, load_line, store_block
from estuary_cdk.protocol.materialize import MaterializationBinding
from estuary_cdk.protocol.message import present
from flow_local.collections import Published, identities, identities_of_columns, packed_of
from flow_local.schema.extraction import Extractor, Row
from flow_local.schema.reductions import Reducer

STORE_KEYS: Final = 1024
DELETE: Final = 2
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
    """Which of the row's places, none of a key, hold a UUID that stands for a time."""
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
    key_count = len(selection.keys)
    published = [
        place
        for place, projection in enumerate(projections)
        if place >= key_count
        and projection.ptr == collection.uuid_ptr
        and projection.inference.string is not None
        and projection.inference.string.format == "date-time"
    ]
    schema = bytes(collection.read_schema) or bytes(collection.write_schema)
    return Fields(
        index=index,
        keys=Extractor(pointers[:key_count], defaults),
        row=Extractor(pointers, defaults),
        key_count=key_count,
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
        columns = self._fields.keys.columns(documents)
        keys = identities_of_columns(columns)
        fresh = self._new_keys(keys, documents)
        self.documents += len(documents)
        greatest = max(keys)
        if not self._fields.delta:
            self.max_key = max(self.max_key, greatest)
        if self._fields.delta or (fresh is None and min(keys) > self._stored_max):
            return 0, b""
        wanted = range(len(keys)) if fresh is None else fresh
        lines = [
            self._load(keys[place], tuple(bytes(column[place]) for column in columns))
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
        return load_line(self._fields.index, _array(row), _base64(key))

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
        chosen = self._updates if self._fields.delta else self._reduced
        for start in range(0, len(ordered), STORE_KEYS):
            keys, documents, marks = chosen(ordered[start : start + STORE_KEYS])
            yield len(keys), self._spelt(keys, documents, marks)

    def _reduced(self, keys: list[bytes]) -> tuple[list[bytes], list[bytes], list[int]]:
        """Return key, document and mark of each store: 1 for exists, plus 2 for delete."""
        reducer = self._fields.reducer
        entries = list(map(self._by_key.pop, keys))
        stored = [self._loaded.pop(key, None) for key in keys] if self._loaded else []
        marks = [0 if older is None else 1 for older in stored] or [0] * len(keys)
        if reducer.last_write_wins:
            documents = [each if isinstance(each, bytes) else each[-1] for each in entries]
            if reducer.deletes:
                self._mark_deletes(documents, marks)
            return keys, documents, marks
        documents = []
        for place, newer in enumerate(entries):
            older = stored[place] if stored else None
            reduced = reducer.reduced(older, [newer] if isinstance(newer, bytes) else newer)
            documents.append(reduced.document)
            if reduced.deleted:
                marks[place] += DELETE
        return keys, documents, marks

    def _updates(self, keys: list[bytes]) -> tuple[list[bytes], list[bytes], list[int]]:
        """Return what `_reduced` does for delta updates: a key may have several."""
        reducer = self._fields.reducer
        documents: list[bytes] = []
        repeated: list[bytes] = []
        for key in keys:
            newer = self._by_key.pop(key)
            combined = [newer] if isinstance(newer, bytes) else reducer.combined(newer)
            documents += combined
            repeated += [key] * len(combined)
        marks = [0] * len(documents)
        if reducer.deletes:
            self._mark_deletes(documents, marks)
        return repeated, documents, marks

    def _mark_deletes(self, documents: list[bytes], marks: list[int]) -> None:
        for place in self._fields.reducer.tombstones(documents):
            marks[place] += DELETE

    def _spelt(self, keys: list[bytes], documents: list[bytes], marks: list[int]) -> bytes:
        fields = self._fields
        columns = fields.row.columns(documents)
        for place in fields.published:
            columns[place] = self._published.all_at(columns[place])
        stores = Stores(
            keys=columns[: fields.key_count],
            packed=list(map(packed_of, keys)),
            values=columns[fields.key_count :],
            documents=documents if fields.has_document else None,
            marks=marks,
        )
        return store_block(fields.index, stores)


def _array(row: Row) -> bytes:
    return b"[" + b",".join(row) + b"]"


def _base64(key: bytes) -> bytes:
    return binascii.b2a_base64(packed_of(key), newline=False)
