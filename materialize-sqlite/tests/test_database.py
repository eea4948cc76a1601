"""What goes wrong with files, and the one sentence each that says so."""

from collections.abc import Callable
from contextlib import closing

import apsw
import pytest

from estuary_cdk.errors import ConfigError, DataError, TransientError
from materialize_sqlite import database as module
from materialize_sqlite.database import begin, database, reasons, transaction


def test_a_new_file_writes_ahead_and_waits_for_the_disk(file):
    with database(str(file.path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA busy_timeout").fetchone() == (10_000,)


def test_what_raises_is_rolled_back(file):
    def fail(db: apsw.Connection) -> None:
        with transaction(db):
            db.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with database(str(file.path)) as db:
        db.execute("CREATE TABLE t (id INTEGER)")
        with pytest.raises(ZeroDivisionError):
            fail(db)
        assert db.execute("SELECT * FROM t").fetchall() == []


def test_what_is_not_committed_is_rolled_back(file):
    with database(str(file.path)) as db:
        db.execute("CREATE TABLE t (id INTEGER)")
        begin(db)
        db.execute("INSERT INTO t VALUES (2)")
    assert file.query("SELECT * FROM t") == []


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("just some notes, long enough to have a header\n" * 100)
    with pytest.raises(ConfigError, match="isn't a SQLite database") as error, database(str(path)):
        pass
    assert str(error.value) == (
        f"can't open database {str(path)!r}: the file isn't a SQLite database "
        "(name another file, or one that doesn't exist yet)"
    )
    assert path.read_text().startswith("just some notes")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="it is a directory"), database(str(tmp_path)):
        pass


def test_a_missing_directory_is_named(tmp_path):
    path = str(tmp_path / "missing" / "data.db")
    with pytest.raises(ConfigError, match=r"doesn't exist \(create '.*missing'"), database(path):
        pass


def told(kind: type[Exception], work: Callable[[], object]) -> str:
    """Return what a user reads when `work` fails."""
    with pytest.raises(kind) as error, reasons("data.db"):
        work()
    return str(error.value)


def test_a_full_disk_commits_nothing(file):
    file.create(file.binding())
    with database(str(file.path)) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 2}")

        def fill() -> None:
            rows = ((n, "x" * 1000) for n in range(100))
            with transaction(db):
                db.executemany("INSERT INTO t VALUES (?, ?, '{}')", rows)

        assert told(ConfigError, fill) == (
            "can't write database 'data.db': the disk is full "
            "(nothing of the transaction was committed; free some space and start again)"
        )
    assert file.query("SELECT count(*) FROM t") == [(0,)]


def test_a_file_that_may_not_be_written(file):
    file.create(file.binding())
    insert = "INSERT INTO t VALUES (1, '', '')"
    with closing(apsw.Connection(str(file.path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        assert "or its directory can't be written" in told(ConfigError, lambda: db.execute(insert))


def test_a_path_that_is_too_long(tmp_path):
    path = str(tmp_path / ("long" * 100))
    with pytest.raises(ConfigError, match="too long"), database(path):
        pass


def test_a_damaged_file(file):
    file.create(file.binding())
    file.query("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.path.write_bytes(content)
    select = "SELECT * FROM flow_checkpoints_v1"
    with database(str(file.path)) as db:
        assert "the file is damaged" in told(ConfigError, lambda: db.execute(select).fetchall())


def test_a_lock_that_is_never_released_is_told(file, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.01)
    monkeypatch.setattr(module, "LOCK_WAITS_MAX", 2)
    with database(str(file.path)) as other, database(str(file.path)) as db:
        begin(other)
        assert "another process holds its lock" in told(TransientError, lambda: begin(db))


def test_a_table_or_column_dropped_under_our_feet_is_told(file):
    insert = "INSERT INTO t (v) VALUES (1)"
    with database(str(file.path)) as db:
        assert "no such table: t (it was dropped" in told(ConfigError, lambda: db.execute(insert))
        db.execute("CREATE TABLE t (id)")
        assert "no column named v (it was" in told(ConfigError, lambda: db.execute(insert))


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ((1, "y", 1), "written by something else"),
        ((2, None, 1), "may not be null"),
        ((2, "y", 0), "drop the constraint"),
    ],
)
def test_a_broken_constraint_says_what_to_do(file, row, hint):
    insert = "INSERT INTO t VALUES (?, ?, ?)"
    with database(str(file.path)) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL, n CHECK (n > 0))")
        db.execute("INSERT INTO t VALUES (1, 'x', 1)")
        assert hint in told(DataError, lambda: db.execute(insert, row))


def test_an_error_in_our_own_sql_stays_a_bug(file):
    with database(str(file.path)) as db:
        assert "syntax error" in told(apsw.SQLError, lambda: db.execute("SELEKT"))
