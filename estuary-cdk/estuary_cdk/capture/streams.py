"""The kinds of streams a source may have: values that say how to read one window or page.

    Snapshot   the whole thing each time; changes are found by comparing
    Windowed   a filter by time; every moment is read once it is complete
    Log        positions that grow; a Checkpoint says how far the documents before it lead
    Paged      a token for the next page is all there is

`read` yields documents: a model, a mapping, JSON text as bytes, or a list of these, which is the
quicker way. It may be called again for what it yielded before, so it is a function of what it is
given. It raises TransientError for what may pass, and the kit tries again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from estuary_cdk.capture.windows import Cut, Window
from estuary_cdk.document import Document, Item
from estuary_cdk.errors import ContractError

ClientT = TypeVar("ClientT")
PositionT = TypeVar("PositionT", int, str, datetime)

ROW_ID: Final = "/_meta/row_id"
SECOND: Final = timedelta(seconds=1)
FIVE_MINUTES: Final = timedelta(minutes=5)
WEEK: Final = timedelta(days=7)

Yielded = Item | Sequence[Item]


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[PositionT]):
    """Everything up to `position` was yielded: reading again from there misses nothing."""

    position: PositionT


@dataclass(frozen=True, slots=True)
class Batch:
    """One page: its documents, and the token of the next page.

    Without a token the listing is complete and starts over after the stream's interval. With
    `caught_up` there is nothing more for now, and the token is asked again after the interval.
    """

    documents: Sequence[Item]
    next: str | None = None
    caught_up: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[ClientT]):
    """A resource that can only be read as a whole, such as a list of users.

    `read(client)` yields all rows, in an order that is stable while nothing changes. The collection
    is keyed on `/_meta/row_id`. What is emitted for a row that is gone is `tombstone`.
    """

    name: str
    _: KW_ONLY
    read: Callable[[ClientT], AsyncIterator[Yielded]]
    interval: timedelta = FIVE_MINUTES
    model: type[BaseModel] = Document
    schema: Mapping[str, Any] | None = None
    tombstone: bytes = b"{}"
    key: Sequence[str] = field(default=(ROW_ID,), init=False)


@dataclass(frozen=True, slots=True)
class Windowed(Generic[ClientT]):
    """A resource that can be asked for what changed within a span of time.

    `read(client, window)` yields what changed from `window.start` on and before `window.end`; every
    moment since `since` is in one window. `tick` is the finest step that the source's filter tells
    apart, `lag` how late a change may show up, `step` the size of a window. History is read beside
    the tail.
    """

    name: str
    _: KW_ONLY
    key: Sequence[str]
    read: Callable[[ClientT, Window], AsyncIterator[Yielded]]
    since: datetime
    tick: timedelta = SECOND
    lag: timedelta = timedelta()
    step: timedelta = WEEK
    interval: timedelta = FIVE_MINUTES
    model: type[BaseModel] = Document
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _aware(self.name, "since", self.since)
        if self.tick <= timedelta() or self.lag < timedelta() or self.step < self.tick:
            raise ContractError(
                f"can't cut stream {self.name!r} into windows: tick {self.tick}, lag {self.lag}, "
                f"step {self.step}",
                hint="a tick is longer than nothing, a step at least a tick, a lag not negative",
            )

    @property
    def cut(self) -> Cut:
        """How time is cut into windows."""
        return Cut(self.since.astimezone(UTC), self.tick, self.lag, self.step)


@dataclass(frozen=True, slots=True)
class Log(Generic[ClientT, PositionT]):
    """A resource with positions that grow: sequence numbers, times of change, file names in order.

    `read(client, position)` yields what comes after `position`, in order, and a Checkpoint whenever
    the documents before it are complete up to a position; each is greater than the one before, and
    nothing may follow the last. The first call gets `start`. A call that yields no Checkpoint has
    caught up, and is repeated after `interval`. Positions are integers, text or times.
    """

    name: str
    _: KW_ONLY
    key: Sequence[str]
    read: Callable[[ClientT, PositionT], AsyncIterator["Yielded | Checkpoint[PositionT]"]]
    start: PositionT
    interval: timedelta = FIVE_MINUTES
    model: type[BaseModel] = Document
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.start, datetime):
            _aware(self.name, "start", self.start)


@dataclass(frozen=True, slots=True)
class Paged(Generic[ClientT]):
    """A resource that gives its pages one by one, each with a token for the next.

    `read(client, token)` returns one page; the first is asked for with None. Tokens have to stay
    good across restarts of the capture.
    """

    name: str
    _: KW_ONLY
    key: Sequence[str]
    read: Callable[[ClientT, str | None], Awaitable[Batch]]
    interval: timedelta = timedelta(days=1)
    model: type[BaseModel] = Document
    schema: Mapping[str, Any] | None = None


def _aware(stream: str, what: str, moment: datetime) -> None:
    if moment.tzinfo is None:
        raise ContractError(
            f"can't use stream {stream!r}: {what} {moment} has no time zone", hint="tzinfo=UTC"
        )


Stream = Snapshot[ClientT] | Windowed[ClientT] | Log[ClientT, Any] | Paged[ClientT]
"""One part of a source, of any kind."""
