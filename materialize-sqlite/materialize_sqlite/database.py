"""One connection to the file: how it is opened, how writing begins, what its errors mean.

Every write transaction is `BEGIN IMMEDIATE`: a process that will write says so first and waits its
turn, so any number of processes may write to a file and never wait for each other in a circle.

SQLite comes with the package `apsw`, the same version for everyone. A connection is opened without
a mutex of its own: only the thread that opened it may use it, which is how a destination's contexts
are entered, used and left. A process that has the file open here must not open it with Python's
`sqlite3` too: that is a second copy of SQLite, and closing its file drops the locks of the first
(https://www.sqlite.org/howtocorrupt.html, section 2.2.1).
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from estuary_cdk.errors import CdkError, ConfigError, DataError, TransientError, shortened
from estuary_cdk.logs import get_logger
from materialize_sqlite.dialect import (
    BASE64_FUNCTION,
    DOUBLE_TEXT_FUNCTION,
    TEXT_FUNCTION,
    UTF8_FUNCTION,
)

log = get_logger(__name__)

LOCK_WAIT_S: Final = 10.0
LOCK_WAITS_MAX: Final = 30
CACHE_KIB: Final = 32 * 1024
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024

_FLAGS: Final = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX

_DISK = "nothing of the transaction was committed; free some space and start again"
# By primary result code: what happened, what to do. https://www.sqlite.org/rescode.html
_REASONS: Final[dict[int, tuple[str, str]]] = {
    apsw.SQLITE_FULL: ("the disk is full", _DISK),
    apsw.SQLITE_IOERR: ("the disk failed to read or write", "check the disk and its free space"),
    apsw.SQLITE_READONLY: (
        "the file or its directory can't be written",
        "SQLite writes the file and two more beside it; allow both to this user",
    ),
    apsw.SQLITE_PERM: ("access is denied", "allow this user to read and write the file"),
    apsw.SQLITE_NOTADB: (
        "the file isn't a SQLite database",
        "name another file, or one that doesn't exist yet",
    ),
    apsw.SQLITE_CORRUPT: (
        "the file is damaged",
        "restore it from a copy, or name a new file and backfill all bindings",
    ),
    apsw.SQLITE_CANTOPEN: (
        "the file can't be opened",
        "check that it is a file and that this user may read and write it",
    ),
}

_TWICE = "a row with this key was written by something else; backfill the binding"
_OTHERS = "a constraint of the table forbids the row; drop the constraint"
# By extended result code.
_CONSTRAINTS: Final = {
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY: _TWICE,
    apsw.SQLITE_CONSTRAINT_ROWID: _TWICE,
    apsw.SQLITE_CONSTRAINT_NOTNULL: "the column may not be null; start the task again, which "
    "allows it where the collection's schema does",
}


@contextmanager
def reasons(path: str, verb: str = "write") -> Iterator[None]:
    """Turn what SQLite raises inside into an error for the one who can act on it."""
    try:
        yield
    except apsw.Error as error:
        raise _translated(error, path, verb) from error


def result_code(error: apsw.Error) -> int:
    """Return SQLite's primary result code, 0 for what apsw itself raises."""
    code: int = getattr(error, "result", 0)
    return code


def _translated(error: apsw.Error, path: str, verb: str) -> CdkError | apsw.Error:
    code = result_code(error)
    what = f"can't {verb} database {path!r}"
    if code in _REASONS:
        reason, hint = _REASONS[code]
        return ConfigError(f"{what}: {reason}", hint=hint, path=path)
    if code in {apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED}:
        return TransientError(
            f"{what}: another process holds its lock",
            hint="end what writes to the file, or leaves a transaction open, and start again",
            path=path,
        )
    if code == apsw.SQLITE_CONSTRAINT:
        hint = _CONSTRAINTS.get(getattr(error, "extendedresult", code), _OTHERS)
        return DataError(f"{what}: {error}", hint=hint)
    if code == apsw.SQLITE_TOOBIG:
        return DataError(f"{what}: a value is longer than SQLite allows, a billion bytes")
    if code == apsw.SQLITE_ERROR and "no such table" in str(error).lower():
        return ConfigError(
            f"{what}: {error}", hint="it was dropped; start the task again, which creates it"
        )
    if code == apsw.SQLITE_ERROR and "no column named" in str(error).lower():
        return ConfigError(
            f"{what}: {error}", hint="it was dropped; start the task again, which adds it"
        )
    return error


@contextmanager
def database(path: str) -> Iterator[apsw.Connection]:
    """Open the file, creating it when missing; what isn't committed at the end is rolled back.

    Raises ConfigError for a file that can't be opened or isn't a database.
    """
    _check_place(path)
    with reasons(path, "open"):
        db = apsw.Connection(path, flags=_FLAGS)
    try:
        with reasons(path, "open"):
            _prepared(db)
        yield db
    finally:
        with reasons(path, "close"):
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.close()


def _check_place(path: str) -> None:
    directory = Path(path).absolute().parent
    try:
        if Path(path).is_dir():
            raise ConfigError(
                f"can't open database {path!r}: it is a directory", hint="name a file"
            )
        if not directory.is_dir():
            raise ConfigError(
                f"can't open database {path!r}: its directory doesn't exist",
                hint=f"create {str(directory)!r} or name another path",
            )
    except OSError as error:
        raise ConfigError(f"can't open database {shortened(path)}: {error.strerror}") from error


def _prepared(db: apsw.Connection) -> None:
    db.set_busy_timeout(round(LOCK_WAIT_S * 1000))
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    if db.pragma("journal_mode") != "wal":
        # Where WAL isn't possible (a network share) the old journal is slower and just as safe.
        db.pragma("journal_mode", "wal")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    for name, function in _FUNCTIONS.items():
        db.create_scalar_function(name, _or_null(function), 1, deterministic=True)


_FUNCTIONS: Final[dict[str, Callable[[Any], str | bytes]]] = {
    BASE64_FUNCTION: lambda value: base64.b64encode(value).decode(),
    DOUBLE_TEXT_FUNCTION: repr,
    TEXT_FUNCTION: bytes.decode,
    UTF8_FUNCTION: str.encode,
}


def _or_null(function: Callable[[Any], str | bytes]) -> Callable[..., str | bytes | None]:
    return lambda value: None if value is None else function(value)


def begin(db: apsw.Connection) -> None:
    """Begin a transaction that writes, waiting for any other to end.

    Raises apsw.Error (SQLITE_BUSY) after `LOCK_WAITS_MAX` waits of `LOCK_WAIT_S`.
    """
    for attempt in range(LOCK_WAITS_MAX):
        try:
            db.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            if result_code(error) != apsw.SQLITE_BUSY or attempt == LOCK_WAITS_MAX - 1:
                raise
            log.warning("waiting for another process to end its transaction", waits=attempt + 1)
        else:
            return


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """Commit what is done inside, or roll all of it back if it raises."""
    begin(db)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


@dataclass(frozen=True, slots=True)
class Done:
    """What a statement did, as drivers tell it."""

    rowcount: int
    cursor: apsw.Cursor

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        return self.cursor.fetchone()


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """A connection as the kit's checkpoints ask for it."""

    db: apsw.Connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Done:
        """Run one statement with parameters."""
        cursor = self.db.execute(sql, parameters)
        return Done(self.db.changes(), cursor)
