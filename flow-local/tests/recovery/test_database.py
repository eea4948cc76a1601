import sqlite3
from dataclasses import replace

import pytest

from estuary_cdk import failpoints
from estuary_cdk.errors import ConfigError
from flow_local.collections import StorageError
from flow_local.recovery import Commit, TaskRecord, opened, recovery
from flow_local.recovery.database import NAME


def test_what_was_committed_is_there_after_a_restart(tmp_path):
    with opened(tmp_path) as database:
        assert database.task("acme/a") == TaskRecord()
        database.commit(Commit("acme/a", spec=b"{}", version="v1", ends={"acme/c": 10}))
        database.commit(Commit("acme/a", built=b'{"b":1}', built_version="v2"))
        database.commit(
            Commit(
                "acme/a",
                state=b'{"x":1.0}',
                checkpoint=b"{}",
                producer=b"123456",
                clock=1 << 60,
                max_keys={"k": b"\xff"},
                ends={"acme/c": 20, "acme/d": 1 << 50},
                inferred={"acme/c": b'{"x":1}'},
            )
        )
        database.commit(Commit("acme/a", ends={"acme/c": 20}))
    with opened(tmp_path) as database:
        assert database.task("acme/a") == TaskRecord(
            spec=b"{}",
            version="v1",
            built=b'{"b":1}',
            built_version="v2",
            state=b'{"x":1.0}',
            checkpoint=b"{}",
            producer=b"123456",
            clock=1 << 60,
            max_keys={"k": b"\xff"},
        )
        assert database.ends() == {"acme/c": 20, "acme/d": 1 << 50}
        assert database.inferred() == {"acme/c": b'{"x":1}'}
        assert database.tasks() == ["acme/a"]


def test_a_commit_that_fails_changes_nothing(tmp_path):
    with opened(tmp_path) as database:
        database.commit(Commit("acme/a", state=b"old", ends={"acme/c": 10}))
        failpoints.arm("recovery.before_commit=error")
        with pytest.raises(failpoints.FailpointError):
            database.commit(Commit("acme/a", state=b"new"))
        bad = Commit("acme/a", state=b"new", ends={"acme/c": "ten"})  # type: ignore[dict-item]
        with pytest.raises(StorageError):
            database.commit(bad)
        assert database.task("acme/a").state == b"old"
        assert database.ends() == {"acme/c": 10}


def test_a_full_disk_is_told_and_changes_nothing(tmp_path):
    with opened(tmp_path) as database:
        database.commit(Commit("acme/a", state=b"old"))
        database._connection.execute("PRAGMA max_page_count = 10")
        with pytest.raises(StorageError, match=r"can't commit to .*full \(free some space"):
            database.commit(Commit("acme/a", state=b"x" * (1 << 20)))
        assert database.task("acme/a").state == b"old"


def test_a_reset_forgets_how_far_one_task_alone_is(tmp_path):
    with opened(tmp_path) as database:
        for name in ("acme/a", "acme/b"):
            commit = Commit(name, built=b"{}", state=b"s", checkpoint=b"{}", max_keys={"k": b"1"})
            database.commit(replace(commit, ends={"acme/c": 10}))
        database.reset("acme/a")
        assert database.task("acme/a") == TaskRecord(built=b"{}", reset=True)
        assert database.task("acme/b").max_keys == {"k": b"1"}
        assert database.ends() == {"acme/c": 10}
        database.commit(Commit("acme/a", built=b"{}"))
        assert not database.task("acme/a").reset


def test_a_database_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="it has version 99"), opened(tmp_path):
        pass


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(b"hello, this is not a database at all" * 100)
    with pytest.raises(StorageError, match="not a database"), opened(tmp_path):
        pass


def test_a_reader_reads_beside_the_writer_and_changes_nothing(tmp_path):
    with opened(tmp_path) as writer:
        writer.commit(Commit("acme/a", state=b"1"))
        with opened(tmp_path, writing=False) as reader:
            assert reader.task("acme/a").state == b"1"
            with pytest.raises(StorageError, match="readonly"):
                reader.reset("acme/a")


def test_reading_where_nothing_ran_is_the_users_mistake(tmp_path):
    with (
        pytest.raises(ConfigError, match="nothing has run"),
        opened(tmp_path, writing=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_calls_of_tasks_are_made_in_order(tmp_path):
    async with recovery(tmp_path) as log:
        await log.commit(Commit("acme/a", state=b"1", ends={"acme/c": 1}))
        assert (await log.task("acme/a")).state == b"1"
        assert await log.ends() == {"acme/c": 1}
