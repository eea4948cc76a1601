"""A Python process beside our own, so that work is done on two cores.

It is told values on its stdin and answers values on its stdout, both pickled: it is our own code,
started by us. Its stdin ends with us, however we end, and with that it ends.
"""

import gc
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from estuary_cdk.errors import TransientError
from estuary_cdk.transport.pipes import widen

END_TIMEOUT_S: Final = 10.0
# See `estuary_cdk.process`, which takes a while to load.
COLLECTOR_THRESHOLDS: Final = (100_000, 20, 100)


class Beside:
    """A process that runs a module, from its start to `end`; for one thread at a time.

    `work` says what it is for, as "read rows": whoever tells or asks it something once it is dead
    gets a TransientError that says so. Raises OSError where there can be no process.
    """

    def __init__(self, module: str, work: str) -> None:
        self._work = work
        # It finds what we found, and nothing in the directory it happens to be in.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            # So that neither waits for the other in the middle of what it says.
            assert pipe is not None, "it was made with pipes"
            widen(pipe.fileno())

    @property
    def pid(self) -> int:
        """The process's ID."""
        return self._process.pid

    def tell(self, what: object) -> None:
        """Send a value."""
        assert self._process.stdin is not None, "it was made with pipes"
        try:
            pickle.dump(what, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def answer(self) -> Any:
        """Wait for an answer; raises it if it is an error."""
        assert self._process.stdout is not None, "it was made with pipes"
        try:
            answer = pickle.load(self._process.stdout)  # noqa: S301 - we started it
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._died() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def has_answered(self) -> bool:
        """Tell whether `answer` wouldn't wait."""
        assert self._process.stdout is not None, "it was made with pipes"
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        return bool(poll.poll(0))

    def release(self) -> None:
        """Have it end once it has answered; it is told nothing after that."""
        assert self._process.stdin is not None, "it was made with pipes"
        with suppress(OSError):
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once, from any thread; what was asked of it fails."""
        self._process.kill()

    def end(self) -> None:
        """Have it end, wait for that, and see to it that it does."""
        assert self._process.stdout is not None, "it was made with pipes"
        self.release()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _died(self) -> TransientError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with status {code}"
        return TransientError(
            f"can't {self._work}: the process that does so beside our own {how}",
            hint="it is tried again; if it was killed for want of memory, give it more",
        )


class Asked:
    """The other side: what this process, begun as a `Beside`, is told and answers.

    Signals that a terminal or a supervisor sends to all processes are left to who started us, and
    whoever prints, prints to stderr.
    """

    def __init__(self) -> None:
        for ignored in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ignored, signal.SIG_IGN)
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        self._asked: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._answers: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def told(self) -> Iterator[Any]:
        """Yield what is told, until nothing more can be."""
        with suppress(EOFError):
            while True:
                yield pickle.load(self._asked)  # noqa: S301 - who started us is us

    def answer(self, what: object) -> None:
        """Answer; raises BrokenPipeError where nobody listens."""
        pickle.dump(what, self._answers, pickle.HIGHEST_PROTOCOL)
        self._answers.flush()
