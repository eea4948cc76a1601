"""What survives a crash: applied specs, connector states, checkpoints and the ends of collections.

One SQLite database in WAL mode that syncs at every commit; every commit is one transaction, so that
a connector's state and the documents it stands for become durable together or not at all.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import failpoint
from flow_local.collections.files import StorageError

NAME: Final = "recovery.db"
SCHEMA_VERSION: Final = 2
BUSY_S: Final = 5.0
SHARD_MARK: Final = "#"
"""Between a task's name, which has none, and the range of a shard with a record of its own."""

_SCHEMA: Final = """
CREATE TABLE tasks (
    name     TEXT PRIMARY KEY,
    built    BLOB,     -- spec as built last, JSON: it was, or is about to be, applied
    built_version TEXT,
    spec     BLOB,     -- spec as applied last, JSON
    version  TEXT,
    state    BLOB,     -- of the connector, JSON
    checkpoint BLOB,   -- of the runtime, JSON
    producer BLOB,
    clock    INTEGER NOT NULL DEFAULT 0,
    reset    INTEGER NOT NULL DEFAULT 0  -- whether it is to begin anew when it is built next
) STRICT;
CREATE TABLE max_keys (
    task      TEXT NOT NULL,
    state_key TEXT NOT NULL,
    packed    BLOB NOT NULL,
    PRIMARY KEY (task, state_key)
) STRICT;
CREATE TABLE collections (
    name TEXT PRIMARY KEY,
    "end" INTEGER NOT NULL,
    inferred BLOB        -- schema, JSON
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What is known of a task; empty bytes where nothing was committed yet."""

    spec: bytes = b""
    version: str = ""
    built: bytes = b""
    built_version: str = ""
    state: bytes = b""
    checkpoint: bytes = b""
    producer: bytes = b""
    clock: int = 0
    reset: bool = False
    """Whether it was reset since it was built."""
    max_keys: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction changes of a task; None and empty leave things as they are.

    A spec that is `built` ends a reset.
    """

    task: str
    spec: bytes | None = None
    version: str | None = None
    built: bytes | None = None
    built_version: str | None = None
    state: bytes | None = None
    checkpoint: bytes | None = None
    producer: bytes | None = None
    clock: int | None = None
    max_keys: Mapping[str, bytes] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    inferred: Mapping[str, bytes] = field(default_factory=dict)
    """Schemas by collection; each must have an end, now or before."""


_CHANGING: Final = (
    *("spec", "version", "built", "built_version"),
    *("state", "checkpoint", "producer", "clock"),
)


class Database:
    """The recovery database; not for more than one thread at a time. Made by `opened`.

    Every method raises StorageError where the disk is full or broken; then nothing has changed.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def task(self, name: str) -> TaskRecord:
        """Return what is known of a task."""
        with self._translated("read"):
            row = self._connection.execute(
                "SELECT spec, version, built, built_version, state, checkpoint, producer, clock, "
                "reset FROM tasks WHERE name = ?",
                (name,),
            ).fetchone()
            keys = self._connection.execute(
                "SELECT state_key, packed FROM max_keys WHERE task = ?", (name,)
            ).fetchall()
        if row is None:
            return TaskRecord()
        *blobs, clock, reset = row
        spec, version, built, built_version, state, checkpoint, producer = blobs
        return TaskRecord(
            spec or b"",
            version or "",
            built or b"",
            built_version or "",
            state or b"",
            checkpoint or b"",
            producer or b"",
            clock,
            bool(reset),
            dict(keys),
        )

    def tasks(self) -> list[str]:
        """Return the names of all tasks that ever committed, sorted; without their shards."""
        return [name for name in self._names() if SHARD_MARK not in name]

    def shards(self, task: str) -> list[str]:
        """Return the records of a task's shards that have their own, sorted."""
        return [name for name in self._names() if name.startswith(task + SHARD_MARK)]

    def _names(self) -> list[str]:
        with self._translated("read"):
            rows = self._connection.execute("SELECT name FROM tasks ORDER BY name").fetchall()
        return [name for (name,) in rows]

    def ends(self) -> dict[str, int]:
        """Return the committed end of every collection."""
        with self._translated("read"):
            return dict(self._connection.execute('SELECT name, "end" FROM collections').fetchall())

    def inferred(self) -> dict[str, bytes]:
        """Return the schema inferred so far of every collection of which one was."""
        query = "SELECT name, inferred FROM collections WHERE inferred IS NOT NULL"
        with self._translated("read"):
            return dict(self._connection.execute(query).fetchall())

    def commit(self, commit: Commit) -> None:
        """Record all of `commit`, durably, or nothing."""
        failpoint("recovery.before_commit")
        with self._translated("commit to"), self._transaction() as run:
            run.execute("INSERT OR IGNORE INTO tasks (name) VALUES (?)", (commit.task,))
            changed = [name for name in _CHANGING if getattr(commit, name) is not None]
            if changed:
                # The names are the constants above.
                assignments = ", ".join(f"{name} = ?" for name in changed)
                if commit.built is not None:
                    assignments += ", reset = 0"
                values = [getattr(commit, name) for name in changed]
                run.execute(
                    f"UPDATE tasks SET {assignments} WHERE name = ?",  # noqa: S608
                    (*values, commit.task),
                )
            run.executemany(
                "INSERT OR REPLACE INTO max_keys VALUES (?, ?, ?)",
                [(commit.task, key, packed) for key, packed in commit.max_keys.items()],
            )
            run.executemany(
                'INSERT INTO collections (name, "end") VALUES (?, ?) '
                'ON CONFLICT (name) DO UPDATE SET "end" = excluded."end"',
                list(commit.ends.items()),
            )
            run.executemany(
                "UPDATE collections SET inferred = ? WHERE name = ?",
                [(schema, name) for name, schema in commit.inferred.items()],
            )
        failpoint("recovery.after_commit")

    def recut(self, task: str, shards: Mapping[str, TaskRecord]) -> None:
        """Replace what is recorded of a task's shards, by the names of their records.

        Their states, checkpoints and greatest keys are; what the task itself has stays.
        """
        before = [(name,) for name in (task, *self.shards(task))]
        progress = [(name, each.state, each.checkpoint) for name, each in shards.items()]
        keys = [(name, *key) for name, each in shards.items() for key in each.max_keys.items()]
        with self._translated("commit to"), self._transaction() as run:
            run.executemany(
                "UPDATE tasks SET state = NULL, checkpoint = NULL WHERE name = ?", before
            )
            run.executemany("DELETE FROM tasks WHERE name = ?", before[1:])
            run.executemany("DELETE FROM max_keys WHERE task = ?", before)
            run.executemany(
                "INSERT INTO tasks (name, state, checkpoint) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET state = excluded.state, checkpoint = excluded.checkpoint",
                progress,
            )
            run.executemany("INSERT INTO max_keys VALUES (?, ?, ?)", keys)

    def reset(self, task: str) -> None:
        """Forget how far a task is; what was built and applied last stays, marked as reset.

        Collections keep their documents.
        """
        shards = [(name,) for name in self.shards(task)]
        with self._translated("commit to"), self._transaction() as run:
            run.executemany("DELETE FROM tasks WHERE name = ?", shards)
            run.executemany("DELETE FROM max_keys WHERE task = ?", [*shards, (task,)])
            run.execute(
                "UPDATE tasks SET state = NULL, checkpoint = NULL, reset = 1 WHERE name = ?",
                (task,),
            )

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _storage_error(verb, self._path, error) from error


