"""PostgreSQL as the core of log-based captures sees a database."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.clock import Clock
from estuary_cdk.kits.sql_cdc.database import ChangeStream, Scan, Scanned
from estuary_cdk.kits.sql_cdc.tables import Table, TableId
from estuary_cdk.logs import get_logger
from source_postgres import catalog, prerequisites, publishing, slots
from source_postgres.config import Config
from source_postgres.control import Control
from source_postgres.documents import Origin
from source_postgres.lineage import Lineage, read_lineage
from source_postgres.opening import opened
from source_postgres.prerequisites import Problem
from source_postgres.scanning import Scanners

log = get_logger(__name__)

RETAINED_BYTES_WARN: Final = 4 << 30

_RETAINED: Final = b"""
select pg_wal_lsn_diff(
  case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
  restart_lsn)::int8
from pg_catalog.pg_replication_slots where slot_name = %s and restart_lsn is not null
"""
_OLD_TRANSACTIONS: Final = b"""
select count(*) from pg_catalog.pg_stat_activity
where xact_start < now() - interval '30 minutes' and backend_type = 'client backend'
"""


class Postgres:
    """See `Database`."""

    def __init__(self, config: Config, origin: Origin, clock: Clock) -> None:
        self._config = config
        self._origin = origin
        self._control = Control(config, clock)
        self._scanners = Scanners(config, origin, self._control.streamed)
        self._tables: Mapping[TableId, Table] = {}

    async def discover(self) -> Mapping[TableId, Table]:
        """See `Database.discover`."""
        self._tables = await self._control.run(
            "discover tables", lambda connection: catalog.discover(connection, self._config)
        )
        return self._tables

    async def problems(
        self, tables: Mapping[TableId, Sequence[str]], *, present: bool = False
    ) -> list[Problem]:
        """Return what is wrong with the server, and with these tables once it is right.

        Each table comes with its collection's key. With `present` all have to be there.
        """
        judged = await self._control.run(
            "check requirements", lambda c: self._judged(c, tables, present=present)
        )
        return list(judged)

    def _judged(
        self, connection: Connection[Any], tables: Mapping[TableId, Sequence[str]], *, present: bool
    ) -> list[Problem]:
        problems = prerequisites.server_problems(connection, self._config)
        if prerequisites.version_problems(connection.info.server_version):
            return problems
        problems += publishing.publication_problems(connection, self._config)
        if problems:
            return problems
        if not self._tables:
            self._tables = catalog.discover(connection, self._config)
        known = [self._tables[each] for each in tables if each in self._tables]
        problems += publishing.table_problems(connection, self._config, known)
        problems += [
            each for table in known for each in publishing.key_problems(table, tables[table.id])
        ]
        if present:
            absent = [each for each in tables if each not in self._tables]
            problems += [publishing.absence(connection, self._config, each) for each in absent]
        return problems

    async def lineage(self) -> Lineage:
        """Return which server this is, and which timeline it is on."""
        found: Lineage = await self._control.run(
            "identify the server", lambda _: read_lineage(self._config)
        )
        return found

    async def require(self, tables: Mapping[TableId, Sequence[str]]) -> None:
        """Raise ConfigError for what `problems` finds."""
        prerequisites.require(await self.problems(tables))

    def stream(self, position: str | None) -> AbstractAsyncContextManager[ChangeStream]:
        """See `Database.stream`."""
        return opened(self._control, position, self._origin)

    async def chunks(self, scan: Scan, chunks_max: int) -> Sequence[Scan]:
        """See `Database.chunks`."""
        return await self._scanners.chunks(scan, chunks_max)

    def scan(self, scan: Scan) -> AsyncGenerator[Scanned, None]:
        """See `Database.scan`."""
        return self._scanners.scan(scan)

    async def row_counts(self, tables: Collection[TableId]) -> Mapping[TableId, int]:
        """See `Database.row_counts`."""
        known = [self._tables[table] for table in tables if table in self._tables]
        return catalog.row_counts(known)

    async def check(self) -> None:
        """See `Database.check`: WAL that piles up, and transactions that keep it."""
        retained, old, status = await self._control.run("check the slot", self._measured)
        slot = self._config.advanced.slot_name
        if status == "unreserved":
            log.warning(
                "the server is about to drop changes that the slot needs",
                slot=slot,
                bytes=retained,
                remedy="ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf()",
            )
        if retained > RETAINED_BYTES_WARN:
            log.warning("the slot retains much WAL", slot=slot, bytes=retained)
        else:
            log.debug("the slot retains WAL", slot=slot, bytes=retained)
        if old:
            log.warning("transactions are open for more than 30 minutes", count=old)

    def _measured(self, connection: Connection[Any]) -> tuple[int, int, str | None]:
        name = self._config.advanced.slot_name
        row = connection.execute(_RETAINED, [name]).fetchone()
        old = connection.execute(_OLD_TRANSACTIONS).fetchone()
        slot = slots.read_slot(connection, name)
        return row[0] if row else 0, old[0] if old else 0, slot.wal_status if slot else None

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(
            *map(asyncio.shield, [*self._scanners.closing(), self._control.closing()])
        )
