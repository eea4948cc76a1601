"""A capture of any store of files: what differs is a config and how to open the store it tells.

    capture = Files(config=Config, opened=opened, streams=streams, docs="https://...").capture()

A run is one sweep over the bindings, then the process is done; the runtime starts the next. A
binding whose interval hasn't passed since its last sweep waits, unless that sweep was cut off. One
binding's failure doesn't keep the others from being captured: it is raised at the end.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import BaseModel

from estuary_cdk.capture import Binding, BindingState, Capture, DiscoveredResource, Pull, Validation
from estuary_cdk.capture import Patch as BindingPatch
from estuary_cdk.config import ResourceConfig, setting
from estuary_cdk.errors import CdkError
from estuary_cdk.kits.files.folder import Folder, FolderState
from estuary_cdk.kits.files.following import Following, Outcome, Selection, listed
from estuary_cdk.kits.files.intervals import PATTERN, length
from estuary_cdk.kits.files.schemas import FILE_KEY, document_schema
from estuary_cdk.kits.files.stores import Store
from estuary_cdk.kits.files.sweep import Patch
from estuary_cdk.logs import get_logger, status

log = get_logger(__name__)

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Session = Pull[ConfigT, "Resource", "State"]

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
class Files(Generic[ConfigT]):
    """A kind of store as a capture.

    `streams` names what a config has to discover; `selection` tells which files a stream has, or
    raises ConfigError; `opened` gives the store. With `ascending`, files are only ever added.
    """

    config: type[ConfigT]
    opened: Callable[[ConfigT], AbstractAsyncContextManager[Store]]
    streams: Callable[[ConfigT], Sequence[str]]
    selection: Callable[[ConfigT, str], Selection]
    ascending: Callable[[ConfigT], bool]
    docs: str

    def capture(self) -> Capture[ConfigT, Resource, State]:
        """Return the connector."""
        return Capture(
            config=self.config,
            resource=Resource,
            state=State,
            discover=self._discover,
            validate=self._validate,
            pull=self._pull,
            path=["/stream"],
            docs=self.docs,
        )

    async def _discover(self, config: ConfigT) -> list[DiscoveredResource[Resource]]:
        streams = self.streams(config)
        await self._reach(config, streams)
        return [
            DiscoveredResource(
                name=stream.strip("/"),
                resource=Resource(stream=stream),
                schema=document_schema(),
                key=FILE_KEY,
            )
            for stream in streams
        ]

    async def _validate(self, validation: Validation[ConfigT, Resource]) -> None:
        for binding in validation.bindings:
            length(binding.resource.interval or "")
        streams = [binding.resource.stream for binding in validation.bindings]
        await self._reach(validation.config, streams)

    async def _reach(self, config: ConfigT, streams: Sequence[str]) -> None:
        """List the first files of each stream and read a byte: what is not allowed shows now."""
        async with self.opened(config) as store:
            for stream in streams:
                async for page in listed(store, self.selection(config, stream)):
                    if (file := next((file for file in page if file.size), None)) is not None:
                        await store.read(file, 0, 1)
                    break

    async def _pull(self, session: Pull[ConfigT, Resource, State]) -> None:
        places = asyncio.Semaphore(BINDINGS_AT_ONCE)
        failures: list[Exception] = []

        async def guarded(store: Store, binding: Binding[Resource, State]) -> None:
            async with places:
                try:
                    await self._sweep(session, store, binding)
                except (CdkError, ExceptionGroup) as error:
                    failures.append(error)

        async with self.opened(session.config) as store, asyncio.TaskGroup() as group:
            for binding in session.bindings:
                group.create_task(guarded(store, binding))
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup("streams failed", failures)

    async def _sweep(
        self,
        session: Pull[ConfigT, Resource, State],
        store: Store,
        binding: Binding[Resource, State],
    ) -> None:
        state = binding.state or State()
        started = session.clock.now()
        if _waits(state, binding.resource, started):
            log.info("interval has not passed", stream=binding.name)
            return
        selection = self.selection(session.config, binding.resource.stream)
        key = tuple(binding.collection.key)
        folder = Folder(
            state.folder,
            _recipe(selection, key),
            None if key == FILE_KEY else key,
            ascending=self.ascending(session.config),
        )

        async def commit(documents: list[bytes], patch: Patch, schemas: Sequence[bytes]) -> None:
            async with session.transaction() as transaction:
                for schema in schemas:
                    await transaction.sourced_schema(binding, schema)
                await transaction.emit(binding, documents)
                transaction.checkpoint(binding, BindingPatch({"folder": patch}))

        following = Following(store, folder, selection, commit, session.owns)
        _report(binding.name, await following.sweep())
        if binding.resource.interval is not None:
            async with session.transaction() as transaction:
                patch = {"swept_at": started.isoformat()}
                transaction.checkpoint(binding, BindingPatch(patch))


def _waits(state: State, resource: Resource, now: datetime) -> bool:
    if resource.interval is None or state.swept_at is None or state.folder.reading:
        return False
    # A clock that was set back mustn't have the binding wait until it is where it was.
    return timedelta() <= now - state.swept_at < length(resource.interval)


def _recipe(selection: Selection, key: Sequence[str]) -> str:
    settings: list[Any] = [key, selection.parser.model_dump(mode="json")]
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()


def _report(stream: str, outcome: Outcome) -> None:
    if outcome.malformed_rows:
        log.warning("malformed rows were left out", stream=stream, rows=outcome.malformed_rows)
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
