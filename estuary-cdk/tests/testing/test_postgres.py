"""Private clusters start, decode logically, and leave nothing behind."""

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.postgres import postgres, versions


def test_a_cluster_is_ready_for_logical_decoding_and_gone_afterwards():
    with postgres() as cluster:
        assert cluster.execute("show wal_level") == [("logical",)]
        with cluster.new_database("a b") as name:
            cluster.execute(
                "select pg_create_logical_replication_slot('s', 'pgoutput')", database=name
            )
        assert cluster.execute("select count(*) from pg_replication_slots") == [(0,)]
    assert not cluster.directory.exists()


def test_the_versions_that_python_packages_bring_are_there():
    assert {18, 16} <= set(versions())


def test_a_version_that_isnt_installed_is_named():
    with pytest.raises(ConfigError, match="PostgreSQL 11"), postgres(11):
        pass
