"""One transaction of a materialization: documents gathered by key, loaded, reduced and stored.

Keys are held packed, which is how they sort. A binding with delta updates loads nothing and only
combines; any other reduces each key's documents onto the stored one. A key greater than every key
ever stored can't be stored yet, so it isn't loaded.
"""

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import lt
from typing import Final

from estuary_cdk.protocol.codec import Stores, load_line, store_block, store_heads, store_lines
from estuary_cdk.protocol.materialize import MaterializationBinding
from estuary_cdk.protocol.message import present
from flow_local.collections import Published, identified, identities, packed_of
from flow_local.schema.extraction import Column, Extractor, Row
from flow_local.schema.reductions import Reducer

STORE_KEYS: Final = 1024
# What a stride takes stays in the processor's caches, which saves a third of the time.
STRIDE_DOCUMENTS: Final = 256
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
    deletes: tuple[int, ...]
    """The row's places that tell that nothing deletes; empty where they can't."""
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
    reducer = Reducer(bytes(collection.read_schema) or bytes(collection.write_schema))
    tells = [pointers.index(each) for each in reducer.delete_pointers if each in pointers]
    return Fields(
        index=index,
        keys=Extractor(pointers[:key_count], defaults),
        row=Extractor(pointers, defaults),
        key_count=key_count,
        published=tuple(published),
        has_document=bool(selection.document),
        reducer=reducer,
        deletes=tuple(tells) if len(tells) == len(reducer.delete_pointers) else (),
        delta=binding.delta_updates,
    )


