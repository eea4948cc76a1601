"""When a run ends by itself, and how not to be interrupted in the middle of a commit."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

QUIET_S_DEFAULT: Final = 10.0

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Ending:
    """Whether tasks end when there is nothing left to do.

    If so, a capture ends when its connector has exited once or said nothing for `quiet_s`, and a
    materialization when `sources_ended` is set and it has stored all there is.
    """

    until_idle: bool = False
    quiet_s: float = QUIET_S_DEFAULT
    sources_ended: asyncio.Event = field(default_factory=asyncio.Event)


async def together(works: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Run all at once and return what each returns; the first that fails ends all and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def uninterrupted(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run `work` to its end even if we are cancelled meanwhile, and only then be cancelled.

    For work that is short and bounded: a commit.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            task.result()
        raise
