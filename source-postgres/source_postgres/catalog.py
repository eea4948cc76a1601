"""Discovery: the tables of a database, their columns and keys, in a handful of queries for all."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.kits.sql_cdc.tables import Column, Table, TableId
from estuary_cdk.logs import get_logger
from source_postgres.column_types import TypeTable
from source_postgres.config import Config
from source_postgres.pg_types import Types, load_types

log = get_logger(__name__)

SYSTEM_SCHEMAS: Final = (
    "pg_catalog",
    "pg_internal",
    "information_schema",
    "catalog_history",
    "cron",
    "pglogical",
)
FLOW_TABLES: Final = ("flow_materializations_v2", "flow_checkpoints_v1")
FLOW_COLUMN: Final = "flow_published_at"

_TABLES: Final = """
select c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relreplident::text,
       c.reltuples::float8, obj_description(c.oid, 'pg_class'),
       c.relispartition
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relpersistence = 'p' and c.relkind in ('r', 'p')
  and (case when %(leaves)s then c.relkind = 'r' else not c.relispartition end)
  and n.nspname <> all(%(system)s) and n.nspname not like 'pg\\_temp\\_%%'
  and has_schema_privilege(n.oid, 'USAGE')
order by n.nspname, c.relname
"""
_COLUMNS: Final = """
select a.attrelid::int8, a.attnum, a.attname::text, a.atttypid::int8, a.atttypmod, a.attnotnull,
       a.attgenerated::text, format_type(a.atttypid, a.atttypmod),
       col_description(a.attrelid, a.attnum), {bytewise}
