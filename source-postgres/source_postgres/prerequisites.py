"""What has to be so on the server: checked together, each failure with the SQL that mends it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.errors import ConfigError
from estuary_cdk.logs import get_logger
from source_postgres import slots
from source_postgres.backfill import identifier
from source_postgres.config import Config

log = get_logger(__name__)

VERSION_MIN: Final = 120000
STANDBY_VERSION_MIN: Final = 160000
PROBLEMS_SHOWN_MAX: Final = 20
RESTARTING: Final = "run, and restart the server"

_SERVER: Final = """
select current_setting('wal_level'),
       current_setting('max_replication_slots')::int,
       (select count(*)::int from pg_replication_slots),
       current_setting('max_wal_senders')::int,
       (select count(*)::int from pg_stat_replication
         where pid is distinct from
           (select active_pid from pg_replication_slots where slot_name = %(slot)s)),
       (select rolsuper or rolreplication from pg_roles where rolname = current_user)
         or exists (select from pg_roles where rolname = 'rds_replication'
                    and pg_has_role(current_user, oid, 'member')),
       pg_is_in_recovery(),
       current_setting('hot_standby_feedback')::bool,
       (select array_agg(rolname::text) from pg_roles where rolname = any(%(hosts)s)),
       (select setting::int8 from pg_settings where name = 'max_slot_wal_keep_size'),
       (select setting::int8 from pg_settings where name = 'idle_replication_slot_timeout')
"""
# Roles that exist where someone else runs the server, and how logical decoding is enabled there.
_HOSTS: Final = {
    "rds_superuser": "set rds.logical_replication = 1 in the parameter group, and reboot",
    "cloudsqlsuperuser": "set the flag cloudsql.logical_decoding = on of the instance",
    "azure_pg_admin": "set the server parameter wal_level = logical, and restart",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that has to be mended before a capture can run.

    `sql` are statements that mend it; `how` says what to do with them.
    """

    cause: str
    sql: tuple[str, ...] = ()
    how: str = "run"

    def __str__(self) -> str:
        if self.sql:
            return f"{self.cause}; {self.how}: {'; '.join(self.sql)}"
        return f"{self.cause}; {self.how}" if self.how != "run" else self.cause


def require(problems: Sequence[Problem]) -> None:
    """Raise one ConfigError that lists the problems, if there are any."""
    if not problems:
        return
    shown = [str(problem) for problem in problems[:PROBLEMS_SHOWN_MAX]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    raise ConfigError(
        "the capture cannot run due to the following error(s): " + "; ".join(shown),
        problems=list(problems),
    )


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself."""

    version: int
    wal_level: str
    slots_max: int
    slots_used: int
    senders_max: int
    senders_used: int
    replicates: bool
    standby: bool
    feedback: bool
    hosts: Sequence[str] | None
    slot_keep_mb: int | None
    slot_idle: int | None


def read_server(connection: Connection[Any], config: Config) -> Server:
    """Ask a server about itself."""
    parameters = {"slot": config.advanced.slot_name, "hosts": list(_HOSTS)}
    row = connection.execute(_SERVER.encode(), parameters).fetchone()
    assert row is not None
    return Server(connection.info.server_version, *row)


def version_problems(version: int) -> list[Problem]:
    """Return what is wrong with a server's version."""
    if version >= VERSION_MIN:
        return []
    return [
        Problem(
            f"minimum supported Postgres version is {VERSION_MIN // 10000}.0: attempted to "
            f"capture from database version {version // 10000}.{version % 10000}",
            how="upgrade the server",
        )
    ]


def server_problems(connection: Connection[Any], config: Config) -> list[Problem]:
    """Return what is wrong with the server, whatever is captured."""
    problems = version_problems(connection.info.server_version)
    if problems:
        return problems
    server = read_server(connection, config)
    problems += _wal_problems(server, config)
    problems += _standby_problems(server)
    problems += _slot_problems(connection, config, server)
    if server.senders_used >= server.senders_max:
        problems.append(
            Problem(
                f"all {server.senders_max} WAL senders are in use",
                (f"ALTER SYSTEM SET max_wal_senders = {server.senders_max + 10}",),
                RESTARTING,
            )
        )
    if not problems:
        _report(server, config)
    return problems


def _wal_problems(server: Server, config: Config) -> Iterator[Problem]:
    if server.wal_level != "logical":
        cause = f"logical replication isn't enabled: current wal_level = {server.wal_level!r}"
        if server.hosts:
            yield Problem(cause, how=_HOSTS[server.hosts[0]])
        else:
            yield Problem(cause, ("ALTER SYSTEM SET wal_level = 'logical'",), RESTARTING)
    if not server.replicates:
        user = identifier(config.user)
        hosted = "rds_superuser" in (server.hosts or ())
        grant = f"GRANT rds_replication TO {user}"
        yield Problem(
            f"user {config.user!r} must have the REPLICATION role (or 'rds_replication' on RDS)",
            (grant if hosted else f"ALTER USER {user} WITH REPLICATION",),
        )


def _standby_problems(server: Server) -> Iterator[Problem]:
    if not server.standby:
        return
    if server.version < STANDBY_VERSION_MIN:
        yield Problem(
            "a standby can't be captured from before PostgreSQL 16", how="use the primary's address"
        )
    elif not server.feedback:
        yield Problem(
            "the standby doesn't keep the primary from removing rows that its slots need: "
            "hot_standby_feedback = off",
            ("ALTER SYSTEM SET hot_standby_feedback = on", "SELECT pg_reload_conf()"),
            "run on the standby",
        )


def _slot_problems(
    connection: Connection[Any], config: Config, server: Server
) -> Iterator[Problem]:
    slot = slots.read_slot(connection, config.advanced.slot_name)
    if slot is None:
        if server.slots_used >= server.slots_max:
            yield Problem(
                f"all {server.slots_max} replication slots are in use: drop one that isn't needed "
                "(SELECT pg_drop_replication_slot(slot_name)), or allow more",
                (f"ALTER SYSTEM SET max_replication_slots = {server.slots_max + 10}",),
                RESTARTING,
            )
        return
    try:
        slots.judge_kind(slot, config)
    except ConfigError as error:
        yield Problem(
            f"{error.message}: choose a different slot name, or remove it",
            (f"SELECT pg_drop_replication_slot('{config.advanced.slot_name}')",),
        )


def _report(server: Server, config: Config) -> None:
    """Say what may take the slot away from a capture that is stopped, or slow."""
    slot = config.advanced.slot_name
    if server.slot_keep_mb is None or server.slot_keep_mb < 0:
        log.info(
            "the server keeps WAL for the slot without a limit", slot=slot,
            setting="max_slot_wal_keep_size",
        )  # fmt: skip
    else:
        log.warning(
            "the server drops changes that the slot needs beyond a limit",
            slot=slot,
            max_slot_wal_keep_size_mb=server.slot_keep_mb,
            remedy="ALTER SYSTEM SET max_slot_wal_keep_size = -1",
        )
    if server.slot_idle:
        log.warning(
            "the server drops the slot of a capture that is stopped for too long",
            slot=slot,
            idle_replication_slot_timeout=server.slot_idle,
            remedy="ALTER SYSTEM SET idle_replication_slot_timeout = 0",
        )
