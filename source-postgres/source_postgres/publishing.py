"""What the publication and each table have to be for all of a table's changes to be captured.

A publication that takes in a table whose updates can't be told apart makes the server refuse them
to everyone who writes to it. So none is added before it has a replica identity.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.kits.sql_cdc.tables import Table, TableId, key_columns
from estuary_cdk.logs import get_logger
from source_postgres.backfill import identifier, qualified
from source_postgres.config import Config
from source_postgres.prerequisites import Problem

log = get_logger(__name__)

VIA_ROOT_VERSION_MIN: Final = 130000
WRITER: Final = "run as a superuser"
OWNER: Final = "run as a superuser or its owner"
ON_PRIMARY: Final = "run on the primary as a superuser"

_PUBLICATION: Final = """
select pubinsert and pubupdate and pubdelete, pubtruncate, {via_root}, pg_is_in_recovery()
from pg_publication where pubname = %s
"""
_UNREADABLE: Final = b"""
select a.attrelid::int8, a.attname::text
from pg_attribute a
where a.attrelid = any(%s::oid[]) and a.attnum > 0 and not a.attisdropped
  and not has_column_privilege(a.attrelid, a.attnum, 'SELECT')
"""
_ABSENT: Final = b"""
select has_schema_privilege(n.oid, 'USAGE'), c.relkind::text, c.relpersistence::text,
       c.relispartition
from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relname = %(table)s
where n.nspname = %(schema)s
"""
_KINDS: Final = {
    "v": "it is a view: capture the tables it shows",
    "m": "it is a materialized view: capture the tables it shows",
    "f": "it is a foreign table: capture it where it is",
}


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as the server has it."""

    changes: bool
    truncations: bool
    via_root: bool
    standby: bool


def read_publication(connection: Connection[Any], name: str) -> Publication | None:
    """Return the publication of a name, None where there is none."""
    known = connection.info.server_version >= VIA_ROOT_VERSION_MIN
    query = _PUBLICATION.format(via_root="pubviaroot" if known else "false")
    row = connection.execute(query.encode(), [name]).fetchone()
    return None if row is None else Publication(*row)


def publication_problems(connection: Connection[Any], config: Config) -> list[Problem]:
    """Return what is wrong with the publication; creates it where that is allowed."""
    name = config.advanced.publication_name
    publication = read_publication(connection, name)
    if publication is None:
        return _created(connection, config)
    if not publication.changes:
        publish = "publish = 'insert, update, delete, truncate'"
        return [
            Problem(
                f"publication {name!r} leaves out changes",
                (f"ALTER PUBLICATION {identifier(name)} SET ({publish})",),
                WRITER,
            )
        ]
    if not publication.truncations:
        log.warning("the publication leaves out TRUNCATE", publication=name)
    return []


def _created(connection: Connection[Any], config: Config) -> list[Problem]:
    name = config.advanced.publication_name
    create = f"CREATE PUBLICATION {identifier(name)}"
    by_root = not config.advanced.capture_as_partitions
    if by_root and connection.info.server_version >= VIA_ROOT_VERSION_MIN:
        create += " WITH (publish_via_partition_root = true)"
    standby = _in_recovery(connection)
    if not (standby or config.advanced.read_only_capture):
        try:
            connection.execute(create.encode())
        except psycopg.Error as error:
            log.debug("the publication couldn't be created", error=str(error))
        else:
            log.info("publication created", publication=name)
            return []
    cause = f"publication {name!r} does not exist"
    return [Problem(cause, (create,), ON_PRIMARY if standby else WRITER)]


def _in_recovery(connection: Connection[Any]) -> bool:
    row = connection.execute(b"select pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def table_problems(
    connection: Connection[Any], config: Config, tables: Collection[Table]
) -> list[Problem]:
    """Return what is wrong with tables; adds those to the publication that it lacks."""
    problems = list(_read_problems(connection, config, tables))
    publication = read_publication(connection, config.advanced.publication_name)
    assert publication is not None
    problems += _partition_problems(connection, config, publication, tables)
    for table in tables:
        if table.details.published:
            _warn_of_identity(table)
        elif publication.via_root or not table.details.partitioned:
            problems += _publish(connection, config, publication, table)
    return problems


def _read_problems(
    connection: Connection[Any], config: Config, tables: Collection[Table]
) -> Iterator[Problem]:
    by_oid = {table.details.oid: table for table in tables}
    unreadable: dict[int, set[str]] = {}
    for oid, column in connection.execute(_UNREADABLE, [list(by_oid)]):
        unreadable.setdefault(oid, set()).add(column)
    user = identifier(config.user)
    for oid, denied in unreadable.items():
        table = by_oid[oid]
        shown = {column.name for column in table.columns}
        if missing := sorted(denied & shown):
            some = f"columns {missing} of " if len(missing) < len(shown) else ""
            yield Problem(
                f"user {config.user!r} cannot read from {some}table {table.name!r}",
                (f"GRANT SELECT ON {qualified(table)} TO {user}",),
                OWNER,
            )


