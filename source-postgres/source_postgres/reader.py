"""A process beside the connector's own, so that rows are decoded on two cores.

    python -m source_postgres.reader

What it is told comes on stdin, what it answers goes to stdout, both pickled. It begins with a True,
and answers the parameters of a connection with another, a chunk to read with its parts and a None,
changes to decode with what became of them. An error that is answered ends the conversation. STOP
breaks off what is under way. The end of stdin, which is also that of a connector that was killed,
ends the process whatever it does. Signals that a terminal or a supervisor sends to all processes
are left to the connector.
"""

import gc
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from estuary_cdk import logs
from estuary_cdk.failpoints import failpoint
from source_postgres.changes import helped

if TYPE_CHECKING:
    from psycopg import Connection

    from source_postgres.reading import Reading

STOP: Final = "stop"
CANCEL_TIMEOUT_S: Final = 5.0
# See `estuary_cdk.process`, which takes a while to load, as does a driver that may not be needed.
COLLECTOR_THRESHOLDS: Final = (100_000, 20, 100)

log = logs.get_logger(__name__)


class Reader:
    """Answers on a thread of its own, while whoever made it listens."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._connection: Connection[Any] | None = None

    def listen(self, asked: BinaryIO) -> None:
        """Take what is asked until there is nothing more, or until told to stop."""
        threading.Thread(target=self._answer_all, daemon=True).start()
        while True:
            try:
                told = pickle.load(asked)  # noqa: S301 - the connector is who started us
            except EOFError:
                return
            if told == STOP:
                self._cancel()
                return
            self._told.put(told)

    def _cancel(self) -> None:
        if self._connection is not None:
            try:
                self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
            except Exception as error:  # noqa: BLE001 - it ends all the same
                log.debug("a scan couldn't be cancelled", error=str(error))

    def _answer_all(self) -> None:
        try:
            self._answer(True)
            while True:
                match self._told.get():
                    case dict() as parameters:
                        self._connect(parameters)
                    case list() as tasks:
                        failpoint("reader.changes")
                        self._answer(helped(tasks))
                    case reading:
                        self._read(reading)
        except BrokenPipeError:
            return  # Nobody listens; stdin ends, too.
        except Exception as error:  # noqa: BLE001 - it is the connector's to handle
            error.add_note(traceback.format_exc())
            self._answer(error)

    def _connect(self, parameters: dict[str, Any]) -> None:
        import psycopg

        self._connection = psycopg.connect(**parameters)
        self._answer(True)

    def _read(self, reading: "Reading") -> None:
        from source_postgres.reading import scanned

        assert self._connection is not None
        for part in scanned(self._connection, reading):
            self._answer(part)
            failpoint("reader.part")
        self._answer(None)

    def _answer(self, answer: object) -> None:
        pickle.dump(answer, self._answers, pickle.HIGHEST_PROTOCOL)
        self._answers.flush()


def main() -> None:
    """Serve whoever started this process."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    logs.configure()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Whoever prints, prints to stderr.
    os.dup2(2, 1)
    Reader(answers).listen(asked)
    sys.exit(0)


if __name__ == "__main__":
    main()
