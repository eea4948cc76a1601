"""Trying again what failed in a way that may pass: a few times, with growing pauses."""

from collections.abc import Awaitable, Callable
from typing import Final

from estuary_cdk.clock import Clock
from estuary_cdk.errors import TransientError
from estuary_cdk.logs import get_logger

log = get_logger(__name__)

ATTEMPTS_MAX: Final = 6
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0


async def persevere(
    attempt: Callable[[], Awaitable[None]], clock: Clock, progress: Callable[[], int]
) -> None:
    """Call `attempt` until it succeeds or has failed ATTEMPTS_MAX times in a row.

    Only TransientError is tried again; the last is raised. An attempt during which `progress` grew
    counts as a success: what failed then is the next thing.
    """
    failures, pause = 0, PAUSE_FIRST_S
    while True:
        before = progress()
        try:
            await attempt()
        except TransientError as error:
            if progress() > before:
                failures, pause = 0, PAUSE_FIRST_S
            failures += 1
            if failures >= ATTEMPTS_MAX:
                raise
            log.warning("reading failed, trying again", reason=str(error), pause_s=pause)
            await clock.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)
        else:
            return
