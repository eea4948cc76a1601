"""A document made of its columns again, where the whole document has none.

The columns of a document's own properties make it; nested ones are in them. What is equal in value
comes back equal: moments as the same instant in UTC, to the microsecond. A property that may be
missing and whose column is null comes back as missing; one that must be there comes back as null.
"""

from typing import Final

import msgspec

from estuary_cdk.kits.sql import Target, TargetColumn
from estuary_cdk.materialize import Binding, Field
from materialize_bigquery.config import Resource
from materialize_bigquery.dialect import TEXT_OF, literal, quote

_BARE: Final = frozenset(
    {"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BIGNUMERIC(38)", "BOOL", "JSON"}
)


def rebuilt(binding: Binding[Resource], into: Target) -> str:
    """Return the expression of a document's text, over the table `t`."""
    fields = zip((*binding.keys, *binding.values), (*into.keys, *into.values), strict=True)
    parts: dict[str, tuple[Field, TargetColumn]] = {}
    for field, column in fields:
        if field.pointer.count("/") == 1:
            parts.setdefault(_name(field), (field, column))
    # Keys are always there, so what follows the first of them begins with a comma.
    ordered = sorted(parts.items(), key=lambda part: not part[1][0].is_key)
    pieces = [
        _member(name, field, column, first=index == 0)
        for index, (name, (field, column)) in enumerate(ordered)
    ]
    return f"CONCAT('{{', {', '.join(pieces)}, '}}')"


def _name(field: Field) -> str:
    return field.pointer[1:].replace("~1", "/").replace("~0", "~")


def _member(name: str, field: Field, column: TargetColumn, *, first: bool) -> str:
    start = ("" if first else ",") + msgspec.json.encode(name).decode() + ":"
    value = _value(field, column)
    reference = f"t.{quote(column.name)}"
    if field.is_key or not field.nullable:
        return f"{literal(start)}, {value}"
    if field.inference.exists == "MUST":
        return f"{literal(start)}, IFNULL({value}, 'null')"
    return f"IF({reference} IS NULL, '', CONCAT({literal(start)}, {value}))"


def _value(field: Field, column: TargetColumn) -> str:
    """Return the expression of a value's JSON text."""
    reference = f"t.{quote(column.name)}"
    types = set(field.inference.types) - {"null"}
    sql = column.type.sql
    if sql == "STRING":
        return reference if "string" not in types else f"TO_JSON_STRING({reference})"
    text = TEXT_OF[sql].replace("{}", reference)
    if sql in _BARE and (sql == "JSON" or types != {"string"}):
        return text
    return f"TO_JSON_STRING({text})"
