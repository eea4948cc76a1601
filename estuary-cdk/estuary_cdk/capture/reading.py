"""What reading a stream into its binding needs, whatever the kind of stream."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from estuary_cdk import logs
from estuary_cdk.capture.emission import Emission
from estuary_cdk.capture.positions import VERSION, StreamState
from estuary_cdk.capture.pull import Binding, Pull
from estuary_cdk.capture.resources import StreamResource
from estuary_cdk.capture.schedules import next_fire
from estuary_cdk.document import Item

ClientT = TypeVar("ClientT")
YieldedT = TypeVar("YieldedT")


@dataclass(slots=True)
class Status:
    """Tells the user how many bindings are being backfilled, whenever that changes."""

    bindings: int
    _backfilling: set[str] = field(default_factory=set)
    _told: str = ""

    def backfilling(self, binding: str, *, now: bool) -> None:
        """Note whether a binding is being backfilled."""
        if now:
            self._backfilling.add(binding)
        else:
            self._backfilling.discard(binding)
        self.tell()

    def tell(self) -> None:
        """Tell what there is to tell, unless it was told last."""
        count = len(self._backfilling)
        text = f"Backfilling {count} of {self.bindings} bindings" if count else "Running"
        if text != self._told:
            self._told = text
            logs.status(text)


@dataclass(frozen=True, slots=True)
class Reading(Generic[ClientT]):
    """One stream that is being read; `spawn` runs something beside it, to the same end."""

    client: ClientT
    pull: Pull[Any, StreamResource, StreamState]
    binding: Binding[StreamResource, StreamState]
    interval: timedelta
    status: Status
    spawn: Callable[[Coroutine[Any, Any, None]], object]

    @property
    def state(self) -> StreamState:
        """The state the session started with."""
        return self.binding.state or StreamState(version=VERSION)

    def emission(self) -> Emission:
        """Return a new way out for documents, to be used by one task."""
        return Emission(self.pull, self.binding)

    def now(self) -> datetime:
        """Return the time of day."""
        return self.pull.clock.now()

    async def sleep_until(self, moment: datetime) -> None:
        """Return at that time of day."""
        await self.pull.clock.sleep((moment - self.now()).total_seconds())

    def restart_at(self, last: datetime) -> datetime | None:
        """Return when the schedule wants everything read again, if there is one."""
        schedule = self.binding.resource.schedule
        return next_fire(schedule, last) if schedule else None

    def again_at(self, last: datetime) -> datetime:
        """Return when to do again what was done at `last`: by schedule, else by interval."""
        return self.restart_at(last) or last + self.interval

    def backfilling(self, *, now: bool) -> None:
        """Note whether this binding is being backfilled."""
        self.status.backfilling(self.binding.name, now=now)


@asynccontextmanager
async def closing(items: AsyncIterator[YieldedT]) -> AsyncGenerator[AsyncIterator[YieldedT]]:
    """Close what an author's `read` opened as soon as it isn't read any more."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def block(yielded: Item | Sequence[Item]) -> Sequence[Item]:
    """Return what an author yielded as a list, one document or many."""
    return yielded if isinstance(yielded, list | tuple) else [yielded]  # type: ignore[list-item]
