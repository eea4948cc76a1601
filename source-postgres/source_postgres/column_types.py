"""What each PostgreSQL type becomes: the JSON schema of its values, and how they are converted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from source_postgres import composites, values
from source_postgres.pg_types import NESTING_MAX, PgType, Types, resolved
from source_postgres.values import Bare, Converter

Schema = Mapping[str, Any]

VARLENA_HEADER: Final = 4


@dataclass(frozen=True, slots=True)
class Mapped:
    """How values of a type look.

    `sortable`: packed as keys they sort as the database does, at least in collation C;
    `predictable`: in every collation, or because they have none.
    """

    schema: Schema
    convert: Converter
    sortable: bool = False
    predictable: bool = False
    bare: Bare | None = None
    simple: bool = False
    """Whether no value's text has a backslash or a control character in it."""
    exact: bool = False
    """Whether an array of it is JSON but for its brackets."""
    selected: "Selected | None" = None
    """How a query had better read it."""

    @property
    def encoded(self) -> bool:
        """Whether its values are base64."""
        return self.schema.get("contentEncoding") == "base64"


@dataclass(frozen=True, slots=True)
class Selected:
    """An expression, of a column's name, which costs the server no more than the column does, and
    what becomes of its values: they end as those of the column do.
    """

    expression: str
    mapped: Mapped


_STRING: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": ["number", "string"], "format": "number"}
_JSONB: Final = "application/vnd.estuary.postgresql.jsonb+json"


def _string(format: str | None = None, **more: Any) -> Schema:  # noqa: A002 - JSON schema's word
    return {"type": "string", **({"format": format} if format else {}), **more}


_INTEGER: Final = Mapped({"type": "integer"}, values.verbatim, True, True, simple=True, exact=True)
_FLOAT: Final = Mapped(_NUMBER, values.floating, simple=True)
_TEXT: Final = Mapped(_STRING, values.text, sortable=True, bare=values.bare_text)
_OTHER_TEXT: Final = Mapped(_STRING, values.text, bare=values.bare_text)
_PLAIN: Final = Mapped(_STRING, values.plain, bare=values.bare_plain, simple=True)
# The digits of the same width, or a shorter value before those it is the beginning of.
_SORTED_PLAIN: Final = replace(_PLAIN, sortable=True, predictable=True)
_ANY: Final = Mapped({}, values.text)
_BASE64: Final = _string(contentEncoding="base64")
_VECTOR: Final = Mapped({"type": "array", "items": {"type": "number"}}, values.verbatim)

BUILTIN: Final[Mapping[str, Mapped]] = {
    "bool": Mapped({"type": "boolean"}, values.boolean, True, True, simple=True),
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _INTEGER),
    **dict.fromkeys(("float4", "float8"), _FLOAT),
    "numeric": Mapped(_string("number"), values.plain, bare=values.bare_plain, simple=True),
    **dict.fromkeys(("text", "varchar"), _TEXT),
    # A name's collation is C, whatever the database's is.
    "name": replace(_TEXT, predictable=True),
    **dict.fromkeys(("bpchar", "char", "xml", "jsonpath"), _OTHER_TEXT),
    **dict.fromkeys(("tsvector", "tsquery", "money", "pg_lsn"), _OTHER_TEXT),
    **dict.fromkeys(("bit", "varbit", "macaddr", "macaddr8"), _SORTED_PLAIN),
    **dict.fromkeys(("inet", "cidr"), _PLAIN),
    **dict.fromkeys(("point", "line", "lseg", "box", "path", "polygon", "circle"), _PLAIN),
    "bytea": Mapped(
        _BASE64,
        values.bytea,
        True,
        True,
        values.bare_bytea,
        selected=Selected(
            "encode({}, 'base64')", Mapped(_BASE64, values.base64, bare=values.bare_base64)
        ),
    ),
    "json": Mapped({"contentMediaType": "application/json"}, values.json),
    "jsonb": Mapped({"contentMediaType": _JSONB}, values.json),
    "date": Mapped(_string("date"), values.date, bare=values.bare_date, simple=True),
    "timestamp": Mapped(
        _string("date-time"), values.timestamp, bare=values.bare_timestamp, simple=True
    ),
    "timestamptz": Mapped(
        _string("date-time"), values.timestamptz, bare=values.bare_timestamptz, simple=True
    ),
    "time": Mapped(_string("time"), values.time, True, True),
    "timetz": Mapped(_string("time"), values.timetz),
    "interval": Mapped(_string("duration"), values.plain, bare=values.bare_plain, simple=True),
    "uuid": Mapped(_string("uuid"), values.plain, True, True, values.bare_plain, simple=True),
}
EXTENSIONS: Final[Mapping[str, Mapped]] = {
    "citext": _OTHER_TEXT,
    "ltree": _OTHER_TEXT,
    "vector": _VECTOR,
    "halfvec": _VECTOR,
    "hstore": Mapped({"type": "object"}, values.each(composites.hstore)),
}