def _storage_error(verb: str, path: Path, error: sqlite3.Error) -> StorageError:
    full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL if _coded(error) else False
    hint = "free some space and run again; what was committed is safe" if full else None
    return StorageError(f"can't {verb} {str(path)!r}: {error}", hint=hint, path=str(path))


def _coded(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) is not None


@contextmanager
def opened(directory: Path, *, writing: bool = True) -> Iterator[Database]:
    """Open the recovery database of a data directory; made if absent and `writing`.

    A writer must hold the directory's lock; any number may read beside it. Raises ConfigError for
    a database of another version, and for one that isn't there when not `writing`.
    """
    path = directory / NAME
    if not writing and not path.exists():
        raise ConfigError(f"can't read {str(path)!r}: nothing has run on this data directory yet")
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise _storage_error("open", path, error) from error
    try:
        try:
            _prepare(connection, path, writing=writing)
        except sqlite3.Error as error:
            raise _storage_error("open", path, error) from error
        yield Database(connection, path)
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path, *, writing: bool) -> None:
    if not writing:
        connection.execute("PRAGMA query_only = ON")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == 0 and writing:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
        )
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"can't use {str(path)!r}: it has version {version}, this flow-local knows "
            f"{SCHEMA_VERSION}",
            hint="run the flow-local that wrote it, or choose another data directory",
        )
