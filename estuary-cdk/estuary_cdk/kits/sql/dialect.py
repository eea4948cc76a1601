"""A kind of SQL database as a value: how it spells names, parameters, types and changes.

`ANSI` is the common ground. A dialect is derived from another with `dataclasses.replace` and is
never subclassed; what a database does differently in kind rather than in spelling (how it loads,
how it stores in bulk) is its connector's. Names are always quoted, so reserved words need no list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from estuary_cdk.kits.sql import enumerations
from estuary_cdk.kits.sql.flattening import Kind, field_config, flat
from estuary_cdk.kits.sql.readings import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    INT64,
    INTEGER_TEXT,
    JSON_TEXT,
    PLAIN_TEXT,
    TEXT,
    Reading,
)
from estuary_cdk.materialize.bindings import Column, Field
from estuary_cdk.materialize.destination import Fit, Forbidden, Rules, as_is


def quoted(mark: str) -> Callable[[str], str]:
    """Return a function that quotes an identifier with `mark`, doubling it inside."""

    def quote(identifier: str) -> str:
        if "\x00" in identifier:
            raise ValueError(f"can't quote identifier {identifier!r}: it has a zero character")
        return mark + identifier.replace(mark, mark + mark) + mark

    return quote


def question_mark(_position: int) -> str:
    """Spell a parameter as SQLite does; other drivers have `%s` or `$1`."""
    return "?"


def on_conflict(quote: Callable[[str], str], keys: Sequence[str], others: Sequence[str]) -> str:
    """Spell the end of an INSERT that updates a row whose key is there."""
    key = ", ".join(map(quote, keys))
    if not others:
        return f"ON CONFLICT ({key}) DO NOTHING"
    changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in others)
    return f"ON CONFLICT ({key}) DO UPDATE SET {changes}"


_FORMATTED: Final = frozenset({Kind.STRING_INTEGER, Kind.STRING_NUMBER})


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type of column: its spelling, how values get there, and how a parameter is wrapped.

    `fetch` is how the column is wrapped where it is selected, `{}` standing for it.
    """

    sql: str
    reading: Reading
    bind: str = "{}"
    fetch: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeTable:
    """The type of column for each kind of field; kinds left out can't be materialized.

    A STRING with a format takes the type of `formats` if that has it. Key columns look in
    `key_kinds` and `key_formats` first. `as_text` holds what a user asked to cast to a string,
    `document` whole documents, byte for byte, where objects have a type that keeps less, and
    `either` what is a number in one document and the string of one in another, where it matters
    which it was, and `mixed` the same by kind, where it doesn't. `enumerated` chooses the type of a
    string that is always one of the given labels; None where it is as any string is. A key is never
    such a column, for it couldn't become text when the schema opens.
    """

    kinds: Mapping[Kind, ColumnType]
    as_text: ColumnType
    document: ColumnType | None = None
    either: ColumnType | None = None
    mixed: Mapping[Kind, ColumnType] = field(default_factory=dict)
    enumerated: Callable[[tuple[str, ...]], ColumnType | None] | None = None
    formats: Mapping[str, ColumnType] = field(default_factory=dict)
    key_kinds: Mapping[Kind, ColumnType] = field(default_factory=dict)
    key_formats: Mapping[str, ColumnType] = field(default_factory=dict)

    def of(self, wanted: Field) -> ColumnType | None:
        """Return the type of a field's column, None if it can't have one."""
        shape = flat(wanted)
        if field_config(wanted).cast_to_string and shape.kind is not Kind.NEVER:
            return self.as_text
        if wanted.is_document and self.document is not None:
            return self.document
        if shape.kind in _FORMATTED and _mixed(wanted):
            mixed = self.either or self.mixed.get(shape.kind)
            if mixed is not None:
                return mixed
        found: list[ColumnType | None] = []
        if wanted.is_key:
            found = [self.key_formats.get(shape.format), self.key_kinds.get(shape.kind)]
        elif self.enumerated is not None and (labels := enumerations.labels(wanted)):
            found = [self.enumerated(labels)]
        found += [self.formats.get(shape.format), self.kinds.get(shape.kind)]
        return next((each for each in found if each is not None), None)


