"""Schemas inferred from documents: the widening inference of a collection.

Documents that the current schema allows can't widen it. So a decoder generated from the schema
(`acceptors`), or the judge where there is none, waves them through, and only the others are looked
at location by location; the decoder is then made anew. Bounds move in steps (`buckets`), which
makes that rare.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from estuary_cdk.errors import ConfigError, ContractError, DataError, shortened
from flow_local.schema.acceptors import Acceptor, acceptors
from flow_local.schema.judge import compiled
from flow_local.schema.shape import NOTHING, Shape, intersection, union
from flow_local.schema.shape_schemas import schema_of, shape_of
from flow_local.schema.widening import limited, widened

LOCATIONS_MAX_DEFAULT = 1_000
LOCATIONS_MAX_SOURCED = 10_000
LOCATIONS_MAX_CAP = 100_000

COMPLEXITY_KEYWORD = "x-complexity-limit"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_decode = msgspec.json.Decoder().decode
_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode


class Inference:
    """What is inferred of one collection.

    Starts from nothing, or from a schema that `schema()` gave earlier. `complexity_limit` is the
    number of properties beyond which the deepest ones are merged; a schema's own limit counts where
    none is given. Raises ConfigError for a malformed schema or limit.
    """

    def __init__(self, schema: bytes | None = None, *, complexity_limit: int | None = None) -> None:
        self._shape = NOTHING if schema is None else shape_of(schema)
        noted = self._shape.notes.extra.get(COMPLEXITY_KEYWORD)
        limit: Any = complexity_limit
        if limit is None:
            limit = LOCATIONS_MAX_DEFAULT if noted is None else _decode(noted)
        if not isinstance(limit, int) or not 1 <= limit <= LOCATIONS_MAX_CAP:
            raise ConfigError(
                f"can't infer a schema: complexity limit {limit!r}"
                f" is not between 1 and {LOCATIONS_MAX_CAP}"
            )
        self._limit = limit
        self._accept: Acceptor = _refuse

    def widen(self, documents: Sequence[bytes]) -> bool:
        """Widen by valid documents; tell whether the schema changed.

        Raises DataError for a document that isn't JSON.
        """
        before = self._shape
        accept = self._accept
        for document in documents:
            try:
                accept(document)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                accept = self._widened(document)
        return self._shape != before

    def _widened(self, document: bytes) -> Acceptor:
        shape = widened(self._shape, _value(document))
        if shape is not self._shape:
            shape = limited(shape, self._limit)
        if self._accept is _refuse or shape != self._shape:
            self._shape = shape
            self._accept = _acceptor(shape)
        return self._accept

    def widen_by_source(self, sourced: bytes, write_schema: bytes) -> bool:
        """Widen by a schema that the source declares; tell whether the schema changed.

        From here on the complexity limit is the one for sourced schemas. Raises ContractError where
        the sourced schema leaves open what may stand somewhere.
        """
        source = shape_of(sourced)
        open_places = list(_open_places(source, ""))
        if open_places:
            raise ContractError(
                f"can't use sourced schema: it is open at {', '.join(open_places[:10])}",
                hint="say additionalProperties: false, and items, at every location",
                places=tuple(open_places),
            )
        self._limit = max(self._limit, LOCATIONS_MAX_SOURCED)
        declared = intersection(source, shape_of(write_schema))
        shape = limited(union(self._shape, declared), self._limit)
        changed = shape != self._shape
        self._shape, self._accept = shape, _refuse
        return changed

    def schema(self) -> bytes | None:
        """Return the inferred schema, or None while nothing was inferred."""
        if self._shape.is_nothing:
            return None
        plain: Any = schema_of(self._shape)
        if self._limit != LOCATIONS_MAX_DEFAULT:
            plain = {**plain, COMPLEXITY_KEYWORD: self._limit}
        return msgspec.json.encode({"$schema": DIALECT, **plain})


def _refuse(_: bytes) -> object:
    raise msgspec.ValidationError


def _acceptor(shape: Shape) -> Acceptor:
    """Return a function that raises for every document that would widen the shape."""
    schema = schema_of(shape)
    proofs = acceptors(schema)
    if proofs is not None and len(proofs) == 1:
        return proofs[0]
    is_valid = compiled(schema).is_valid

    def judge(document: bytes) -> None:
        if not is_valid(_decode(document)):
            raise msgspec.ValidationError

    return judge


def _value(document: bytes) -> Any:
    try:
        try:
            return _decode(document)
        except msgspec.DecodeError:
            # A fraction beyond a double is a number all the same.
            return _decode_exactly(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"can't infer from document {shortened(document)}: {error}") from error


def _open_places(shape: Shape, pointer: str) -> list[str]:
    found: list[str] = []
    if "object" in shape.types:
        if shape.objects.additional is None:
            found.append(repr(pointer) if pointer else "the root")
        for name, each in shape.objects.properties.items():
            found += _open_places(each.shape, f"{pointer}/{name}")
    if "array" in shape.types and shape.arrays.items is not None:
        found += _open_places(shape.arrays.items, f"{pointer}/-")
    return found
