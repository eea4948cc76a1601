"""How the streams of a capture of files are followed, from its start to its end.

Without notices a run is one sweep over the bindings. With them it goes on: it looks at the files
that word came of, and sweeps again now and then. A binding whose interval hasn't passed since its
last sweep waits, unless that sweep was cut off. One binding's failure doesn't keep the others from
being captured: it is raised at the end.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import BaseModel

from estuary_cdk.capture import Binding, BindingState, Pull
from estuary_cdk.capture import Patch as BindingPatch
from estuary_cdk.config import ResourceConfig, setting
from estuary_cdk.errors import CdkError
from estuary_cdk.kits.files.folder import Folder, FolderState
from estuary_cdk.kits.files.following import Following, Outcome, Selection
from estuary_cdk.kits.files.intervals import PATTERN, length
from estuary_cdk.kits.files.notices import SWEEP_EVERY, Notice, Notices
from estuary_cdk.kits.files.schemas import FILE_KEY
from estuary_cdk.kits.files.stores import Store
from estuary_cdk.kits.files.sweep import Patch
from estuary_cdk.logs import get_logger, status

log = get_logger(__name__)

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Acknowledged = Callable[[], Awaitable[None]]

BINDINGS_AT_ONCE = 4


class Resource(ResourceConfig):
    """Which files are captured, and how often."""

    stream: str = setting(
        title="Stream", description="Where the files are: the container's name, then a prefix."
    )
    interval: str | None = setting(
        None,
        title="Interval",
        pattern=PATTERN,
        description="How often at most the files are listed, like 5m, 1h30m or PT24H. Every time "
        "the capture runs when left out.",
    )


class State(BindingState):
    """What a binding persists: how far its files are followed, and when they were listed last."""

    folder: FolderState = FolderState()
    swept_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A binding and which files it has; with `ascending`, files are only ever added."""

    binding: Binding[Resource, State]
    selection: Selection
    ascending: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The key of the stream's collection."""
        return tuple(self.binding.collection.key)

    @property
    def recipe(self) -> str:
        """A digest of what decides which documents a file becomes."""
        settings: list[Any] = [self.key, self.selection.parser.model_dump(mode="json")]
        return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


@dataclass(slots=True)
class _Followed(Generic[ConfigT]):
    """A stream in a session, with what is known of its files."""

    session: Pull[ConfigT, Resource, State]
    stream: Stream
    following: Following = field(init=False)
    _swept_at: datetime | None = field(init=False)
    _last: list[Acknowledged] = field(default_factory=list)

    def attach(self, store: Store) -> None:
        """Begin with the state that the session brought."""
        state = self.stream.binding.state or State()
        key = self.stream.key
        folder = Folder(
            state.folder,
            self.stream.recipe,
            None if key == FILE_KEY else key,
            ascending=self.stream.ascending,
        )
        self._swept_at = None if state.folder.reading else state.swept_at
        self.following = Following(
            store, folder, self.stream.selection, self._commit, self.session.owns
        )

    async def sweep(self, every: timedelta | None) -> None:
        """List the files and bring the collection up to date, if that is due."""
        binding = self.stream.binding
        if binding.resource.interval is not None:
            every = length(binding.resource.interval)
        started = self.session.clock.now()
        # A clock that was set back mustn't have the binding wait until it is where it was.
        if every and self._swept_at and timedelta() <= started - self._swept_at < every:
            log.debug("interval has not passed", stream=binding.name)
            return
        _report(binding.name, await self.following.sweep())
        self._swept_at = started
        if binding.resource.interval is not None:
            async with self.session.transaction() as transaction:
                patch = {"swept_at": started.isoformat()}
                transaction.checkpoint(binding, BindingPatch(patch))

    async def follow(self, paths: Sequence[str]) -> None:
        """Look at files, and return once what they hold is durable."""
        self._last.clear()
        outcome = await self.following.follow(paths)
        if outcome.listed or outcome.deleted:
            _report(self.stream.binding.name, outcome)
        for acknowledged in self._last:
            await acknowledged()

    async def _commit(self, documents: list[bytes], patch: Patch, schemas: Sequence[bytes]) -> None:
        binding = self.stream.binding
        async with self.session.transaction() as transaction:
            for schema in schemas:
                await transaction.sourced_schema(binding, schema)
            await transaction.emit(binding, documents)
            transaction.checkpoint(binding, BindingPatch({"folder": patch}))
        self._last[:] = [transaction.acknowledged]


async def pull(
    session: Pull[ConfigT, Resource, State],
    store: Store,
    streams: Sequence[Stream],
    notices: Notices | None,
) -> None:
    """Follow the streams: once, or with notices until the session is stopped."""
    followed = [_Followed(session, stream) for stream in streams]
    for each in followed:
        each.attach(store)
    await together(each.sweep(None) for each in followed)
    while notices is not None:
        notice = await notices.next()
        if notice.paths:
            await _heed(session, followed, notice)
        await together(each.sweep(SWEEP_EVERY) for each in followed)


async def _heed(
    session: Pull[ConfigT, Resource, State],
    followed: Sequence[_Followed[ConfigT]],
    notice: Notice,
) -> None:
    await together(each.follow(notice.paths) for each in followed)
    named = [
        path for path in notice.paths if any(each.stream.selection.names(path) for each in followed)
    ]
    await notice.settle([path for path in named if not session.owns(path)])


async def together(work: Iterable[Awaitable[None]]) -> None:
    """Do some at once, all of them whatever becomes of the others; then raise what went wrong."""
    places = asyncio.Semaphore(BINDINGS_AT_ONCE)
    failures: list[Exception] = []

    async def guarded(each: Awaitable[None]) -> None:
        async with places:
            try:
                await each
            except (CdkError, ExceptionGroup) as error:
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(guarded(each))
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("streams failed", failures)


def _report(stream: str, outcome: Outcome) -> None:
    if outcome.malformed_rows:
        log.warning("malformed rows were left out", stream=stream, rows=outcome.malformed_rows)
    if outcome.unsettled:
        log.warning("files keep changing", stream=stream, files=outcome.unsettled)
    if outcome.untracked:
        log.warning("too many keys to tell which documents vanish", stream=stream)
    if outcome.left_out or outcome.skipped:
        left_out = max(outcome.left_out, len(outcome.skipped))
        status(
            f"{stream}: {left_out} of {outcome.listed} files can't be read and are left out until "
            f"they change; the first: {outcome.trouble or outcome.skipped[0]}"
        )
    log.info(
        "files captured",
        stream=stream,
        listed=outcome.listed,
        read=outcome.read,
        deleted=outcome.deleted,
        documents=outcome.documents,
    )
