"""A source of streams as one value: how to connect, and what there is to read.

source = Source(
    config=Config,
    connect=connect,
    streams=[Snapshot("users", read=users)],
    docs="https://go.estuary.dev/source-acme",
)

if __name__ == "__main__":
    source.main()
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, Protocol, TypeVar, runtime_checkable

from estuary_cdk import process
from estuary_cdk.capture.connector import Capture, DiscoveredResource, Validation
from estuary_cdk.capture.positions import StreamState
from estuary_cdk.capture.pull import Pull
from estuary_cdk.capture.resources import StreamResource
from estuary_cdk.capture.runner import resolved, run
from estuary_cdk.capture.schemas import document_schema
from estuary_cdk.capture.streams import Snapshot, Stream
from estuary_cdk.clock import Clock
from estuary_cdk.config import EndpointConfig
from estuary_cdk.protocol.flow import OAuth2
from estuary_cdk.transport import Reader, Writer

ConfigT = TypeVar("ConfigT", bound=EndpointConfig)
ClientT = TypeVar("ClientT")


@runtime_checkable
class Checked(Protocol):
    """A client that can tell whether it will work."""

    async def check(self) -> None:
        """Return if the endpoint can be used; raise what stands in the way."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[ConfigT, ClientT]):
    """A capture connector made of streams.

    `connect` makes the client, which is entered once per request or session. A client with an
    async `check()` is asked before discovery and validation. `streams` are values or, where they
    depend on the endpoint, a function of the client that lists them.
    """

    config: type[ConfigT]
    connect: Callable[[ConfigT], AbstractAsyncContextManager[ClientT]]
    streams: Sequence[Stream[ClientT]] | Callable[[ClientT], Awaitable[Sequence[Stream[ClientT]]]]
    docs: str = ""
    oauth2: OAuth2 | None = None

    @property
    def capture(self) -> Capture[ConfigT, StreamResource, StreamState]:
        """This source as a capture."""
        return Capture(
            config=self.config,
            resource=StreamResource,
            state=StreamState,
            discover=self._discover,
            validate=self._validate,
            pull=self._pull,
            docs=self.docs,
            oauth2=self.oauth2,
        )

    async def serve(self, reader: Reader, writer: Writer, *, clock: Clock | None = None) -> None:
        """See `Capture.serve`."""
        await self.capture.serve(reader, writer, clock=clock)

    def main(self) -> NoReturn:
        """Serve this process's stdin and stdout, then exit."""
        process.main(self.serve)

    async def _discover(self, config: ConfigT) -> list[DiscoveredResource[StreamResource]]:
        async with self.connect(config) as client:
            await _check(client)
            return [_discovered(stream) for stream in await self._streams(client)]

    async def _validate(self, validation: Validation[ConfigT, StreamResource]) -> None:
        async with self.connect(validation.config) as client:
            await _check(client)
            resolved(validation.bindings, await self._streams(client))

    async def _pull(self, pull: Pull[ConfigT, StreamResource, StreamState]) -> None:
        async with self.connect(pull.config) as client:
            await run(pull, client, await self._streams(client))

    async def _streams(self, client: ClientT) -> Sequence[Stream[ClientT]]:
        if callable(self.streams):
            return await self.streams(client)
        return self.streams


async def _check(client: object) -> None:
    if isinstance(client, Checked):
        await client.check()


def _discovered(stream: Stream[Any]) -> DiscoveredResource[StreamResource]:
    return DiscoveredResource(
        name=stream.name,
        resource=StreamResource(name=stream.name, interval=stream.interval),
        schema=document_schema(stream),
        key=stream.key,
        fallback_key=isinstance(stream, Snapshot),
    )
