"""A capture connector as one value: what its author supplies.

capture = Capture(
    config=Config, resource=Resource, state=State, discover=discover, pull=pull,
    path=["/namespace", "/stream"], docs="https://go.estuary.dev/source-acme",
)

if __name__ == "__main__":
    capture.main()
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from msgspec import Raw
from pydantic import BaseModel

from estuary_cdk import process
from estuary_cdk.capture.pull import Binding, Pull
from estuary_cdk.capture.state import NoState, StateT
from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.protocol.flow import OAuth2
from estuary_cdk.transport import Reader, Writer

ConfigT = TypeVar("ConfigT", bound=BaseModel)
ResourceT = TypeVar("ResourceT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DiscoveredResource(Generic[ResourceT]):
    """Something the endpoint has to capture.

    `name` suggests the last part of a collection's name. `schema` is the JSON schema of its
    documents, as JSON text or values. An empty `key` lets the user choose one; `fallback_key` marks
    one that must not replace the user's. The resource's path is read off `resource`.
    """

    name: str
    resource: ResourceT
    schema: Mapping[str, Any] | bytes
    key: Sequence[str] = ()
    fallback_key: bool = False
    disable: bool = False


@dataclass(frozen=True, slots=True)
class Validation(Generic[ConfigT, ResourceT]):
    """What is to be validated; bindings have no state yet."""

    name: str
    config: ConfigT
    bindings: tuple[Binding[ResourceT, Any], ...]


@dataclass(frozen=True, slots=True)
class Application(Generic[ConfigT, ResourceT]):
    """What is to be prepared at the endpoint before the capture is opened."""

    name: str
    version: str
    config: ConfigT
    bindings: tuple[Binding[ResourceT, Any], ...]
    task_state: Mapping[str, Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(Generic[ConfigT, ResourceT, StateT]):
    """A capture connector.

    `discover` lists what the endpoint has, the same for the same endpoint. `pull` captures until it
    returns. `validate`, if there is one, checks what the models can't (credentials, permissions);
    `apply` prepares the endpoint, may be repeated, and returns what it did for people. All raise
    ConfigError for what the user has to change.

    `path` holds the pointers into the resource config whose values identify a resource. With
    `acknowledgements` transactions can be told when they are durable. `oauth2` is how Flow's UI
    obtains credentials.
    """

    config: type[ConfigT]
    resource: type[ResourceT]
    discover: Callable[[ConfigT], Awaitable[Sequence[DiscoveredResource[ResourceT]]]]
    pull: Callable[[Pull[ConfigT, ResourceT, StateT]], Awaitable[None]]
    state: type[StateT] = NoState  # type: ignore[assignment]  # StateT is NoState then
    validate: Callable[[Validation[ConfigT, ResourceT]], Awaitable[None]] | None = None
    apply: Callable[[Application[ConfigT, ResourceT]], Awaitable[str]] | None = None
    path: Sequence[str] = ("/name",)
    docs: str = ""
    oauth2: OAuth2 | None = None
    acknowledgements: bool = False

    async def serve(self, reader: Reader, writer: Writer, *, clock: Clock | None = None) -> None:
        """Answer what the reader asks and, once opened, capture; returns at the proper end.

        The end of requests, and being cancelled, stop a running capture: no further transaction
        begins, open ones have STOP_GRACE_S to end. What fails is raised.
        """
        from estuary_cdk.capture.serving import conversation

        await conversation(self, reader, writer, clock or SystemClock())

    def main(self) -> NoReturn:
        """Serve this process's stdin and stdout, then exit."""
        process.main(self.serve)
