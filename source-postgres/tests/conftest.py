"""Clusters, one per major version and session, and databases, one per test."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from estuary_cdk.testing.postgres import Cluster, binaries, postgres, versions
from estuary_cdk.testing.runtime import CaptureRuntime, Session
from source_postgres import capture

sys.path.insert(0, str(Path(__file__).parent))

NEWEST = max(versions(), default=0)


class Clusters:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, Cluster] = {}

    def of(self, version: int) -> Cluster:
        if version not in self._running:
            self._running[version] = self._stack.enter_context(postgres(version))
        return self._running[version]


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    with ExitStack() as stack:
        yield Clusters(stack)


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


@pytest.fixture
def source(clusters: Clusters) -> Iterator[Source]:
    """A database of the newest version."""
    yield from opened(clusters.of(NEWEST))


@pytest.fixture
def source_15(clusters: Clusters) -> Iterator[Source]:
    """A database of Debian's PostgreSQL 15, which has the contributed types."""
    if binaries(15) is None and not os.environ.get("CI"):
        pytest.skip("needs Debian's package: apt-get install postgresql-15")
    yield from opened(clusters.of(15))


@pytest.fixture(params=sorted(versions()))
def any_source(request: pytest.FixtureRequest, clusters: Clusters) -> Iterator[Source]:
    """A database of each version there is."""
    yield from opened(clusters.of(request.param))
