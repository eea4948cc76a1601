"""The HTTP client of connectors: what authors call.

    async with Client("https://api.example.com/v2", auth=BearerToken(token)) as api:
        async for user in api.pages("users", CursorPages("users", cursor="next"), bytes):
            ...

Every request is paced by `rate`, signed by `auth`, follows at most 10 redirects, is retried within
the budget of `retry`, and ends in an answer with an accepted status or in an error of `errors`.
Credentials and personal headers go to the origin of `base_url` alone, redirected or not. Bodies of
JSON answers are decoded and bounded by `BODY_BYTES_MAX`; streams are bounded by their reader.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import ContractError, DataError
from estuary_cdk.kits.http.address import checked, joined, with_parameters
from estuary_cdk.kits.http.answers import items_at, items_parsed, parsed
from estuary_cdk.kits.http.auth import NO_AUTH, Auth, SecretValue, revealed
from estuary_cdk.kits.http.encodings import ACCEPTED, IDENTITY, decoded
from estuary_cdk.kits.http.errors import PagingError
from estuary_cdk.kits.http.exchange import Answer, Call, Exchanges, Situation
from estuary_cdk.kits.http.pages import PAGES_MAX, Page, Paging, Step
from estuary_cdk.kits.http.rate import Bucket, Rate
from estuary_cdk.kits.http.retry import Retry
from estuary_cdk.kits.http.transport import Request, Timeouts, Transport

USER_AGENT = "estuary-cdk"

T = TypeVar("T")
Parameters = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer whose body still flows; `blocks` may be read once, inside the `async with` only.

    Reading raises TransientError when the body breaks off.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    blocks: AsyncIterator[bytes] = field(repr=False)


@dataclass(slots=True)
class Client:
    """One API or site; usable inside its `async with`, by any number of concurrent tasks.

    `probe` is the path that `check` asks for. `headers` go with every request to the origin of
    `base_url`; values that are secret stay so. `transport` replaces the network in tests.
    """

    base_url: str = field(repr=False)
    _: KW_ONLY
    auth: Auth = NO_AUTH
    rate: Rate | None = None
    retry: Retry = field(default_factory=Retry)
    timeouts: Timeouts = field(default_factory=Timeouts)
    headers: Mapping[str, str | SecretValue] = field(default_factory=dict, repr=False)
    probe: str | None = None
    ca_bundle: Path | None = None
    clock: Clock = field(default_factory=SystemClock)
    dice: random.Random = field(default_factory=random.Random, repr=False)
    transport: Transport | None = None
    _opened: tuple[Transport, Exchanges] | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> "Client":
        base = checked(self.base_url)
        transport = self.transport or _sockets(self.timeouts, self.ca_bundle)
        situation = Situation(transport, self.clock, self.dice)
        bucket = Bucket(self.rate, self.clock)
        exchanges = Exchanges(base, self.auth, bucket, self.retry, situation)
        for value in self.headers.values():
            if not isinstance(value, str):
                exchanges.redaction.add(value.get_secret_value())
        await transport.open()
        self._opened = (transport, exchanges)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            transport, _ = self._opened
            self._opened = None
            await transport.close()

    @property
    def exchanges(self) -> Exchanges:
        if self._opened is None:
            raise ContractError("can't use a client outside its `async with`")
        return self._opened[1]

    async def check(self) -> None:
        """Ask for `probe`, or for the base address; raises what stands in the way."""
        async with self.stream(self.probe or ""):
            pass

    async def get(self, path: str, model: type[T], parameters: Parameters | None = None) -> T:
        """Return the JSON answer to a GET as `model`.

        `bytes` is its exact JSON, a pydantic model is validated, anything else is msgspec's.
        DataError when the answer isn't JSON or doesn't fit.
        """
        answer = await self.request("GET", path, parameters=parameters)
        return parsed(answer.body, model, answer.url)

    async def post(
        self,
        path: str,
        model: type[T],
        body: object,
        *,
        parameters: Parameters | None = None,
        repeatable: bool = False,
    ) -> T:
        """Return the JSON answer to a POST of `body` as JSON; `bytes` are sent as they are.

        Tried again only where the server can't have acted on it, unless it is `repeatable`.
        """
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await self.request(
            "POST",
            path,
            parameters=parameters,
            headers={"Content-Type": "application/json"},
            body=content,
            repeatable=repeatable,
        )
        return parsed(answer.body, model, answer.url)

    async def post_form(self, path: str, model: type[T], form: Mapping[str, str]) -> T:
        """Return the JSON answer to a POST of form fields as `model`."""
        answer = await self.request(
            "POST",
            path,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
        return parsed(answer.body, model, answer.url)

    async def request(  # noqa: PLR0913 - keywords that name the parts of a request
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: frozenset[int] = frozenset(),
        repeatable: bool | None = None,
    ) -> Answer:
        """Return a whole answer; statuses besides 2xx and those in `accept` are errors.

        `path` is relative to `base_url`, or a whole address.
        """
        defaults = {"Accept": "application/json", "Accept-Encoding": ACCEPTED}
        request = Request(
            method,
            self._address(path, parameters),
            self._headers({**defaults, **(headers or {})}),
            body,
        )
        if repeatable is None:
            repeatable = method in self.retry.methods
        return await self.exchanges.whole(Call(request, repeatable, accept))

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        parameters: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        accept: frozenset[int] = frozenset(),
        decode: bool = False,
    ) -> AsyncGenerator[Streamed]:
        """Give the answer to a GET while its body flows.

        Blocks are as sent, and the server is asked not to compress; with `decode` it may, and
        `Content-Encoding` is undone. Either way a stored `.gz` file stays compressed. Getting to
        the first byte is retried; what breaks later isn't (`download` resumes).
        """
        defaults = {"Accept": "*/*", "Accept-Encoding": ACCEPTED if decode else IDENTITY}
        request = Request(
            "GET",
            self._address(path, parameters),
            self._headers({**defaults, **(headers or {})}),
            streamed=True,
        )
        exchanges = self.exchanges
        async with exchanges.streamed(Call(request, repeatable=True, accept=accept)) as located:
            received, place = located.received, exchanges.redaction.url(located.url)
            blocks = received.blocks()
            if decode:
                blocks = decoded(blocks, received.headers.get("Content-Encoding", ""), place)
            yield Streamed(received.status, received.headers, place, blocks)

    async def pages(
        self,
        path: str,
        paging: Paging,
        model: type[T],
        parameters: Parameters | None = None,
    ) -> AsyncGenerator[T]:
        """Yield every item of every page in order, one by one; as `batches` otherwise."""
        async for batch in self.batches(path, paging, model, parameters):
            for item in batch:
                yield item

    async def batches(
        self,
        path: str,
        paging: Paging,
        model: type[T],
        parameters: Parameters | None = None,
    ) -> AsyncGenerator[list[T]]:
        """Yield the items of each page that has any; `model` is understood as by `get`.

        PagingError when a position comes again, when an answer repeats the one before byte for
        byte, or after `PAGES_MAX` pages; DataError when an answer doesn't have the shape.
        """
        step: Step | None = paging.first()
        walk = _Walk()
        while step is not None:
            answer = await self._page(path, paging, step, parameters)
            items = [] if answer.status == paging.empty_status else self._items(answer, paging)
            page = walk.page(answer, len(items))
            if items:
                yield items_parsed(items, model, answer.url)
            if answer.status == paging.empty_status:
                return
            step = paging.after(page)
            walk.advance(step, self.exchanges.redaction.text)

    async def _page(
        self, path: str, paging: Paging, step: Step, parameters: Parameters | None
    ) -> Answer:
        accept = frozenset() if paging.empty_status is None else frozenset({paging.empty_status})
        if step.url is not None:
            return await self.request("GET", step.url, accept=accept)
        merged = {**(parameters or {}), **step.parameters}
        return await self.request("GET", path, parameters=merged, accept=accept)

    def _items(self, answer: Answer, paging: Paging) -> list[bytes]:
        if not answer.body:
            raise DataError(f"can't use the answer of {answer.url}: it is empty")
        return items_at(answer.body, paging.items, answer.url)

    def _address(self, path: str, parameters: Parameters | None) -> str:
        plain = {name: str(value) for name, value in (parameters or {}).items()}
        return with_parameters(joined(self.exchanges.origin, path), plain)

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        ours = {name: revealed(value) for name, value in self.headers.items()}
        given = {name.lower() for name in headers}
        kept = {name: value for name, value in ours.items() if name.lower() not in given}
        return {"User-Agent": USER_AGENT, **kept, **headers}


class _Walk:
    """Where a walk over pages has been, so that it ends."""

    def __init__(self) -> None:
        self._number = 0
        self._items = 0
        self._last = b""
        self._positions: set[bytes] = set()
        self._place = ""

    def page(self, answer: Answer, items: int) -> Page:
        digest = _digest(answer.body)
        self._place = answer.url
        if items and digest == self._last:
            raise PagingError(
                f"can't page through {answer.url}: page {self._number + 1} is the same as the "
                "page before",
                hint="the server seems to ignore the paging parameters",
            )
        self._last = digest
        self._number += 1
        before, self._items = self._items, self._items + items
        return Page(
            self._number, items, before, answer.body, answer.headers, answer.address, answer.url
        )

    def advance(self, step: Step | None, shown: Callable[[str], str]) -> None:
        if step is None:
            return
        if self._number >= PAGES_MAX:
            raise PagingError(f"can't page through {self._place}: more than {PAGES_MAX} pages")
        if step.position is None:
            return
        position = _digest(step.position.encode())
        if position in self._positions:
            raise PagingError(
                f"can't page through {self._place}: page {self._number} leads to "
                f"{shown(step.position)} again"
            )
        self._positions.add(position)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _sockets(timeouts: Timeouts, ca_bundle: Path | None) -> Transport:
    # To import aiohttp takes longer than all else together, and spec needs no network.
    from estuary_cdk.kits.http.sockets import SocketTransport

    return SocketTransport(timeouts, ca_bundle)
