"""Every test of the client runs twice: over the fake transport and over loopback sockets."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from estuary_cdk.kits.http import Client
from estuary_cdk.kits.http.sockets import SocketTransport
from estuary_cdk.kits.http.transport import Transport
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.fake_http import FakeHttp, Handler, loopback


@dataclass(frozen=True)
class Site:
    """A server under two host names, and clients for it that wait in fake time."""

    fake: FakeHttp
    url: str
    other_url: str
    clock: FakeClock
    transport: Callable[[], Transport]

    def client(self, **options: Any) -> Client:
        base_url = self.url + options.pop("below", "")
        settings = {"clock": self.clock, "dice": random.Random(1), **options}
        return Client(base_url, transport=self.transport(), **settings)


Serve = Callable[[Mapping[str, Handler]], Awaitable[Site]]


@pytest.fixture(params=["fake", "loopback"])
async def serve(request: pytest.FixtureRequest) -> AsyncGenerator[Serve]:
    async with AsyncExitStack() as stack:

        async def served(routes: Mapping[str, Handler]) -> Site:
            fake, clock = FakeHttp(routes), FakeClock()
            if request.param == "fake":
                return Site(fake, "http://api.test", "http://other.test", clock, lambda: fake)
            url = await stack.enter_async_context(loopback(fake))
            other = url.replace("127.0.0.1", "localhost")
            return Site(fake, url, other, clock, SocketTransport)

        yield served
