"""One connection to the file: how it is opened, how writing begins, what its errors mean.

Every write transaction is `BEGIN IMMEDIATE`: a process that will write says so first and waits its
turn, so any number of processes may write to a file and never wait for each other in a circle.
"""

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from estuary_cdk.errors import CdkError, ConfigError, DataError, TransientError, shortened
from estuary_cdk.logs import get_logger
from materialize_sqlite.dialect import BASE64_FUNCTION, DOUBLE_TEXT_FUNCTION

log = get_logger(__name__)

LOCK_WAIT_S: Final = 10.0
LOCK_WAITS_MAX: Final = 30
CACHE_KIB: Final = 32 * 1024
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
SQLITE_MIN: Final = (3, 35, 0)

_DISK = "nothing of the transaction was committed; free some space and start again"
# By primary result code: what happened, what to do. https://www.sqlite.org/rescode.html
_REASONS: Final[dict[int, tuple[str, str]]] = {
    sqlite3.SQLITE_FULL: ("the disk is full", _DISK),
    sqlite3.SQLITE_IOERR: ("the disk failed to read or write", "check the disk and its free space"),
    sqlite3.SQLITE_READONLY: (
        "the file or its directory can't be written",
        "SQLite writes the file and two more beside it; allow both to this user",
    ),
    sqlite3.SQLITE_PERM: ("access is denied", "allow this user to read and write the file"),
    sqlite3.SQLITE_NOTADB: (
        "the file isn't a SQLite database",
        "name another file, or one that doesn't exist yet",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "restore it from a copy, or name a new file and backfill all bindings",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the file can't be opened",
        "check that it is a file and that this user may read and write it",
    ),
}

_TWICE = "a row with this key was written by something else; backfill the binding"
_OTHERS = "a constraint of the table forbids the row; drop the constraint"
_CONSTRAINTS: Final = {
    "SQLITE_CONSTRAINT_PRIMARYKEY": _TWICE,
    "SQLITE_CONSTRAINT_ROWID": _TWICE,
    "SQLITE_CONSTRAINT_NOTNULL": "the column may not be null; start the task again, which allows "
    "it where the collection's schema does",
}


@contextmanager
def reasons(path: str, verb: str = "write") -> Iterator[None]:
    """Turn what SQLite raises inside into an error for the one who can act on it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path, verb) from error


def _translated(error: sqlite3.Error, path: str, verb: str) -> CdkError | sqlite3.Error:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what = f"can't {verb} database {path!r}"
    if code in _REASONS:
        reason, hint = _REASONS[code]
        return ConfigError(f"{what}: {reason}", hint=hint, path=path)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return TransientError(
            f"{what}: another process holds its lock",
            hint="end what writes to the file, or leaves a transaction open, and start again",
            path=path,
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return DataError(f"{what}: {error}", hint=_CONSTRAINTS.get(error.sqlite_errorname, _OTHERS))
    if code == sqlite3.SQLITE_TOOBIG:
        return DataError(f"{what}: a value is longer than SQLite allows, a billion bytes")
    if code == sqlite3.SQLITE_ERROR and "no such table" in str(error).lower():
        return ConfigError(
            f"{what}: {error}", hint="it was dropped; start the task again, which creates it"
        )
    if code == sqlite3.SQLITE_ERROR and "no column named" in str(error).lower():
        return ConfigError(
            f"{what}: {error}", hint="it was dropped; start the task again, which adds it"
        )
    return error


@contextmanager
def database(path: str) -> Iterator[sqlite3.Connection]:
    """Open the file, creating it when missing; what isn't committed at the end is rolled back.

    Raises ConfigError for a file that can't be opened or isn't a database.
    """
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise ConfigError(
            f"can't use SQLite {sqlite3.sqlite_version}: 3.35 or later is needed",
            hint="use a newer Python",
        )
    _check_place(path)
    with reasons(path, "open"):
        db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
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


def _prepared(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    [mode] = db.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        # Where WAL isn't possible (a network share) the old journal is slower and just as safe.
        db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    db.create_function(BASE64_FUNCTION, 1, _base64, deterministic=True)
    db.create_function(DOUBLE_TEXT_FUNCTION, 1, _double_text, deterministic=True)


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _double_text(value: float | None) -> str | None:
    return None if value is None else repr(value)


def begin(db: sqlite3.Connection) -> None:
    """Begin a transaction that writes, waiting for any other to end.

    Raises sqlite3.OperationalError (SQLITE_BUSY) after `LOCK_WAITS_MAX` waits of `LOCK_WAIT_S`.
    """
    for attempt in range(LOCK_WAITS_MAX):
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == (
                LOCK_WAITS_MAX - 1
            ):
                raise
            log.warning("waiting for another process to end its transaction", waits=attempt + 1)
        else:
            return


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or roll all of it back if it raises."""
    begin(db)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
