"""A process beside the connector's own, so that rows are decoded on two cores.

    python -m source_postgres.reader

It begins with a True, and answers the parameters of a connection with another, a chunk to read with
its parts and a None, changes to decode with what became of them. An error that is answered ends the
conversation. STOP breaks off what is under way. The end of the connector ends the process, too,
whatever it does.
"""

import queue
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from estuary_cdk import logs
from estuary_cdk.failpoints import failpoint
from estuary_cdk.transport import Asked
from source_postgres.changes import helped

if TYPE_CHECKING:
    from psycopg import Connection

    from source_postgres.reading import Reading

STOP: Final = "stop"
CANCEL_TIMEOUT_S: Final = 5.0

log = logs.get_logger(__name__)


class Reader:
    """Answers on a thread of its own, while whoever made it listens."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._answer = asked.answer
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._connection: Connection[Any] | None = None

    def listen(self) -> None:
        """Take what is asked until there is nothing more, or until told to stop."""
        threading.Thread(target=self._answer_all, daemon=True).start()
        for told in self._asked.told():
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
        import psycopg  # It takes a while to load, and may not be needed.

        self._connection = psycopg.connect(**parameters)
        self._answer(True)

    def _read(self, reading: "Reading") -> None:
        from source_postgres.reading import scanned

        assert self._connection is not None
        for part in scanned(self._connection, reading):
            self._answer(part)
            failpoint("reader.part")
        self._answer(None)


def main() -> None:
    """Serve whoever started this process."""
    logs.configure()
    Reader(Asked()).listen()
    sys.exit(0)


if __name__ == "__main__":
    main()
