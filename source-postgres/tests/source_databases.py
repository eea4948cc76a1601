"""A database to capture, for tests: its own, made and removed around one test."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import psycopg

from estuary_cdk.testing.postgres import Cluster
from estuary_cdk.testing.runtime import CaptureRuntime, Session
from source_postgres import capture


class Source:
    """A database of its own, a connection to it, and the capture of it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.connection = psycopg.connect(cluster.conninfo, dbname=name, autocommit=True)
        self.runtime = CaptureRuntime(capture.serve)
        self.advanced: dict[str, Any] = {"slotName": f"slot_{name}", "backfill_chunk_size": 100}
        self.extra: dict[str, Any] = {}

    @property
    def config(self) -> dict[str, Any]:
        return {
            "address": self.cluster.address,
            "user": "postgres",
            "database": self.name,
            "credentials": {"auth_type": "UserPassword", "password": "secret"},
            "discoveryFilters": {"discover_unpublished_tables": True},
            "advanced": self.advanced,
            **self.extra,
        }

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = self.connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows

    def cluster_connection(self) -> psycopg.Connection[Any]:
        """Open another connection."""
        return psycopg.connect(self.cluster.conninfo, dbname=self.name, autocommit=True)

    async def caught_up(self, built: Any, state: Any = None, **how: Any) -> Session:
        """Capture until there is nothing left."""
        os.environ["SHUTDOWN_AFTER_POLLING"] = "yes"
        try:
            return await self.runtime.run(built, state=state, **how)
        except BaseExceptionGroup as group:
            # What the process would put last on stderr.
            while isinstance(group.exceptions[0], BaseExceptionGroup):
                group = group.exceptions[0]
            raise group.exceptions[0] from None
        finally:
            del os.environ["SHUTDOWN_AFTER_POLLING"]

    async def running(self, built: Any, state: Any, until: Any) -> Session:
        """Capture without an end of its own."""
        async with asyncio.timeout(60):
            return await self.runtime.run(built, state=state, until=until)


def opened(cluster: Cluster) -> Iterator[Source]:
    name = f"d{os.urandom(5).hex()}"
    with cluster.new_database(name):
        source = Source(cluster, name)
        try:
            yield source
        finally:
            source.connection.close()
