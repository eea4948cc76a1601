"""The seam between the client and the network: one request out, one answer back, nothing else.

A transport performs exactly one exchange. It follows no redirect, keeps no cookie, adds no
credential, decodes no body and retries nothing: the client does all that, once for all transports.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait: for a connection, for the next bytes, and for one whole answer.

    `answer` bounds answers that are read as a whole; streams are bounded by `idle` alone.
    """

    connect: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(seconds=90)
    answer: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes over the wire; `url` is absolute and encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    streamed: bool = False


class Received(Protocol):
    """An answer whose body still flows; valid inside its `async with` only.

    Header names are matched without regard to case. `blocks()` may be called once; it yields
    non-empty blocks as they arrive, exactly as sent (`Content-Encoding` not undone).
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def blocks(self) -> AsyncIterator[bytes]: ...


class Transport(Protocol):
    """Carries requests; opened before the first and closed after the last exchange.

    Entering `exchange` and reading blocks raise ConfigError for what the user must change (an
    untrusted certificate, an unknown host) and TransientError for what may pass; a TransientError
    with `sent=False` in its context says the request never reached the server. A body that ends
    early is a TransientError after its last block. Messages name host and port, never the path.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def exchange(self, request: Request) -> AbstractAsyncContextManager[Received]: ...
