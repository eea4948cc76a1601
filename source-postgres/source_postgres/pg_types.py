"""The server's types: what kind each is, and what it is made of, read once and kept by OID."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from psycopg import Connection

Kind = Literal["base", "array", "enum", "domain", "composite", "range"]

NESTING_MAX: Final = 16

_TYPES: Final = """
select t.oid::int8, t.typname::text, n.nspname::text, t.typtype::text, t.typelem::int8,
       t.typbasetype::int8, t.typcategory::text, t.typarray::int8, t.typtypmod,
       case when t.typtype = 'e' then array(
         select e.enumlabel::text from pg_catalog.pg_enum e
         where e.enumtypid = t.oid order by e.enumsortorder) end,
       case when t.typtype = 'c' then array(
         select a.attname::text from pg_catalog.pg_attribute a
         where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
         order by a.attnum) end,
       case when t.typtype = 'c' then array(
         select a.atttypid::int8 from pg_catalog.pg_attribute a
         where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
         order by a.attnum) end,
       t.typsubscript::text
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_class c on c.oid = t.typrelid
where (t.typrelid = 0 or c.relkind = 'c')
  and (t.typelem = 0 or t.typcategory <> 'A' or exists (
    select from pg_catalog.pg_type e left join pg_catalog.pg_class k on k.oid = e.typrelid
    where e.oid = t.typelem and (e.typrelid = 0 or k.relkind = 'c')))
"""


@dataclass(frozen=True, slots=True)
class PgType:
    """A type: `element` of an array, `base` of a domain, `labels` of an enum, `fields` by name."""

    oid: int
    name: str
    namespace: str
    kind: Kind
    element: int = 0
    base: int = 0
    labels: tuple[str, ...] = ()
    fields: tuple[tuple[str, int], ...] = ()

    @property
    def builtin(self) -> bool:
        """Whether the type is PostgreSQL's own."""
        return self.namespace == "pg_catalog"


Types = Mapping[int, PgType]


def load_types(connection: "Connection[Any]") -> Types:
    """Read the types of the database."""
    query = _TYPES
    if connection.info.server_version < 140000:
        query = query.replace("t.typsubscript::text", "null")
    return {row[0]: _type(row) for row in connection.execute(query.encode())}


def _type(row: Sequence[Any]) -> PgType:
    oid, name, namespace, typtype, element, base, category = row[:7]
    kind: Kind = "base"
    if typtype == "d":
        kind = "domain"
    elif typtype == "e":
        kind = "enum"
    elif typtype == "c":
        kind = "composite"
    elif typtype in {"r", "m"}:
        kind = "range"
    elif category == "A" and element:
        kind = "array"
    fields = tuple(zip(row[10] or (), row[11] or (), strict=True))
    return PgType(
        oid, name, namespace, kind, element if kind == "array" else 0, base, tuple(row[9] or ()),
        fields,
    )  # fmt: skip


def resolved(types: Types, oid: int) -> PgType | None:
    """Return a type with its domains taken off; None for one that isn't known."""
    found = types.get(oid)
    for _ in range(NESTING_MAX):
        if found is None or found.kind != "domain":
            break
        found = types.get(found.base)
    return found
