"""A document made of its columns again, where the whole document has none.

The columns of a document's own properties make it; nested ones are in them. What is equal in value
comes back equal: moments as the same instant in UTC, durations and numbers as PostgreSQL spells
them. A property that may be missing and whose column is null comes back as missing; one that must
be there comes back as null.
"""

from typing import Final

from estuary_cdk.kits.sql import Target, TargetColumn
from estuary_cdk.materialize import Binding, Field
from materialize_postgres.config import Resource
from materialize_postgres.dialect import as_jsonb, literal, quote

# A function of PostgreSQL takes 100 arguments.
PAIRS_MAX: Final = 50


def rebuilt(binding: Binding[Resource], into: Target) -> str:
    """Return the expression of a document's text, over the table `t`."""
    fields = zip((*binding.keys, *binding.values), (*into.keys, *into.values), strict=True)
    parts: dict[str, tuple[Field, TargetColumn]] = {}
    for field, column in fields:
        if field.pointer.count("/") == 1:
            parts.setdefault(_name(field), (field, column))
    always = [
        f"{literal(name)}, {_value(*part)}" for name, part in parts.items() if _always(part[0])
    ]
    objects = [
        f"jsonb_build_object({', '.join(always[at : at + PAIRS_MAX])})"
        for at in range(0, max(len(always), 1), PAIRS_MAX)
    ]
    for name, (field, column) in parts.items():
        if not _always(field):
            missing = f"t.{quote(column.name)} IS NULL"
            single = f"jsonb_build_object({literal(name)}, {_value(field, column)})"
            objects.append(f"CASE WHEN {missing} THEN '{{}}'::jsonb ELSE {single} END")
    return f"({' || '.join(objects)})::text"


def _name(field: Field) -> str:
    return field.pointer[1:].replace("~1", "/").replace("~0", "~")


def _always(field: Field) -> bool:
    return field.is_key or field.inference.exists == "MUST"


def _value(field: Field, column: TargetColumn) -> str:
    types = set(field.inference.types) - {"null"}
    form = as_jsonb(column.type.sql)
    if column.type.sql == "NUMERIC" and types == {"string"}:
        form = "to_jsonb({}::text)"
    if column.type.sql == "TEXT" and "string" not in types:
        form = "{}::jsonb"
    value = form.replace("{}", f"t.{quote(column.name)}")
    return f"coalesce({value}, 'null'::jsonb)" if field.nullable else value
