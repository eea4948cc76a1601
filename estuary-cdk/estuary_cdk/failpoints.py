"""Named places at which a test makes a process fail: `FAILPOINTS=name=kill;other=error@3`.

`kill` ends the process at once, as `kill -9` would; `error` raises. `@N` means the Nth pass, the
first if left out. Names read "<part>.<moment>". A failpoint that isn't enabled costs a look into an
empty dict.
"""

import os
import signal
from typing import Final, Literal

from estuary_cdk.errors import CdkError, ConfigError

VARIABLE: Final = "FAILPOINTS"

Action = Literal["kill", "error"]


class FailpointError(CdkError):
    """A failpoint with the action `error` was passed."""


_armed: dict[str, tuple[Action, int]] = {}


def arm(text: str) -> None:
    """Enable the failpoints of `text`, disabling all others.

    Raises ConfigError for text that doesn't read `name=action[@pass]`, separated by `;`.
    """
    armed: dict[str, tuple[Action, int]] = {}
    for entry in filter(None, text.split(";")):
        name, _, what = entry.partition("=")
        action, _, count = what.partition("@")
        if action == "kill" and (count or "1").isdigit():
            armed[name] = ("kill", int(count or 1))
        elif action == "error" and (count or "1").isdigit():
            armed[name] = ("error", int(count or 1))
        else:
            raise ConfigError(
                f"can't read failpoint {entry!r}", hint="name=kill or name=error, then @N"
            )
    _armed.clear()
    _armed.update(armed)


def failpoint(name: str) -> None:
    """Fail here if this place is enabled and its turn has come."""
    if _armed:
        _pass(name)


def _pass(name: str) -> None:
    if name not in _armed:
        return
    action, passes = _armed[name]
    if passes > 1:
        _armed[name] = (action, passes - 1)
        return
    del _armed[name]
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FailpointError(f"can't go on: failpoint {name!r} is reached", name=name)


arm(os.environ.get(VARIABLE, ""))
