"""A pretend HTTP server for connector tests: in memory as a transport, or on a loopback socket.

    fake = FakeHttp({"GET /users": lambda asked: Reply.json([{"id": 1}])})
    client = Client("http://api.test", transport=fake)          # no sockets
    async with loopback(fake) as url: ...                       # the same routes behind a real port

A route is "METHOD /path"; a path that ends in `*` matches every path with that beginning; the
longest route that matches wins and no route is a 404. The host of an address doesn't matter. A
handler that raises a CdkError stands for a network that fails so; over loopback the connection is
closed without an answer. It may be a coroutine function.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from inspect import isawaitable
from ssl import SSLContext
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from estuary_cdk.errors import CdkError, TransientError
from estuary_cdk.testing.clock import START

BLOCK_BYTES = 64 * 1024
SHUTDOWN_SECONDS = 0.01
_BODILESS = frozenset({204, 304})


class Outgoing(Protocol):
    """A request as the client's transports get it."""

    @property
    def method(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; header names match without regard to case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers; with `break_after` the body breaks off after that many bytes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    break_after: int | None = None

    @staticmethod
    def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> "Reply":
        """Answer with `value` as JSON; `bytes` are JSON already."""
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


Handler = Callable[[Asked], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class _Received:
    reply: Reply
    with_body: bool

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return CIMultiDict(_all_headers(self.reply, with_length=self.with_body))

    async def blocks(self) -> AsyncIterator[bytes]:
        if not self.with_body:
            return
        body = self.reply.body[: self.reply.break_after]
        for start in range(0, len(body), BLOCK_BYTES):
            yield body[start : start + BLOCK_BYTES]
        if self.reply.break_after is not None:
            raise TransientError(f"can't read the whole answer: it broke off after {len(body)}")


class FakeHttp:
    """Routes, and a record of every request in `requests`; `routes` may be changed at any time."""

    def __init__(self, routes: Mapping[str, Handler]) -> None:
        self.routes: dict[str, Handler] = dict(routes)
        self.requests: list[Asked] = []

    async def answer(self, asked: Asked) -> Reply:
        """Record `asked` and return the answer of its route."""
        self.requests.append(asked)
        handler = self._handler(f"{asked.method} {asked.path}")
        if handler is None:
            return Reply(404, f"no route for {asked.method} {asked.path}".encode())
        reply = handler(asked)
        return await reply if isawaitable(reply) else reply

    def _handler(self, asked: str) -> Handler | None:
        best = ""
        for route in self.routes:
            matches = asked.startswith(route[:-1]) if route.endswith("*") else asked == route
            if matches and len(route) > len(best):
                best = route
        return self.routes.get(best)

    async def open(self) -> None:
        """Nothing to open: the fake is always there."""

    async def close(self) -> None:
        """Nothing to close; the record stays."""

    @asynccontextmanager
    async def exchange(self, request: Outgoing) -> AsyncGenerator[_Received]:
        headers = CIMultiDict(request.headers)
        reply = await self.answer(Asked(request.method, request.url, headers, request.body or b""))
        yield _Received(reply, _has_body(request.method, reply))


@dataclass(slots=True)
class FakeFile:
    """A handler that serves one file as good web servers do: conditions, ranges and validators.

    Change the attributes to change the file. Each answer with a body takes the first of `breaks`:
    after that many bytes of body the connection breaks (None: it doesn't).
    """

    content: bytes
    etag: str | None = None
    modified: datetime | None = None
    ranges: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks: list[int | None] = field(default_factory=list)
    date: datetime = START

    def __call__(self, asked: Asked) -> Reply:
        validators = self._validators()
        if self._is_known(asked.headers, validators):
            return Reply(304, headers=validators)
        headers = {**validators, **self.headers, "Date": _http_date(self.date)}
        wanted = self._range(asked.headers, validators)
        if wanted is None:
            return Reply(200, self.content, headers, self._break())
        total = len(self.content)
        part = self.content[wanted]
        if not part:
            return Reply(416, headers={**headers, "Content-Range": f"bytes */{total}"})
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.start + len(part) - 1}/{total}"
        return Reply(206, part, headers, self._break())

    def _break(self) -> int | None:
        return self.breaks.pop(0) if self.breaks else None

    def _validators(self) -> dict[str, str]:
        dated = {"Last-Modified": _http_date(self.modified)} if self.modified else {}
        return dated if self.etag is None else {"ETag": self.etag, **dated}

    def _is_known(self, asked: Mapping[str, str], validators: Mapping[str, str]) -> bool:
        if "If-None-Match" in asked:
            return asked["If-None-Match"] == validators.get("ETag")
        since = asked.get("If-Modified-Since")
        return since is not None and since == validators.get("Last-Modified")

    def _range(self, asked: Mapping[str, str], validators: Mapping[str, str]) -> slice | None:
        wanted, condition = asked.get("Range"), asked.get("If-Range")
        if not self.ranges or wanted is None:
            return None
        if condition is not None and condition not in validators.values():
            return None
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return slice(int(first), int(last) + 1 if last else None)


@asynccontextmanager
async def loopback(fake: FakeHttp, tls: SSLContext | None = None) -> AsyncGenerator[str]:
    """Serve the routes of `fake` on a free port of 127.0.0.1 and give the base address."""

    async def serve(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(request.method, str(request.url), request.headers, body)
        try:
            reply = await fake.answer(asked)
        except CdkError:
            _abort(request)
            return web.Response()
        return await _send(request, reply)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(application, shutdown_timeout=SHUTDOWN_SECONDS, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def _send(request: web.Request, reply: Reply) -> web.StreamResponse:
    with_body = _has_body(request.method, reply)
    headers = _all_headers(reply, with_length=with_body)
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    if with_body:
        await response.write(reply.body[: reply.break_after])
        if reply.break_after is not None:
            _abort(request)
            return response
    await response.write_eof()
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _has_body(method: str, reply: Reply) -> bool:
    return method != "HEAD" and reply.status not in _BODILESS


def _all_headers(reply: Reply, *, with_length: bool) -> dict[str, str]:
    length = {"Content-Length": str(len(reply.body))} if with_length else {}
    return {**length, **reply.headers}


def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)