class TypeTable:
    """Looks up what types become, each worked out once."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._mapped: dict[int, Mapped] = {}

    def __contains__(self, oid: int) -> bool:
        return oid in self._types

    def mapped(self, oid: int) -> Mapped:
        """Return how values of a type look; one that isn't known is text of any kind."""
        if oid not in self._mapped:
            self._mapped[oid] = self._map(oid, 0)
        return self._mapped[oid]

    def of_column(self, oid: int, modifier: int) -> Schema:
        """Return the schema of a column's values, with its limit of length."""
        schema = self.mapped(oid).schema
        found = self._types.get(oid)
        if modifier > VARLENA_HEADER and found is not None and found.builtin:
            length = modifier - VARLENA_HEADER
            if found.name == "varchar":
                return {**schema, "maxLength": length}
            if found.name == "bpchar":
                return {**schema, "minLength": length, "maxLength": length}
        return schema

    def _map(self, oid: int, depth: int) -> Mapped:
        found = resolved(self._types, oid)
        if found is None or depth > NESTING_MAX:
            return _ANY
        match found.kind:
            case "enum":
                return Mapped({"type": "string", "enum": list(found.labels)}, values.text)
            case "range":
                return _OTHER_TEXT
            case "array":
                return self._array(found, depth)
            case "composite":
                return self._composite(found, depth)
        if found.builtin:
            return BUILTIN.get(found.name, _ANY)
        return EXTENSIONS.get(found.name, _ANY)

    def _array(self, found: PgType, depth: int) -> Mapped:
        element = self._map(found.element, depth + 1)
        # How deep arrays nest isn't part of their type, so neither is it of their schema.
        items = dict(element.schema)
        kinds = items.get("type")
        if kinds is not None:
            items["type"] = list(
                dict.fromkeys([*([kinds] if isinstance(kinds, str) else kinds), "null", "array"])
            )
            items.pop("enum", None)
        schema = {"type": "array", "items": items}
        delimiter = b";" if found.name == "_box" else b","
        if element.exact:
            return Mapped(schema, composites.exact_arrays)
        return Mapped(schema, values.each(_array_of(element.convert, delimiter)))

    def _composite(self, found: PgType, depth: int) -> Mapped:
        parts = [(name, self._map(oid, depth + 1)) for name, oid in found.fields]
        schema = {"type": "object", "properties": {name: part.schema for name, part in parts}}
        schema["properties"] = {name: _nullable(part.schema) for name, part in parts}
        convert = composites.composite([(name, part.convert) for name, part in parts])
        return Mapped(schema, values.each(convert))


def _nullable(schema: Schema) -> Schema:
    kinds = schema.get("type")
    if kinds is None:
        return schema
    nullable: dict[str, Any] = {
        **schema,
        "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"],
    }
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _array_of(convert: Converter, delimiter: bytes) -> Callable[[bytes], bytes]:
    return partial(composites.array, convert=convert, delimiter=delimiter)