class Gathered:
    """A binding's documents of one transaction.

    Where the newest document replaces the older ones, whatever those are, it is spelt as it comes,
    and the older ones are never looked at; else documents are kept until they can be reduced.
    What is spelt stays in blocks for as long as each key is new and greater than all before.
    """

    def __init__(self, fields: Fields, max_key: bytes, *, loads_all: bool = False) -> None:
        self.documents = 0
        self.held_bytes = 0
        """About what is kept for the stores."""
        self.max_key = max_key
        """The greatest key ever stored, this transaction included."""
        self._fields = fields
        self._stored_max = ALL_KEYS if loads_all else max_key
        self._replaces = fields.reducer.last_write_wins
        self._ascending: list[tuple[list[bytes], bytes]] = []
        self._by_key: dict[bytes, bytes | list[bytes]] = {}
        self._deleted: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._loaded: dict[bytes, bytes] = {}
        self._published = Published()

    def add(self, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """Take documents, in order; return how many loads to send for them, and their lines."""
        loads: list[bytes] = []
        for start in range(0, len(documents), STRIDE_DOCUMENTS):
            loads += self._add(documents[start : start + STRIDE_DOCUMENTS])
        return len(loads), b"".join(loads)

    def _add(self, documents: Sequence[bytes]) -> list[bytes]:
        fields = self._fields
        columns = (fields.row if self._replaces else fields.keys).columns(documents)
        key_columns = columns[: fields.key_count]
        keys, packed = identified(key_columns)
        self.documents += len(documents)
        if not self._replaces:
            fresh = self._new_keys(keys, documents)
            self.held_bytes += sum(map(len, documents))
        else:
            known = [columns[place] for place in fields.deletes]
            tombstones = fields.reducer.tombstones(documents, known)
            lines = self._lines(packed, columns, documents)
            self.held_bytes += len(lines)
            if not tombstones and self._ascends(keys):
                self._ascending.append((keys, lines))
                self.max_key = self.max_key if fields.delta else keys[-1]
                return []
            self._scatter()
            fresh = self._new_keys(keys, store_heads(lines))
            self._note_deletes(keys, tombstones)
        greatest = max(keys)
        if not fields.delta:
            self.max_key = max(self.max_key, greatest)
        if fields.delta or (fresh is None and min(keys) > self._stored_max):
            return []
        wanted = range(len(keys)) if fresh is None else fresh
        return [
            self._load(keys[place], tuple(bytes(column[place]) for column in key_columns))
            for place in wanted
            if keys[place] <= self._stored_max
        ]

    def _ascends(self, keys: list[bytes]) -> bool:
        """Whether the keys are greater than all of this transaction, and nothing loads them."""
        if self._by_key:
            return False
        if self._ascending:
            least = self._ascending[-1][0][-1]
        else:
            least = b"" if self._fields.delta else self._stored_max
        return keys[0] > least and all(map(lt, keys, islice(keys, 1, None)))

    def _scatter(self) -> None:
        """Hold by key what was held in blocks."""
        for keys, lines in self._ascending:
            self._by_key.update(zip(keys, store_heads(lines), strict=True))
        self._ascending = []

    def _new_keys(self, keys: list[bytes], entries: Sequence[bytes]) -> list[int] | None:
        """Keep the entries; return the places of keys that are new, None if all are."""
        by_key = self._by_key
        if by_key.keys().isdisjoint(keys) and len(set(keys)) == len(keys):
            by_key.update(zip(keys, entries, strict=True))
            return None
        new: list[int] = []
        for place, (key, entry) in enumerate(zip(keys, entries, strict=True)):
            known = by_key.setdefault(key, entry)
            if known is entry:
                new.append(place)
            elif self._replaces:
                by_key[key] = entry
            elif isinstance(known, list):
                known.append(entry)
            else:
                by_key[key] = [known, entry]
        return new

    def _note_deletes(self, keys: list[bytes], tombstones: Sequence[int]) -> None:
        """Note which keys' newest documents are tombstones, given their places."""
        if self._deleted:
            self._deleted.difference_update(keys)
        if tombstones:
            newest = {key: place for place, key in enumerate(keys)}
            places = set(tombstones)
            self._deleted.update(key for key, place in newest.items() if place in places)

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
            self._loaded[key] = b"" if self._replaces else document
            self.held_bytes += len(self._loaded[key])
        return b""

    def stores(self) -> Iterator[tuple[int, bytes]]:
        """Yield stores, counted and as lines, in the order of their keys; forgets them."""
        self._ascending.reverse()
        while self._ascending:
            keys, lines = self._ascending.pop()
            yield len(keys), lines
        ordered = sorted(self._by_key)
        chosen = self._updates if self._fields.delta else self._reduced
        chosen = self._newest if self._replaces else chosen
        for start in range(0, len(ordered), STORE_KEYS):
            heads, marks = chosen(ordered[start : start + STORE_KEYS])
            yield len(heads), store_block(heads, marks)

    def _newest(self, keys: list[bytes]) -> tuple[list[bytes], list[int]]:
        """Return head and mark of each store: 1 for exists, plus 2 for delete."""
        heads: list[bytes] = list(map(self._by_key.pop, keys))  # type: ignore[arg-type]  # no lists
        loaded, deleted = self._loaded, self._deleted
        if not loaded and not deleted:
            return heads, [0] * len(heads)
        return heads, [(key in loaded) + DELETE * (key in deleted) for key in keys]

    def _reduced(self, keys: list[bytes]) -> tuple[list[bytes], list[int]]:
        """Do as `_newest`, with each key's documents reduced onto the stored one."""
        documents: list[bytes] = []
        marks: list[int] = []
        for key in keys:
            newer, older = self._by_key.pop(key), self._loaded.pop(key, None)
            newer = [newer] if isinstance(newer, bytes) else newer
            reduced = self._fields.reducer.reduced(older, newer)
            documents.append(reduced.document)
            marks.append((older is not None) + DELETE * reduced.deleted)
        return self._heads(keys, self._fields.row.columns(documents), documents), marks

    def _updates(self, keys: list[bytes]) -> tuple[list[bytes], list[int]]:
        """Do as `_newest` for delta updates: a key may have several."""
        reducer = self._fields.reducer
        documents: list[bytes] = []
        repeated: list[bytes] = []
        for key in keys:
            newer = self._by_key.pop(key)
            combined = [newer] if isinstance(newer, bytes) else reducer.combined(newer)
            documents += combined
            repeated += [key] * len(combined)
        marks = [0] * len(documents)
        for place in reducer.tombstones(documents):
            marks[place] = DELETE
        return self._heads(repeated, self._fields.row.columns(documents), documents), marks

    def _heads(
        self, keys: list[bytes], columns: list[Column], documents: Sequence[bytes]
    ) -> list[bytes]:
        """Spell stores as far as nothing else must be known."""
        return store_heads(self._lines(list(map(packed_of, keys)), columns, documents))

    def _lines(
        self, packed: Sequence[bytes], columns: list[Column], documents: Sequence[bytes]
    ) -> bytes:
        fields = self._fields
        for place in fields.published:
            columns[place] = self._published.all_at(columns[place])
        stores = Stores(
            keys=columns[: fields.key_count],
            packed=packed,
            values=columns[fields.key_count :],
            documents=documents if fields.has_document else None,
        )
        return store_lines(fields.index, stores)


def _array(row: Row) -> bytes:
    return b"[" + b",".join(row) + b"]"


def _base64(key: bytes) -> bytes:
    return binascii.b2a_base64(packed_of(key), newline=False)
