"""The fake routes, records and breaks as told."""

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.http.transport import Request, Transport
from estuary_cdk.testing.fake_http import Asked, FakeFile, FakeHttp, Reply, loopback


async def body_of(transport: Transport, request: Request) -> bytes:
    async with transport.exchange(request) as received:
        return b"".join([block async for block in received.blocks()])


async def test_the_longest_route_that_matches_answers() -> None:
    fake = FakeHttp(
        {
            "GET /*": lambda _: Reply(body=b"all"),
            "GET /users/*": lambda asked: Reply(body=asked.path.encode()),
            "GET /users/me": lambda _: Reply(body=b"me"),
        }
    )
    bodies = [
        await body_of(fake, Request("GET", f"http://any.test{path}"))
        for path in ("/x", "/users/7", "/users/me?x=1")
    ]
    assert bodies == [b"all", b"/users/7", b"me"]
    assert await body_of(fake, Request("POST", "http://any.test/x")) == b"no route for POST /x"


async def test_a_coroutine_may_answer_and_requests_are_recorded() -> None:
    async def echo(asked: Asked) -> Reply:
        return Reply.json(asked.form)

    fake = FakeHttp({"POST /f": echo})
    request = Request("POST", "http://any.test/f?q=1", {"X-Name": "v"}, b"a=1&b=%26")
    assert await body_of(fake, request) == b'{"a":"1","b":"&"}'
    [asked] = fake.requests
    assert (asked.query, asked.headers["x-name"]) == ({"q": "1"}, "v")


async def test_a_body_breaks_off_where_told() -> None:
    fake = FakeHttp({"GET /f": lambda _: Reply(body=b"0123456789", break_after=4)})
    async with fake.exchange(Request("GET", "http://any.test/f")) as received:
        assert received.headers["content-length"] == "10"
        blocks = received.blocks()
        assert await anext(blocks) == b"0123"
        with pytest.raises(TransientError, match="after 4"):
            await anext(blocks)


async def test_loopback_serves_the_same_routes() -> None:
    fake = FakeHttp({"GET /f": FakeFile(b"content", etag='"v"')})
    async with loopback(fake) as url, ClientSession() as session:
        async with session.get(f"{url}/f", headers={"Range": "bytes=3-"}) as response:
            assert (response.status, await response.read()) == (206, b"tent")
            assert response.headers["ETag"] == '"v"'
        async with session.head(f"{url}/f") as response:
            assert response.status == 404
    assert [asked.path for asked in fake.requests] == ["/f", "/f"]


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({}, 200, b"content"),
        ({"If-None-Match": '"v"'}, 304, b""),
        ({"If-None-Match": '"w"'}, 200, b"content"),
        ({"Range": "bytes=3-"}, 206, b"tent"),
        ({"Range": "bytes=3-", "If-Range": '"v"'}, 206, b"tent"),
        ({"Range": "bytes=3-", "If-Range": '"w"'}, 200, b"content"),
        ({"Range": "bytes=7-"}, 416, b""),
    ],
)
def test_a_file_is_served_as_good_servers_do(headers, status: int, body: bytes) -> None:
    file = FakeFile(b"content", etag='"v"')
    reply = file(Asked("GET", "http://any.test/f", CIMultiDict(headers), b""))
    assert (reply.status, reply.body) == (status, body)
