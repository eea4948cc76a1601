"""A capture of any store of files: what differs is a config and how to open the store it tells.

    capture = Files(config=Config, opened=opened, streams=streams, docs="https://...").capture()

A run is one sweep over the bindings, then the process is done; the runtime starts the next. Where
the store gives notice of files, a run goes on for as long as it is let.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from estuary_cdk.capture import Capture, DiscoveredResource, Pull, Validation
from estuary_cdk.kits.files.following import Selection, listed
from estuary_cdk.kits.files.intervals import length
from estuary_cdk.kits.files.notices import Notices
from estuary_cdk.kits.files.pulling import Resource, State, Stream, pull
from estuary_cdk.kits.files.sampling import discovered_schema
from estuary_cdk.kits.files.schemas import FILE_KEY
from estuary_cdk.kits.files.stores import Store

ConfigT = TypeVar("ConfigT", bound=BaseModel)
NoticesOf = Callable[[ConfigT], AbstractAsyncContextManager[Notices | None]]


@dataclass(frozen=True, slots=True)
class Files(Generic[ConfigT]):
    """A kind of store as a capture.

    `streams` names what a config has to discover; `selection` tells which files a stream has, or
    raises ConfigError; `opened` gives the store. With `ascending`, files are only ever added.
    `notices` gives where word of files comes from, None where a config wants none.
    """

    config: type[ConfigT]
    opened: Callable[[ConfigT], AbstractAsyncContextManager[Store]]
    streams: Callable[[ConfigT], Sequence[str]]
    selection: Callable[[ConfigT, str], Selection]
    ascending: Callable[[ConfigT], bool]
    docs: str
    notices: NoticesOf[ConfigT] | None = None

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
            acknowledgements=self.notices is not None,
        )

    async def _discover(self, config: ConfigT) -> list[DiscoveredResource[Resource]]:
        async with self.opened(config) as store:
            return [
                await self._discovered(config, store, stream) for stream in self.streams(config)
            ]

    async def _discovered(
        self, config: ConfigT, store: Store, stream: str
    ) -> DiscoveredResource[Resource]:
        schema = await discovered_schema(store, self.selection(config, stream))
        name = stream.strip("/")
        return DiscoveredResource(
            name=name, resource=Resource(stream=stream), schema=schema, key=FILE_KEY
        )

    async def _validate(self, validation: Validation[ConfigT, Resource]) -> None:
        for binding in validation.bindings:
            length(binding.resource.interval or "")
        streams = [binding.resource.stream for binding in validation.bindings]
        await self._reach(validation.config, streams)
        if self.notices is not None:
            async with self.notices(validation.config) as notices:
                if notices is not None:
                    await notices.check()

    async def _reach(self, config: ConfigT, streams: Sequence[str]) -> None:
        """List the first files of each stream and read a byte: what is not allowed shows now."""
        async with self.opened(config) as store:
            for stream in streams:
                async for page in listed(store, self.selection(config, stream)):
                    if (file := next((file for file in page if file.size), None)) is not None:
                        await store.read(file, 0, 1)
                    break

    async def _pull(self, session: Pull[ConfigT, Resource, State]) -> None:
        ascending = self.ascending(session.config)
        streams = [
            Stream(binding, self.selection(session.config, binding.resource.stream), ascending)
            for binding in session.bindings
        ]
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(self.opened(session.config))
            notices = None
            if self.notices is not None:
                notices = await stack.enter_async_context(self.notices(session.config))
            await pull(session, store, streams, notices)
