"""The replication slot: what it must be for no change to be lost, and how one is made."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.errors import ConfigError, TransientError
from source_postgres.config import Config
from source_postgres.documents import lsn_number, lsn_text

PLUGIN: Final = "pgoutput"
BUSY_ATTEMPTS: Final = 40
BUSY_WAIT_S: Final = 0.5

_SLOT: Final = """
select s.plugin::text, s.database::text, s.active_pid, {wal_status}, {invalidation},
       s.restart_lsn::text, s.confirmed_flush_lsn::text
from pg_catalog.pg_replication_slots s where s.slot_name = %s
"""


class SlotLostError(ConfigError):
    """Changes are gone with the slot: what follows can't be resumed, only backfilled again."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server has it."""

    plugin: str | None
    database: str | None
    active_pid: int | None
    wal_status: str | None
    invalidation: str | None
    restart: int | None
    confirmed: int | None


def read_slot(connection: Connection[Any], name: str) -> Slot | None:
    """Return the slot of a name, None where there is none."""
    version = connection.info.server_version
    query = _SLOT.format(
        wal_status="s.wal_status::text" if version >= 130000 else "null",
        invalidation="s.invalidation_reason::text" if version >= 170000 else "null",
    )
    row = connection.execute(query.encode(), [name]).fetchone()
    if row is None:
        return None
    plugin, database, active_pid, wal_status, invalidation, restart, confirmed = row
    return Slot(
        plugin=plugin,
        database=database,
        active_pid=active_pid,
        wal_status=wal_status,
        invalidation=invalidation,
        restart=None if restart is None else lsn_number(restart),
        confirmed=None if confirmed is None else lsn_number(confirmed),
    )


def judge_kind(slot: Slot, config: Config) -> None:
    """Raise ConfigError for a slot that isn't ours to use."""
    name = config.advanced.slot_name
    if slot.plugin is None:
        raise ConfigError(
            f"can't use replication slot {name!r}: it is a physical slot",
            hint="choose a different slot name, or remove it: "
            f"SELECT pg_drop_replication_slot('{name}')",
        )
    if slot.database != config.database:
        raise ConfigError(
            f"can't use replication slot {name!r}: it exists in database {slot.database!r}, but "
            f"the configured database is {config.database!r}",
            hint="choose a different slot name, or remove it: "
            f"SELECT pg_drop_replication_slot('{name}')",
        )
    if slot.plugin != PLUGIN:
        raise ConfigError(
            f"can't use replication slot {name!r}: its plugin is {slot.plugin!r}, not {PLUGIN!r}",
            hint="choose a different slot name, or remove it: "
            f"SELECT pg_drop_replication_slot('{name}')",
        )


def judge_position(slot: Slot | None, position: int, end: int, config: Config) -> None:
    """Raise SlotLostError unless the slot has everything since `position`.

    `end` is where the server's WAL ends.
    """
    name = config.advanced.slot_name
    if slot is None:
        raise _lost(name, position, "the slot does not exist any more")
    if slot.wal_status == "lost" or slot.invalidation:
        why = slot.invalidation or "its WAL was removed"
        raise _lost(name, position, f"the server invalidated the slot ({why})")
    if slot.confirmed is None or slot.restart is None:
        raise _lost(name, position, "the slot has no position")
    if slot.confirmed > position:
        raise _lost(
            name,
            position,
            f"the slot was moved on or created again: it starts at {lsn_text(slot.confirmed)}",
        )
    if position > end:
        raise _lost(
            name,
            position,
            f"the server's WAL ends before that, at {lsn_text(end)}: it is another server, or one "
            "restored from a backup",
        )


def _lost(name: str, position: int, why: str) -> SlotLostError:
    return SlotLostError(
        f"can't resume from {lsn_text(position)} with replication slot {name!r}: {why}, so changes "
        "may be lost",
        hint="backfill all bindings of the capture, or set advanced.on_slot_loss to 'backfill'",
    )


def create_slot(replication: Connection[Any], control: Connection[Any], config: Config) -> int:
    """Make a new slot, in place of one of that name, and return where it starts."""
    name = config.advanced.slot_name
    old = read_slot(control, name)
    if old is not None:
        judge_kind(old, config)
        if old.active_pid is not None:
            raise busy(config, old)
        control.execute(b"select pg_drop_replication_slot(%s)", [name])
    options = "NOEXPORT_SNAPSHOT"
    if control.info.server_version >= 170000 and not in_recovery(control):
        options = "(SNAPSHOT 'nothing', FAILOVER true)"
    statement = f'CREATE_REPLICATION_SLOT "{name}" LOGICAL {PLUGIN} {options}'
    result = replication.pgconn.exec_(statement.encode())
    if result.ntuples != 1:
        raise psycopg.errors.error_from_result(result)
    start = result.get_value(0, 1)
    assert start is not None
    return lsn_number(start.decode())


def busy(config: Config, slot: Slot) -> TransientError:
    """Return the error of a slot that someone else is reading."""
    return TransientError(
        "can't start: another capture is already running against this database: replication slot "
        f"{config.advanced.slot_name!r} is active for PID {slot.active_pid}",
        hint="stop the other one, or choose a different slot name",
    )


def in_recovery(connection: Connection[Any]) -> bool:
    """Tell whether the server is a standby."""
    row = connection.execute(b"select pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def wal_end(connection: Connection[Any]) -> int:
    """Return where the server's WAL ends, as far as it is safe on disk or replayed."""
    function = "pg_last_wal_replay_lsn" if in_recovery(connection) else "pg_current_wal_flush_lsn"
    row = connection.execute(f"select {function}()::text".encode()).fetchone()
    assert row is not None
    return lsn_number(row[0])
