"""Clusters, one per major version and session, and databases, one per test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from estuary_cdk.testing.postgres import Clusters, binaries, clusters, versions

sys.path.insert(0, str(Path(__file__).parent))

from source_databases import Source, opened

NEWEST = max(versions(), default=0)


@pytest.fixture(scope="session", name="clusters")
def running_clusters() -> Iterator[Clusters]:
    with clusters() as running:
        yield running


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