def _mixed(field: Field) -> bool:
    return len(set(field.inference.types) - {"null"}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of database spells what all of them can do.

    - `quote(identifier)` is the only place where a name becomes SQL.
    - `placeholder(position)` spells a parameter; positions count from 1.
    - `migrations[before, after]` is the expression, with `{}` for the old column, by which a column
      of one type becomes one of another; what isn't there needs a backfill.
    - `holds[existing, wanted]` is how the values of one type go into a column that is of another
      and can stay so, because it holds all of them. Both know an enumeration as `ENUM`.
    - `upsert(quote, keys, others)` ends an INSERT that overwrites the row of an equal key.
    - `drop_not_null` has `{table}` and `{column}`; None where tables must be rebuilt for it.
    - `alter_type` has `{table}`, `{column}`, `{type}` and `{value}`, how the new value is made;
      None where a column gets a new type by way of a temporary one.
    - `drop_key` has `{table}`; it lets rows repeat their key. None where tables must be rebuilt.
    - `empty` has `{table}`; it deletes all rows and can be rolled back.
    - `comment` spells what a column holds, for people; None where columns have no comments.
    - `create_suffix` ends every CREATE TABLE.
    - `lookup_join` joins few keys to a large table that is to be looked up by its primary key.
    - `text`, `integer` and `key_text` are the types of the checkpoints table.
    """

    name: str
    quote: Callable[[str], str]
    placeholder: Callable[[int], str]
    types: TypeTable
    migrations: Mapping[tuple[str, str], str]
    holds: Mapping[tuple[str, str], ColumnType] = field(default_factory=dict)
    upsert: Callable[[Callable[[str], str], Sequence[str], Sequence[str]], str] = on_conflict
    drop_not_null: str | None = "ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"
    alter_type: str | None = None
    drop_key: str | None = None
    empty: str = "DELETE FROM {table}"
    comment: Callable[[str, str, str], str] | None = None
    create_suffix: str = ""
    lookup_join: str = "JOIN"
    text: str = "TEXT"
    key_text: str = "TEXT"
    integer: str = "BIGINT"
    folded: Callable[[str], str] = as_is
    name_length_max: int | None = None
    name_length: Callable[[str], int] = len
    case_insensitive: bool = False

    def table(self, path: Sequence[str]) -> str:
        """Spell the name of a table, its namespaces first."""
        return ".".join(map(self.quote, path))

    def rules(self) -> Rules:
        """Return what this kind of database allows, for negotiating fields and planning changes."""
        return Rules(
            column_type=self._column_type,
            fit=self._fit,
            folded=self.folded,
            name_length_max=self.name_length_max,
            name_length=self.name_length,
            case_insensitive=self.case_insensitive,
        )

    def _column_type(self, wanted: Field) -> str | Forbidden:
        known = self.types.of(wanted)
        if known is not None:
            return known.sql
        return Forbidden(f"{self.name} has no column for a field of type {flat(wanted).kind!s}")

    def held(self, existing: str, wanted: str) -> ColumnType | None:
        """Return how the values of one type go into a column of another that holds them all."""
        return self.holds.get((enumerations.family(existing), enumerations.family(wanted)))

    def cast(self, existing: str, wanted: str) -> str | None:
        """Return the expression by which a type becomes another, None where there is none."""
        return self.migrations.get((enumerations.family(existing), enumerations.family(wanted)))

    def _fit(self, existing: Column, wanted: Column, wanted_field: Field) -> Fit:
        there = enumerations.labels_of(existing.type)
        if there is not None:
            # Whatever the wanted type is, a column that has all labels holds the field.
            needed = enumerations.labels_of(wanted.type) or enumerations.labels(wanted_field)
            if needed and not enumerations.missing(there, needed):
                return Fit.COMPATIBLE
            if enumerations.labels_of(wanted.type) is not None:
                return Fit.MIGRATABLE
        elif existing.type.upper() == wanted.type.upper():
            return Fit.COMPATIBLE
        if self.held(existing.type, wanted.type) is not None:
            return Fit.COMPATIBLE
        castable = self.cast(existing.type, wanted.type) is not None
        return Fit.MIGRATABLE if castable else Fit.INCOMPATIBLE


_JSON: Final = ColumnType("TEXT", JSON_TEXT)
_PLAIN: Final = ColumnType("TEXT", PLAIN_TEXT)

ANSI: Final = Dialect(
    name="SQL",
    quote=quoted('"'),
    placeholder=question_mark,
    types=TypeTable(
        kinds={
            Kind.ARRAY: _JSON,
            Kind.BINARY: ColumnType("BLOB", BYTES),
            Kind.BOOLEAN: ColumnType("BOOLEAN", BOOLEAN),
            Kind.INTEGER: ColumnType("BIGINT", INT64),
            Kind.BIG_INTEGER: ColumnType("TEXT", INTEGER_TEXT),
            Kind.MULTIPLE: _JSON,
            Kind.NUMBER: ColumnType("DOUBLE PRECISION", DOUBLE),
            Kind.OBJECT: _JSON,
            Kind.STRING: ColumnType("TEXT", TEXT),
            Kind.STRING_INTEGER: _PLAIN,
            Kind.STRING_NUMBER: _PLAIN,
        },
        as_text=_PLAIN,
    ),
    migrations={
        ("BIGINT", "DOUBLE PRECISION"): "CAST({} AS DOUBLE PRECISION)",
        ("BIGINT", "TEXT"): "CAST({} AS TEXT)",
    },
)
"""The common ground of SQL databases: the start of every dialect."""
