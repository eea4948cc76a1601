"""How long tests wait: on a busy machine longer, for what is fast isn't the machine's choice."""

import os
from typing import Final

HANGS_S: Final = 120.0
"""After so long, what a test waits for will never happen. Nothing is told from coming earlier."""


def bound_s(quiet_s: float) -> float:
    """Return the limit, on this machine now, of what takes at most `quiet_s` on a quiet one.

    For the few promises that are about time; it grows with the processes that want each processor.
    """
    wanted = os.getloadavg()[0] / (os.cpu_count() or 1)
    return quiet_s * max(1.0, wanted)
