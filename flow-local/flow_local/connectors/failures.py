"""A connector that failed: which task, at what, how it ended and what it said last."""

import signal
from typing import Final

from estuary_cdk.errors import CdkError, shortened

SILENT: Final = "it logged nothing"


class ConnectorFailed(CdkError):  # noqa: N818 - what happened, as with the kit's Fenced
    """A connector's process ended when it shouldn't have, or with a status other than 0.

    `task` and `what` say what was being done, `status` is the exit status (negative: the signal
    that killed it), `said` the connector's own last words.
    """

    task: str
    what: str
    status: int
    said: str

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, which may pass by itself."""
        return self.status < 0


def connector_failed(task: str, what: str, status: int, said: str) -> ConnectorFailed:
    """Return the error for a process that ended with this status after saying this."""
    message = f"can't {what} {task!r}: the connector {ending(status)}: {said or SILENT}"
    return ConnectorFailed(message, task=task, what=what, status=status, said=said)


def ending(status: int) -> str:
    """Tell how a process ended, as a verb phrase."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def garbage(line: bytes) -> str:
    """Quote a line that isn't a message, shortened."""
    return shortened(line[:200].decode(errors="replace"))
