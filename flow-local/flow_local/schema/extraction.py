"""Raw values at JSON pointers, from batches of documents.

The pointers become nested msgspec structs whose leaves are `Raw`, so one pass over a document finds
all its values and copies nothing else. A pointer that lies inside another pointer's value goes into
a second struct (a layer) and costs a second pass. Documents that don't have the shape the structs
assume (an array or a scalar where a pointer passes through) are walked level by level instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from estuary_cdk.errors import DataError, shortened
from flow_local.schema import pointers
from flow_local.schema.pointers import Tokens
from flow_local.schema.structs import TooManyStructs, struct

MISSING = b"null"
LAYERS_KEPT_MAX = 1_000

Row = tuple[bytes, ...]
Column = Sequence[bytes | msgspec.Raw]
_Read = Callable[[bytes], tuple[msgspec.Raw, ...]]
_ReadMany = Callable[[Sequence[bytes]], list[Column]]


class Extractor:
    """Values at fixed pointers as raw JSON text.

    `rows` returns one tuple per document, in the order of `pointers`, holding the exact bytes each
    value has in the document (spelling of numbers, white space and escapes included). A missing
    value gives its pointer's entry in `defaults`, else `null`. Where a property occurs twice the
    last one counts. The pointer "" gives the document as it is.

    Raises ConfigError for a bad pointer, DataError for a document that isn't JSON.
    """

    def __init__(self, wanted: Sequence[str], defaults: Mapping[str, bytes] | None = None) -> None:
        self.pointers = tuple(wanted)
        self._paths = [pointers.tokens(pointer) for pointer in self.pointers]
        defaults = defaults or {}
        self._defaults = [defaults.get(pointer, MISSING) for pointer in self.pointers]
        layers = _layers(tuple(dict(zip(self._paths, self._defaults, strict=True)).items()))
        self._reads = [layer.read for layer in layers]
        self._read_many = layers[0].read_many if layers else _none
        places: dict[Tokens, int] = {(): 0}
        for layer in layers:
            places.update({path: len(places) + n for n, path in enumerate(layer.paths)})
        self._odd = [path for path in dict.fromkeys(self._paths) if path not in places]
        places.update({path: len(places) + n for n, path in enumerate(self._odd)})
        self._order = [places[path] for path in self._paths]
        self._one_pass = (
            len(layers) == 1 and not self._odd and self._order == list(range(1, len(places)))
        )

    def rows(self, documents: Sequence[bytes]) -> list[Row]:
        """Return the values of each document, in order."""
        if self._one_pass:
            return self._rows_in_one_pass(self._reads[0], documents)
        return [self._row(document) for document in documents]

    def columns(self, documents: Sequence[bytes]) -> list[Column]:
        """Return what `rows` does, turned: the values of all documents, pointer by pointer.

        Each document must be one JSON value. What is `Raw` keeps all documents in memory.
        """
        if self._one_pass and documents:
            try:
                return self._read_many(documents)
            except msgspec.DecodeError:
                pass  # One of them has another shape.
        return list(zip(*self.rows(documents), strict=True))

    def _rows_in_one_pass(self, read: _Read, documents: Sequence[bytes]) -> list[Row]:
        rows: list[Row] = []
        add = rows.append
        for document in documents:
            try:
                add(tuple(map(bytes, read(document))))
            except msgspec.DecodeError:
                add(self._walked(document))
        return rows

    def _row(self, document: bytes) -> Row:
        found: list[bytes] = [document]
        try:
            for read in self._reads:
                found.extend(map(bytes, read(document)))
            found.extend(self._value(document, path) for path in self._odd)
        except msgspec.DecodeError:
            return self._walked(document)
        return tuple([found[place] for place in self._order])

    def _value(self, document: bytes, path: Tokens) -> bytes:
        value = pointers.located(document, path)
        return self._defaults[self._paths.index(path)] if value is None else value

    def _walked(self, document: bytes) -> Row:
        try:
            return tuple([self._value(document, path) for path in self._paths])
        except msgspec.DecodeError as error:
            raise DataError(f"can't read document {shortened(document)}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Layer:
    """Paths none of which lies inside another, and how to read their values in one pass."""

    paths: tuple[Tokens, ...]
    read: _Read
    read_many: _ReadMany


@lru_cache(maxsize=LAYERS_KEPT_MAX)
def _layers(defaults: tuple[tuple[Tokens, bytes], ...]) -> list[_Layer]:
    layers: list[tuple[dict[Tokens, bytes], set[Tokens]]] = []
    for path, default in defaults:
        if not path or not all(map(pointers.is_nameable, path)):
            continue
        for leaves, inner in layers:
            around = (path[:depth] for depth in range(1, len(path)))
            if path not in inner and not any(outer in leaves for outer in around):
                break
        else:
            leaves, inner = {}, set()
            layers.append((leaves, inner))
        leaves[path] = default
        inner.update(path[:depth] for depth in range(1, len(path)))
    try:
        return [_layer(leaves) for leaves, _ in layers]
    except TooManyStructs:
        return []


def _layer(leaves: Mapping[Tokens, bytes]) -> _Layer:
    kind, names = _struct(leaves)
    values: Callable[[object], Any] = attrgetter(*[names[path] for path in leaves])
    if len(leaves) == 1:
        alone = values
        values = lambda found: (alone(found),)  # noqa: E731 - the same call for one and for many
    decode = msgspec.json.Decoder(kind).decode
    many: Any = list[kind]  # type: ignore[valid-type]  # built
    decode_many = msgspec.json.Decoder(many).decode
    places = [names[path].split(".") for path in leaves]

    def read_many(documents: Sequence[bytes]) -> list[Column]:
        found = decode_many(b"[" + b",".join(documents) + b"]")
        # Attribute by attribute, each of all documents: a third of what rows to be turned cost.
        known: dict[str, list[Any]] = {"": found}
        return [_attributes(known, place) for place in places]

    return _Layer(tuple(leaves), lambda document: values(decode(document)), read_many)


def _attributes(known: dict[str, list[Any]], place: Sequence[str]) -> list[Any]:
    """Return an attribute of attributes of all; `known` has those that were looked up before."""
    path = ""
    for name in place:
        outer, path = known[path], f"{path}.{name}"
        if path not in known:
            known[path] = list(map(attrgetter(name), outer))
    return known[path]


def _none(_: Sequence[bytes]) -> list[Column]:
    return []


def _struct(leaves: Mapping[Tokens, bytes]) -> tuple[type[msgspec.Struct], dict[Tokens, str]]:
    """Return a struct that holds the leaves, and the attribute path of each."""
    children: dict[str, dict[Tokens, bytes]] = {}
    for path, default in leaves.items():
        children.setdefault(path[0], {})[path[1:]] = default
    fields: list[tuple[str, Any, Any]] = []
    names: dict[Tokens, str] = {}
    for number, (token, below) in enumerate(children.items()):
        name = f"f{number}"
        if () in below:
            default = msgspec.Raw(below[()])
            fields.append((name, msgspec.Raw, msgspec.field(default=default, name=token)))
            names[(token,)] = name
            continue
        child, inner = _struct(below)
        fields.append((name, child, msgspec.field(default_factory=_always(child()), name=token)))
        names.update(((token, *path), f"{name}.{inside}") for path, inside in inner.items())
    return struct(fields), names


def _always(value: msgspec.Struct) -> Callable[[], msgspec.Struct]:
    return lambda: value
