"""The connector's side of a `reader`: a process that is started, asked, and never outlives us."""

import fcntl
import os
import pickle
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.sql_cdc.database import Scanned
from source_postgres.changes import Task
from source_postgres.config import Config
from source_postgres.connecting import dialling
from source_postgres.reader import STOP
from source_postgres.reading import Reading

END_TIMEOUT_S: Final = 10.0
PIPE_BYTES: Final = 1 << 20


class ReaderProcess:
    """A reader. For one thread, but for `stop`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._ready = False

    @property
    def pid(self) -> int:
        """The process's ID."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether the process has begun; doesn't wait for it. Raises TransientError if it died."""
        if not self._ready:
            self._ready = self.answered and self.answer()
        return self._ready

    @property
    def answered(self) -> bool:
        """See `Helper.answered`."""
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        return bool(poll.poll(0))

    def scanned(self, reading: Reading) -> Iterator[Scanned]:
        """See `reading.scanned`; raises TransientError if the process dies."""
        self.tell(reading)
        while (part := self.answer()) is not None:
            yield part

    def ask(self, tasks: Sequence[Task]) -> None:
        """See `Helper.ask`."""
        self.tell(tasks)

    def tell(self, what: object) -> None:
        """Send something; raises TransientError if the process is dead."""
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def answer(self) -> Any:
        """Wait for an answer; raises it if it is an error."""
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)  # noqa: S301 - we started it
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._died() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _died(self) -> TransientError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with status {code}"
        return TransientError(
            f"can't read rows: the process that decodes beside the connector's own {how}",
            hint="it is tried again; if it was killed for want of memory, give the connector more",
        )

    def stop(self) -> None:
        """Have it break off what it does, and end; from any thread."""
        with suppress(TransientError):
            self.tell(STOP)

    def release(self) -> None:
        """Have it end once it has answered; it is told nothing after that."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def end(self) -> None:
        """Have it end, wait for that, and see to it that it does."""
        assert self._process.stdout is not None
        self.release()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def launched() -> ReaderProcess:
    """Start a process; raises OSError where there can be none."""
    # It finds what we found, and nothing in the directory it happens to be in.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "source_postgres.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError, AttributeError):
            # So that neither waits for the other in the middle of what it says.
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ReaderProcess(process)


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
