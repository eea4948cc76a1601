"""One session with the server: transactions by hand, rows in by COPY, documents out by COPY.

One COPY may be open, and stays open for as long as rows go to the same place: the server stores
while the next ones are made ready. Whatever else is done ends it first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from time import sleep
from typing import Any, Final

from psycopg import Connection, Copy, RawCursor, pq

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.postgres import Way, connect, host_and_port
from estuary_cdk.kits.tunnel import forwarded
from estuary_cdk.logs import get_logger
from materialize_postgres.config import Config
from materialize_postgres.mistakes import explained

log = get_logger(__name__)

CONNECT_ATTEMPTS_MAX: Final = 3
CONNECT_PAUSE_S: Final = 1.0
# What a session depends on, whatever user, database and server are set to.
SETTINGS: Final = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "work_mem": "64MB",
}
# The first version that has them.
LATER_SETTINGS: Final = {14: {"idle_session_timeout": "0"}, 17: {"transaction_timeout": "0"}}
# Long values take less than half the time to store, where the server has it and nobody chose.
LZ4: Final = """(
    SELECT set_config(name, 'lz4', false) FROM pg_catalog.pg_settings
    WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals) AND source = 'default')"""
# What begins rows in binary form, both ways.
HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_FIELD_BYTES: Final = 6
_TRAILER: Final = b"\xff\xff"


class PostgresSession:
    """A connection whose transactions begin and end when told to."""

    def __init__(self, connection: Connection[Any], config: Config, way: Way | None = None) -> None:
        self._connection = connection
        self._config = config
        self._way = way
        self._copying = ""
        self._copy: Copy | None = None
        self._until_copied = ExitStack()
        known = dict(SETTINGS)
        for version, settings in LATER_SETTINGS.items():
            known |= settings if self.version >= version else {}
        with self._explained("use"):
            told = [f"set_config('{name}', '{value}', false)" for name, value in known.items()]
            connection.execute(f"SELECT {', '.join([*told, LZ4])}".encode())

    def _explained(self, verb: str) -> AbstractContextManager[None]:
        return explained(self._config, f"{verb} database {self._config.database!r}", self._way)

    @property
    def version(self) -> int:
        """The server's major version."""
        return self._connection.info.server_version // 10_000

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it a failed one."""
        return self._connection.info.transaction_status != pq.TransactionStatus.IDLE

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        if not self.in_transaction:
            self.execute("BEGIN")

    def commit(self) -> None:
        """Commit."""
        self.execute("COMMIT", verb="commit to")

    def rollback(self) -> None:
        """Undo the open transaction; does nothing where there is none, or no connection."""
        if self._connection.closed or self._connection.broken or not self.in_transaction:
            return
        self.abandon()
        self._connection.execute(b"ROLLBACK")

    def abandon(self) -> None:
        """Make the server forget the COPY that is open."""
        if self._copy is not None:
            self._copy, self._copying = None, ""
            with given_up():
                self._until_copied.__exit__(RuntimeError, RuntimeError("rolled back"), None)

    def execute(self, sql: str, parameters: Sequence[Any] = (), verb: str = "write to") -> Any:
        """Run one statement; its parameters are `$1`, `$2`."""
        self.end_copy()
        with self._explained(verb):
            return self._connection.execute(sql.encode(), parameters or None)

    def copy(self, statement: str, block: bytes, header: bytes = b"") -> None:
        """Send rows to a `COPY ... FROM STDIN`, which begins with a header and may go on."""
        with self._explained("write to"):
            if self._copying != statement:
                self.end_copy()
                opening = self._connection.cursor().copy(statement.encode())
                self._copy = self._until_copied.enter_context(opening)
                self._copying = statement
                self._copy.write(header)
            if self._copy is not None:
                self._copy.write(block)

    def end_copy(self) -> None:
        """Wait until all rows that were sent are stored."""
        if self._copy is not None:
            self._copy, self._copying = None, ""
            with self._explained("write to"):
                self._until_copied.close()

    def copied_out(self, query: str) -> Iterator[bytes]:
        """Yield the one column of a query's rows, as the server stores it."""
        self.end_copy()
        statement = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
        with (
            self._explained("read"),
            self._connection.cursor().copy(statement) as copy,
        ):
            for message in copy:
                row = bytes(message)
                row = row.removeprefix(HEADER)
                if row not in {b"", _TRAILER}:
                    yield row[_FIELD_BYTES:]


@contextmanager
def given_up() -> Iterator[None]:
    """Ignore what goes wrong while something is given up."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the failure that led here is what is told
        log.debug("giving up a copy failed, too", error=type(error).__name__)


@contextmanager
def session(config: Config) -> Iterator[PostgresSession]:
    """Open a session; what isn't committed at its end is rolled back."""
    with forwarded(config.network_tunnel, *host_and_port(config.address)) as way:
        connection = connected(config, way)
        try:
            yield PostgresSession(connection, config, way)
        finally:
            connection.close()


def connected(
    config: Config, way: Way | None, pause: Callable[[float], None] = sleep
) -> Connection[Any]:
    """Connect, and try again a few times where that may help.

    Raises ConfigError for refusals, TransientError for the last failure.
    """
    for attempt in range(1, CONNECT_ATTEMPTS_MAX):
        try:
            return connect(config.server(way), cursor_factory=RawCursor)
        except TransientError as error:
            log.warning("can't connect, trying again", attempt=attempt, reason=str(error))
            pause(CONNECT_PAUSE_S * attempt)
    return connect(config.server(way), cursor_factory=RawCursor)
