"""What has to be so on the server: checked together, each failure with the SQL that mends it."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.tables import Table
from estuary_cdk.logs import get_logger
from source_postgres import slots
from source_postgres.backfill import identifier, qualified
from source_postgres.config import Config

log = get_logger(__name__)

VERSION_MIN: Final = 100000
PROBLEMS_SHOWN_MAX: Final = 20
WRITER: Final = "a superuser"

_SERVER: Final = b"""
select current_setting('wal_level'),
       current_setting('max_replication_slots')::int,
       (select count(*)::int from pg_replication_slots),
       current_setting('max_wal_senders')::int,
       (select count(*)::int from pg_stat_replication),
       (select rolsuper or rolreplication from pg_roles where rolname = current_user)
         or exists (select from pg_roles where rolname = 'rds_replication'
                    and pg_has_role(current_user, oid, 'member')),
       pg_is_in_recovery()
"""
_PUBLICATION: Final = b"""
select puballtables, pubinsert and pubupdate and pubdelete, pubtruncate, pubviaroot
from pg_publication where pubname = %s
"""
_READABLE: Final = b"""
select c.oid::int8,
       has_table_privilege(c.oid, 'SELECT') or has_any_column_privilege(c.oid, 'SELECT'),
       has_schema_privilege(c.relnamespace, 'USAGE')
from pg_class c where c.oid = any(%s::oid[])
"""


def require(problems: Sequence[str]) -> None:
    """Raise one ConfigError that lists the problems, if there are any."""
    if not problems:
        return
    shown = list(problems[:PROBLEMS_SHOWN_MAX])
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    raise ConfigError(
        "the capture cannot run due to the following error(s): " + "; ".join(shown),
        problems=list(problems),
    )


def server_problems(connection: Connection[Any], config: Config) -> list[str]:
    """Return what is wrong with the server, whatever is captured; creates the publication."""
    version = connection.info.server_version
    if version < VERSION_MIN:
        return [
            "minimum supported Postgres version is 10.0: attempted to capture from database "
            f"version {version // 10000}.{version % 10000}"
        ]
    row = connection.execute(_SERVER).fetchone()
    assert row is not None
    wal_level, slots_max, slots_used, senders_max, senders_used, replicates, standby = row
    problems = []
    if wal_level != "logical":
        problems.append(
            f"logical replication isn't enabled: current wal_level = {wal_level!r}; run, and "
            "restart the server: ALTER SYSTEM SET wal_level = 'logical'"
        )
    if not replicates:
        problems.append(
            f"user {config.user!r} must have the REPLICATION role (or 'rds_replication' on RDS): "
            f"ALTER USER {identifier(config.user)} WITH REPLICATION"
        )
    if standby and version < 160000:
        problems.append("a standby can't be captured from before PostgreSQL 16: use the primary")
    problems += _slot_problems(connection, config, slots_used, slots_max)
    if senders_used >= senders_max:
        problems.append(
            f"all {senders_max} WAL senders are in use; run, and restart the server: ALTER SYSTEM "
            f"SET max_wal_senders = {senders_max + 10}"
        )
    return [*problems, *_publication_problems(connection, config, standby=standby)]


def _slot_problems(connection: Connection[Any], config: Config, used: int, limit: int) -> list[str]:
    slot = slots.read_slot(connection, config.advanced.slot_name)
    if slot is None:
        if used >= limit:
            return [
                f"all {limit} replication slots are in use; drop one that isn't needed (SELECT "
                "pg_drop_replication_slot(slot_name)), or run, and restart the server: ALTER "
                f"SYSTEM SET max_replication_slots = {limit + 10}"
            ]
        return []
    try:
        slots.judge_kind(slot, config)
    except ConfigError as error:
        return [str(error)]
    return []


def _publication_problems(
    connection: Connection[Any], config: Config, *, standby: bool
) -> list[str]:
    name = config.advanced.publication_name
    row = connection.execute(_PUBLICATION, [name]).fetchone()
    if row is None:
        root = not config.advanced.capture_as_partitions
        create = f"CREATE PUBLICATION {identifier(name)}"
        if connection.info.server_version >= 130000 and root:
            create += " WITH (publish_via_partition_root = true)"
        if not (standby or config.advanced.read_only_capture):
            try:
                connection.execute(create.encode())
            except psycopg.Error as error:
                log.debug("the publication couldn't be created", error=str(error))
            else:
                log.info("publication created", publication=name)
                return []
        return [f"publication {name!r} does not exist; run as {WRITER}: {create}"]
    _, changes, truncations, _ = row
    if not changes:
        return [
            f"publication {name!r} leaves out changes: ALTER PUBLICATION {identifier(name)} SET "
            "(publish = 'insert, update, delete, truncate')"
        ]
    if not truncations:
        log.warning("the publication leaves out TRUNCATE", publication=name)
    return []


def table_problems(
    connection: Connection[Any], config: Config, tables: Collection[Table]
) -> list[str]:
    """Return what is wrong with tables; adds those to the publication that it lacks."""
    by_oid = {table.details.oid: table for table in tables}
    problems = []
    for oid, readable, usable in connection.execute(_READABLE, [list(by_oid)]):
        table = by_oid[oid]
        if not usable:
            problems.append(
                f"user {config.user!r} cannot use schema {table.id[0]!r}: GRANT USAGE ON SCHEMA "
                f"{identifier(table.id[0])} TO {identifier(config.user)}"
            )
        elif not readable:
            problems.append(
                f"user {config.user!r} cannot read from table {table.name!r}: GRANT SELECT ON "
                f"{qualified(table)} TO {identifier(config.user)}"
            )
    for table in tables:
        if not table.details.published and (problem := _publish(connection, config, table)):
            problems.append(problem)
        if table.details.identity == "n":
            log.warning(
                "updates and deletions of a table without replica identity fail on the server",
                table=table.name,
                remedy=f"ALTER TABLE {qualified(table)} REPLICA IDENTITY DEFAULT",
            )
    return problems


def _publish(connection: Connection[Any], config: Config, table: Table) -> str | None:
    name = config.advanced.publication_name
    add = f"ALTER PUBLICATION {identifier(name)} ADD TABLE {qualified(table)}"
    if not config.advanced.read_only_capture:
        try:
            connection.execute(add.encode())
        except psycopg.Error as error:
            log.debug("the table couldn't be published", table=table.name, error=str(error))
        else:
            log.info("table added to the publication", table=table.name, publication=name)
            return None
    return (
        f"table {table.name!r} is not in publication {name} and couldn't be added automatically; "
        f"run as {WRITER} or its owner: {add}"
    )
