"""The connector's side of a `reader`: a process that is started, asked, and never outlives us."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.sql_cdc.database import Scanned
from estuary_cdk.transport import Beside
from source_postgres.changes import Task
from source_postgres.config import Config
from source_postgres.connecting import dialling
from source_postgres.reader import STOP
from source_postgres.reading import Reading


class ReaderProcess:
    """A reader; see `Beside`. For one thread, but for `stop`."""

    def __init__(self, process: Beside) -> None:
        self.tell = process.tell
        self.release = process.release
        self.end = process.end
        self.pid = process.pid
        self._process = process
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the process has begun; doesn't wait for it. Raises TransientError if it died."""
        if not self._ready:
            self._ready = self.answered and self.answer()
        return self._ready

    @property
    def answered(self) -> bool:
        """See `Helper.answered`."""
        return self._process.has_answered()

    def scanned(self, reading: Reading) -> Iterator[Scanned]:
        """See `reading.scanned`; raises TransientError if the process dies."""
        self.tell(reading)
        while (part := self.answer()) is not None:
            yield part

    def ask(self, tasks: Sequence[Task]) -> None:
        """See `Helper.ask`."""
        self.tell(tasks)

    def answer(self) -> Any:
        """Wait for an answer; raises it if it is an error."""
        return self._process.answer()

    def stop(self) -> None:
        """Have it break off what it does, and end; from any thread."""
        with suppress(TransientError):
            self.tell(STOP)


def launched() -> ReaderProcess:
    """Start a process; raises OSError where there can be none."""
    return ReaderProcess(Beside("source_postgres.reader", "read rows"))


def connected(config: Config) -> ReaderProcess:
    """Start a process and have it connect.

    Raises psycopg.Error where the server refuses it, OSError where there can be no process,
    TransientError if it dies.
    """
    reader = launched()
    try:
        reader.answer()
        with dialling(config) as parameters:
            reader.tell(parameters)
            reader.answer()
    except BaseException:
        reader.end()
        raise
    return reader
