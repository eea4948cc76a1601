"""Connectors' processes that have answered and wait for what they are asked next.

A task asks its connector several times before documents move: validate, apply, open. A process for
each costs more than the answers do. One that goes on reading after its answer is kept here for the
next question of the same task; one that can't is replaced.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from flow_local.connectors.endpoint import Endpoint

PATIENCE_S: Final = 3.0
TRIAL_S: Final = 5.0


class Spare(Protocol):
    """A process that may be asked again, and with which no conversation is open."""

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        ...

    async def stop(self) -> None:
        """End its process."""
        ...


class Spares:
    """The processes kept for tasks, at most one each; made by `spares`, which ends them."""

    def __init__(self, patience_s: float, trial_s: float) -> None:
        self.patience_s = patience_s
        """How long an answer may take before the requests end: some answer only then."""
        self.trial_s = trial_s
        """How long the answer may take that shows that a connector goes on reading."""
        self._kept: dict[str, tuple[Endpoint, Spare]] = {}
        self.hopeless: set[str] = set()
        """Tasks whose connector answers one question and no more."""

    async def take(self, task: str, endpoint: Endpoint) -> Spare | None:
        """Return a task's live process of that endpoint, which is the caller's from then on."""
        of, spare = self._kept.pop(task, (None, None))
        if spare is None:
            return None
        if of == endpoint and spare.is_alive:
            return spare
        await spare.stop()
        return None

    async def keep(self, task: str, endpoint: Endpoint, spare: Spare) -> None:
        """Keep a process for its task's next question, in place of one that is kept already."""
        before = self._kept.pop(task, None)
        self._kept[task] = endpoint, spare
        if before:
            await before[1].stop()

    async def stop(self) -> None:
        """End all processes that are kept."""
        kept, self._kept = self._kept, {}
        async with asyncio.TaskGroup() as group:
            for _, spare in kept.values():
                group.create_task(spare.stop())


@asynccontextmanager
async def spares(patience_s: float = PATIENCE_S, trial_s: float = TRIAL_S) -> AsyncIterator[Spares]:
    """Keep processes for as long as the block is entered."""
    kept = Spares(patience_s, trial_s)
    try:
        yield kept
    finally:
        await kept.stop()