def _partition_problems(
    connection: Connection[Any],
    config: Config,
    publication: Publication,
    tables: Collection[Table],
) -> Iterator[Problem]:
    """Yield a problem where changes of partitions come under another name than is captured."""
    name = config.advanced.publication_name
    alter = f"ALTER PUBLICATION {identifier(name)} SET (publish_via_partition_root = "
    roots = sorted(table.name for table in tables if table.details.partitioned)
    leaves = sorted(table.name for table in tables if table.details.partition)
    if roots and connection.info.server_version < VIA_ROOT_VERSION_MIN:
        yield Problem(
            f"this version of the server publishes changes of partitions as theirs alone, so none "
            f"of table {roots[0]!r} would be captured",
            how="set advanced.capture_as_partitions to capture its partitions as tables",
        )
    elif roots and not publication.via_root:
        yield Problem(
            f"publication {name!r} publishes changes of partitions as theirs, so none of table "
            f"{roots[0]!r} would be captured",
            (f"{alter}true)",),
            WRITER,
        )
    if leaves and publication.via_root:
        yield Problem(
            f"publication {name!r} publishes changes of partitions as their root's, so none of "
            f"partition {leaves[0]!r} would be captured",
            (f"{alter}false)",),
            WRITER,
        )


def key_problems(table: Table, key: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem where deletions don't tell the key that a collection has."""
    told = table.details.told
    columns = key_columns(key, table)
    if columns is None or told is None or not table.details.identified:
        return
    missing = [name for name in columns if name not in told]
    if missing:
        yield Problem(
            f"deletions and changed keys of table {table.name!r} do not tell its column "
            f"{missing[0]!r}, which is in the collection's key: its replica identity is another",
            (_remedy(table),),
            OWNER,
        )


def _remedy(table: Table) -> str:
    return f"ALTER TABLE {qualified(table)} REPLICA IDENTITY FULL"


def _warn_of_identity(table: Table) -> None:
    if not table.details.identified:
        log.warning(
            "updates and deletions of a table without replica identity fail on the server",
            table=table.name,
            remedy=_remedy(table),
        )


def _publish(
    connection: Connection[Any], config: Config, publication: Publication, table: Table
) -> list[Problem]:
    name = config.advanced.publication_name
    add = f"ALTER PUBLICATION {identifier(name)} ADD TABLE {qualified(table)}"
    if not table.details.identified:
        return [
            Problem(
                f"table {table.name!r} is not in publication {name} and isn't added "
                "automatically, since the server would refuse its updates and deletions: it has no "
                "replica identity (a primary key that isn't deferrable, or another)",
                (_remedy(table), add),
                OWNER,
            )
        ]
    if not (config.advanced.read_only_capture or publication.standby):
        try:
            connection.execute(add.encode())
        except psycopg.Error as error:
            log.debug("the table couldn't be published", table=table.name, error=str(error))
        else:
            log.info("table added to the publication", table=table.name, publication=name)
            return []
    return [
        Problem(
            f"table {table.name!r} is not in publication {name} and couldn't be added "
            "automatically",
            (add,),
            ON_PRIMARY if publication.standby else OWNER,
        )
    ]


def absence(connection: Connection[Any], config: Config, table: TableId) -> Problem:
    """Return why a table isn't among those discovered."""
    cause = f"could not find or access table {'.'.join(table)!r}"
    row = connection.execute(_ABSENT, {"schema": table[0], "table": table[1]}).fetchone()
    if row is None:
        return Problem(f"{cause}: there is no schema {table[0]!r}")
    usable, kind, persistence, partition = row
    if not usable:
        grant = f"GRANT USAGE ON SCHEMA {identifier(table[0])} TO {identifier(config.user)}"
        return Problem(f"{cause}: user {config.user!r} cannot use its schema", (grant,), OWNER)
    if kind is None:
        return Problem(f"{cause}: there is no table of that name in its schema")
    if kind in _KINDS:
        return Problem(f"{cause}: {_KINDS[kind]}")
    name = ".".join(map(identifier, table))
    if persistence == "u":
        logged = (f"ALTER TABLE {name} SET LOGGED",)
        return Problem(f"{cause}: it is unlogged, so its changes aren't in the log", logged, OWNER)
    if partition and not config.advanced.capture_as_partitions:
        return Problem(
            f"{cause}: it is a partition", how="capture its root, or set capture_as_partitions"
        )
    return Problem(f"{cause}: it is left out of discovery")