from pg_catalog.pg_attribute a
left join pg_catalog.pg_collation l on l.oid = a.attcollation
join pg_catalog.pg_database d on d.datname = current_database()
where a.attrelid = any(%(tables)s::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""
# Whether text sorts by its bytes: in collation C, and in those of the builtin provider.
_BYTEWISE: Final = """
coalesce(case l.collprovider
  when 'd' then {database}
  when 'c' then l.collcollate in ('C', 'POSIX')
  else l.collprovider = 'b' end, false)
"""
_DATABASE_BYTEWISE: Final = "d.datcollate in ('C', 'POSIX')"
_DATABASE_BYTEWISE_15: Final = (
    f"(d.datlocprovider = 'b' or d.datlocprovider = 'c' and {_DATABASE_BYTEWISE})"
)
_INDEXES: Final = """
select i.indrelid::int8, i.indisprimary, k.relname::text,
       (i.indkey::int2[])[0:i.indnkeyatts - 1], i.indisreplident, i.indimmediate
from pg_catalog.pg_index i
join pg_catalog.pg_class k on k.oid = i.indexrelid
where i.indrelid = any(%(tables)s::oid[]) and i.indisunique and i.indisvalid
  and i.indpred is null and i.indexprs is null and i.indislive
order by i.indrelid, not i.indisprimary, k.relname
"""
_PUBLISHED: Final = """
select p.schemaname::text, p.tablename::text, {attributes}, {filter}
from pg_catalog.pg_publication_tables p where p.pubname = %(publication)s
"""


@dataclass(frozen=True, slots=True)
class PgColumn:
    """A column as the catalog has it."""

    number: int
    name: str
    type_oid: int
    not_null: bool
    generated: bool


@dataclass(frozen=True, slots=True)
class Details:
    """What only PostgreSQL's part of the capture needs of a table."""

    oid: int
    columns: Mapping[str, PgColumn]
    identity: str
    rows: float
    partitioned: bool
    types: TypeTable
    partition: bool
    identified: bool
    """Whether updates and deletions can be published."""
    told: frozenset[str] | None
    """The columns that deletions and changed keys tell of a row; None for all."""
    published: bool
    row_filter: str | None


@dataclass(frozen=True, slots=True)
class _Published:
    columns: frozenset[str] | None
    row_filter: str | None


def discover(connection: Connection[Any], config: Config) -> dict[TableId, Table]:
    """Read the tables that may be captured."""
    types = load_types(connection)
    table_types = TypeTable(types)
    leaves = config.advanced.capture_as_partitions
    rows = connection.execute(
        _TABLES.encode(), {"leaves": leaves, "system": list(SYSTEM_SCHEMAS)}
    ).fetchall()
    oids = [row[0] for row in rows]
    columns = defaultdict(list)
    since_15 = connection.info.server_version >= 150000
    database = _DATABASE_BYTEWISE_15 if since_15 else _DATABASE_BYTEWISE
    query = _COLUMNS.format(bytewise=_BYTEWISE.format(database=database))
    for row in connection.execute(query.encode(), {"tables": oids}):
        columns[row[0]].append(row[1:])
    indexes = defaultdict(list)
    for row in connection.execute(_INDEXES.encode(), {"tables": oids}):
        indexes[row[0]].append(row[1:])
    published = _published(connection, config.advanced.publication_name)
    tables = {}
    for row in rows:
        table = _table(row, columns[row[0]], indexes[row[0]], (types, table_types), published)
        if not _is_flows_own(table, config):
            tables[table.id] = table
    return tables


def _published(connection: Connection[Any], publication: str) -> dict[TableId, _Published]:
    filtered = connection.info.server_version >= 150000
    query = _PUBLISHED.format(
        attributes="p.attnames::text[]" if filtered else "null",
        filter="p.rowfilter" if filtered else "null",
    )
    return {
        (schema, name): _Published(None if names is None else frozenset(names), row_filter)
        for schema, name, names, row_filter in connection.execute(
            query.encode(), {"publication": publication}
        )
    }


def _table(
    row: Sequence[Any],
    attributes: Sequence[Sequence[Any]],
    indexes: Sequence[Sequence[Any]],
    types: tuple[Types, TypeTable],
    published: Mapping[TableId, _Published],
) -> Table:
    oid, namespace, name, relkind, identity, rows, comment, partition = row
    table_id = (namespace, name)
    publication = published.get(table_id)
    shown: list[Column] = []
    known: dict[str, PgColumn] = {}
    sortable, predictable = set(), set()
    numbers = {}
    for number, column, type_oid, modifier, not_null, generated, *more in attributes:
        type_name, said, bytewise = more
        known[column] = PgColumn(number, column, type_oid, not_null, bool(generated))
        limited = publication is not None and publication.columns is not None
        if generated or (limited and column not in publication.columns):  # type: ignore[union-attr, operator]  # limited says it is
            continue
        numbers[number] = column
        schema = types[1].of_column(type_oid, modifier)
        shown.append(Column(column, type_name, schema, not not_null, said or ""))
        mapped = types[1].mapped(type_oid)
        if mapped.sortable:
            sortable.add(column)
        if mapped.predictable or (mapped.sortable and bytewise):
            predictable.add(column)
    details = Details(
        oid=oid,
        columns=known,
        identity=identity,
        rows=rows,
        partitioned=relkind == "p",
        partition=partition,
        identified=_identified(identity, indexes),
        told=_told(identity, indexes, numbers),
        types=types[1],
        published=publication is not None,
        row_filter=publication.row_filter if publication else None,
    )
    return Table(
        id=table_id,
        columns=tuple(shown),
        key=_key(indexes, numbers, known),
        sortable=frozenset(sortable),
        predictable=frozenset(predictable),
        identity=str(oid),
        description=comment or "",
        details=details,
    )


def _key(
    indexes: Sequence[Sequence[Any]],
    numbers: Mapping[int, str],
    known: Mapping[str, PgColumn],
) -> tuple[str, ...]:
    """Return the primary key, else the first unique index of columns that are never null."""
    # Deletions carry the columns of the replica identity alone: what it is, the key has to be.
    identity = [index for index in indexes if index[3] and not index[0]]
    for primary, _, positions, *_ in [*identity, *indexes]:
        names = [numbers.get(number) for number in positions]
        if not names or any(name is None for name in names):
            if primary:
                return ()
            continue
        key = tuple(name for name in names if name is not None)
        if primary or all(known[name].not_null for name in key):
            return key
    return ()


def _identified(identity: str, indexes: Sequence[Sequence[Any]]) -> bool:
    """Tell whether a replica identity tells rows apart: one by a key needs that key's index."""
    match identity:
        case "f":
            return True
        case "d":
            return any(primary and immediate for primary, _, _, _, immediate in indexes)
        case "i":
            return any(chosen for _, _, _, chosen, _ in indexes)
        case _:
            return False


def _told(
    identity: str, indexes: Sequence[Sequence[Any]], numbers: Mapping[int, str]
) -> frozenset[str] | None:
    """Return the columns of a replica identity; None for all of them."""
    if identity == "f":
        return None
    telling = [
        positions
        for primary, _, positions, chosen, _ in indexes
        if (identity == "d" and primary) or (identity == "i" and chosen)
    ]
    return frozenset(
        numbers[each] for positions in telling for each in positions if each in numbers
    )


def _is_flows_own(table: Table, config: Config) -> bool:
    if table.id[1] in FLOW_TABLES or ".".join(table.id) == config.advanced.watermarks_table:
        return True
    return any(column.name == FLOW_COLUMN for column in table.columns)


def wanted(tables: Mapping[TableId, Table], config: Config) -> list[Table]:
    """Return the tables that the discovery filters let through."""
    filters = config.discovery_filters
    schemas = {*filters.include_schemas, *config.advanced.discover_schemas}
    patterns = [_pattern(pattern) for pattern in filters.table_patterns]
    found = []
    for table in tables.values():
        namespace, name = table.id
        if schemas and namespace not in schemas:
            continue
        if namespace in filters.exclude_schemas:
            continue
        if patterns and not any(_matches(pattern, namespace, name) for pattern in patterns):
            continue
        if not table.details.published and not filters.discover_unpublished_tables:
            continue
        found.append(table)
    if not found:
        log.warning("no tables were discovered", tables=len(tables))
    return found


def _pattern(text: str) -> tuple[re.Pattern[str] | None, re.Pattern[str]]:
    parts = [_glob(part) for part in re.split(r"(?<!\\)\.", text)]
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def _glob(text: str) -> re.Pattern[str]:
    translated = re.sub(
        r"\\(.)|(\*)|(\?)|([^\\*?]+)",
        lambda m: re.escape(m[1]) if m[1] else ".*" if m[2] else "." if m[3] else re.escape(m[4]),
        text,
        flags=re.DOTALL,
    )
    return re.compile(translated, re.DOTALL)


def _matches(
    pattern: tuple[re.Pattern[str] | None, re.Pattern[str]], namespace: str, name: str
) -> bool:
    schema, table = pattern
    return (schema is None or schema.fullmatch(namespace) is not None) and bool(
        table.fullmatch(name)
    )


def row_counts(tables: Collection[Table]) -> dict[TableId, int]:
    """Return the planner's idea of how many rows tables have."""
    return {table.id: int(table.details.rows) for table in tables if table.details.rows >= 0}
