"""A process that reads chunks beside the connector's own, so that rows are decoded on two cores.

    python -m source_postgres.reader

What it is told comes on stdin, what it answers goes to stdout, both pickled: the parameters of a
connection, answered with True; then chunks, each answered with its parts and a None. An error that
is answered ends the conversation. STOP breaks off what is under way. The end of stdin, which is
also that of a connector that was killed, ends the process whatever it does. Signals that a terminal
or a supervisor sends to all processes are left to the connector.
"""

import gc
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from typing import Any, BinaryIO, Final

import psycopg

from estuary_cdk import logs
from estuary_cdk.failpoints import failpoint
from estuary_cdk.process import COLLECTOR_THRESHOLDS
from source_postgres.reading import Reading, scanned

STOP: Final = "stop"
CANCEL_TIMEOUT_S: Final = 5.0

log = logs.get_logger(__name__)


class Reader:
    """Answers on a thread of its own, while whoever made it listens."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._connection: psycopg.Connection[Any] | None = None

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
            except psycopg.Error as error:
                log.debug("a scan couldn't be cancelled", error=str(error))

    def _answer_all(self) -> None:
        try:
            self._connection = psycopg.connect(**self._told.get())
            self._answer(True)
            while True:
                self._read(self._told.get())
        except BrokenPipeError:
            return  # Nobody listens; stdin ends, too.
        except Exception as error:  # noqa: BLE001 - it is the connector's to handle
            if not isinstance(error, psycopg.Error):
                error.add_note(traceback.format_exc())
            self._answer(error)

    def _read(self, reading: Reading) -> None:
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
