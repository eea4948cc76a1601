"""What the client promises over any transport: answers, errors, credentials, retries."""

import gzip
import zlib
from datetime import timedelta

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from estuary_cdk.errors import ConfigError, ContractError, DataError, TransientError
from estuary_cdk.kits.http import (
    ApiKey,
    BasicAuth,
    BearerToken,
    Client,
    Rate,
    Refused,
    Retry,
    Unavailable,
    exchange,
)
from estuary_cdk.testing.fake_http import Asked, Reply

NUMBERS = b'{"a": 1.0, "b": 1e3, "c": 123456789012345678901234567890}'
SECRET = "hunter2-secret"


class User(BaseModel):
    id: int
    name: str = ""


class Point(msgspec.Struct):
    x: int


def ok(_: Asked) -> Reply:
    return Reply.json({"id": 1, "name": "Ann"})


async def test_bytes_are_the_exact_json(serve) -> None:
    site = await serve({"GET /numbers": lambda _: Reply.json(b" " + NUMBERS + b"\n")})
    async with site.client() as client:
        assert await client.get("numbers", bytes) == NUMBERS


async def test_an_answer_becomes_the_model_asked_for(serve) -> None:
    site = await serve({"GET /u": ok, "GET /p": lambda _: Reply.json({"x": 3})})
    async with site.client() as client:
        assert await client.get("u", User) == User(id=1, name="Ann")
        assert await client.get("/p", Point) == Point(3)
        assert await client.get("p", dict) == {"x": 3}


@pytest.mark.parametrize(
    ("body", "model", "reason"),
    [
        (b"<html>sorry</html>", bytes, "malformed"),
        (b'{"id": "x"}', User, "'/id'"),
        (b"[1]", dict, "expected"),
    ],
)
async def test_an_answer_that_does_not_fit_is_a_data_error(serve, body, model, reason) -> None:
    site = await serve({"GET /u": lambda _: Reply(200, body)})
    async with site.client() as client:
        with pytest.raises(DataError, match=r"can't use the answer of http.*/u: ") as caught:
            await client.get("u", model)
    assert reason in str(caught.value)


async def test_parameters_and_base_path_make_the_address(serve) -> None:
    site = await serve({"GET /v2/calls": ok})
    async with site.client(below="/v2") as client:
        await client.get("calls?fixed=1", dict, {"from": "a b&c", "n": 2})
    assert site.fake.requests[0].query == {"fixed": "1", "from": "a b&c", "n": "2"}


async def test_posts_send_json_or_a_form(serve) -> None:
    site = await serve({"POST /j": ok, "POST /f": ok})
    async with site.client() as client:
        await client.post("j", dict, {"a": [1]})
        await client.post("j", dict, NUMBERS)
        await client.post_form("f", dict, {"a": "1&2"})
    bodies = [asked.body for asked in site.fake.requests]
    assert bodies == [b'{"a":[1]}', NUMBERS, b"a=1%262"]
    assert site.fake.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
async def test_compressed_answers_are_undone(serve, encoding) -> None:
    packed = {
        "gzip": gzip.compress(NUMBERS[:20]) + gzip.compress(NUMBERS[20:]),
        "deflate": zlib.compress(NUMBERS),
        "raw deflate": zlib.compress(NUMBERS)[2:-4],
    }[encoding]
    headers = {"Content-Encoding": encoding.removeprefix("raw ")}
    site = await serve({"GET /z": lambda _: Reply(200, packed, headers)})
    async with site.client() as client:
        assert await client.get("z", bytes) == NUMBERS
    assert site.fake.requests[0].headers["Accept-Encoding"] == "gzip, deflate"


async def test_a_stored_gzip_file_is_streamed_as_it_is(serve) -> None:
    stored = gzip.compress(b"a,b\n" * 100_000)
    site = await serve({"GET /data.csv.gz": lambda _: Reply(200, stored)})
    async with site.client() as client:
        for decode in (False, True):
            async with client.stream("data.csv.gz", decode=decode) as streamed:
                assert b"".join([block async for block in streamed.blocks]) == stored
    asked = [request.headers["Accept-Encoding"] for request in site.fake.requests]
    assert asked == ["identity", "gzip, deflate"]


async def test_a_stream_is_raw_unless_decoding_is_asked_for(serve) -> None:
    content = b"x" * 3_000_000
    packed = gzip.compress(content)
    headers = {"Content-Encoding": "gzip"}
    site = await serve({"GET /s": lambda _: Reply(200, packed, headers)})
    async with site.client() as client:
        async with client.stream("s") as streamed:
            assert b"".join([block async for block in streamed.blocks]) == packed
        async with client.stream("s", decode=True) as streamed:
            blocks = [block async for block in streamed.blocks]
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= 1024 * 1024


async def test_a_refusal_says_what_where_and_hides_secrets(serve) -> None:
    site = await serve(
        {"GET /x": lambda asked: Reply(403, f"bad key {asked.query['key']}".encode() * 100)}
    )
    async with site.client(auth=ApiKey(SecretStr(SECRET), "key", "query")) as client:
        with pytest.raises(Refused) as caught:
            await client.get("x", bytes, {"signature": "abc", "page": 1})
    error = caught.value
    assert isinstance(error, ConfigError)
    assert error.status == 403
    assert error.url == f"{site.url}/x?signature=***&page=1&key=***"
    assert error.body.startswith("bad key ***bad key")
    assert len(error.body) <= 500
    assert str(error).startswith(f"can't get '{error.url}': the server answered 403 Forbidden")
    assert SECRET not in repr(error) + str(error) + str(error.context)
    assert len(site.fake.requests) == 1


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (BasicAuth("ann", SecretStr("pä:ss")), "Authorization", "Basic YW5uOnDDpDpzcw=="),
        (BearerToken(SecretStr("tok")), "Authorization", "Bearer tok"),
        (BearerToken(SecretStr("tok"), kind="Token"), "Authorization", "Token tok"),
        (ApiKey(SecretStr("k")), "X-API-Key", "k"),
    ],
)
async def test_credentials_sign_every_request(serve, auth, header, value) -> None:
    site = await serve({"GET /u": ok})
    async with site.client(auth=auth) as client:
        await client.get("u", bytes)
        await client.get("u", bytes)
        assert "pä:ss" not in repr(client)
    assert [asked.headers[header] for asked in site.fake.requests] == [value, value]


async def test_redirects_of_the_same_host_keep_credentials(serve) -> None:
    site = await serve({"GET /a": lambda _: Reply(302, headers={"Location": "/b?x=1"})})
    site.fake.routes["GET /b"] = ok
    auth = ApiKey(SecretStr(SECRET), "key", "query")
    async with site.client(auth=auth, headers={"X-Tenant": "t"}) as client:
        await client.get("a", bytes)
    assert site.fake.requests[1].query == {"x": "1", "key": SECRET}
    assert site.fake.requests[1].headers["X-Tenant"] == "t"


async def test_redirects_to_another_host_lose_credentials(serve) -> None:
    site = await serve({"GET /b": ok})
    away = f"{site.other_url}/b"
    site.fake.routes["GET /a"] = lambda _: Reply(302, headers={"Location": away})
    auth, headers = BearerToken(SecretStr(SECRET)), {"X-Other-Key": SecretStr("also-secret")}
    async with site.client(auth=auth, headers=headers) as client:
        await client.get("a", bytes)
        await client.get(away, bytes)
    first, *others = site.fake.requests
    assert first.headers["X-Other-Key"] == "also-secret"
    assert [asked.url for asked in others] == [away, away]
    assert not [asked for asked in others if "Authorization" in asked.headers]
    assert not [asked for asked in others if "X-Other-Key" in asked.headers]


async def test_a_body_is_not_carried_to_another_host(serve) -> None:
    site = await serve({"POST /b": ok})
    location = {"Location": f"{site.other_url}/b"}
    site.fake.routes["POST /a"] = lambda _: Reply(307, headers=location)
    async with site.client() as client:
        with pytest.raises(ConfigError, match="would carry data to another host"):
            await client.post("a", bytes, {"secret": 1})
    assert len(site.fake.requests) == 1


async def test_a_redirect_after_a_post_becomes_a_get(serve) -> None:
    site = await serve({"POST /a": lambda _: Reply(303, headers={"Location": "b"})})
    site.fake.routes["GET /b"] = ok
    async with site.client() as client:
        assert await client.post("a", User, {}) == User(id=1, name="Ann")
    assert site.fake.requests[1].body == b""


async def test_redirects_in_a_circle_end(serve) -> None:
    site = await serve({"GET /a": lambda _: Reply(302, headers={"Location": "/a"})})
    async with site.client() as client:
        with pytest.raises(ConfigError, match="more than 10 redirects"):
            await client.get("a", bytes)
    assert len(site.fake.requests) == 11


async def test_a_passing_failure_is_retried_with_back_off(serve) -> None:
    replies = [Reply(503), Reply(500), Reply.json({"id": 1})]
    site = await serve({"GET /u": lambda _: replies.pop(0)})
    async with site.client() as client:
        assert await client.get("u", dict) == {"id": 1}
    assert len(site.clock.sleeps) == 2
    assert 0 <= site.clock.sleeps[0] <= 1
    assert 0 <= site.clock.sleeps[1] <= 2


async def test_retries_end_and_say_so(serve) -> None:
    site = await serve({"GET /u": lambda _: Reply(502, b"down")})
    async with site.client(retry=Retry(attempts=3)) as client:
        with pytest.raises(Unavailable, match="502 Bad Gateway: down; gave up after 3 attempts"):
            await client.get("u", dict)
    assert len(site.fake.requests) == 3


async def test_a_post_is_not_repeated_unless_it_may_be(serve) -> None:
    site = await serve({"POST /u": lambda _: Reply(503)})
    async with site.client(retry=Retry(attempts=2)) as client:
        with pytest.raises(Unavailable):
            await client.post("u", dict, {})
        assert len(site.fake.requests) == 1
        with pytest.raises(Unavailable):
            await client.post("u", dict, {}, repeatable=True)
    assert len(site.fake.requests) == 3


async def test_a_broken_body_is_asked_for_again(serve) -> None:
    replies = [Reply(200, NUMBERS, break_after=7), Reply(200, NUMBERS)]
    site = await serve({"GET /u": lambda _: replies.pop(0)})
    async with site.client() as client:
        assert await client.get("u", bytes) == NUMBERS


async def test_a_body_that_always_breaks_is_a_transient_error(serve) -> None:
    site = await serve({"GET /u": lambda _: Reply(200, NUMBERS, break_after=7)})
    async with site.client(retry=Retry(attempts=2)) as client:
        with pytest.raises(TransientError, match=r"broke off after 7.*gave up after 2 attempts"):
            await client.get("u", bytes)


async def test_a_connection_that_breaks_is_tried_again(serve) -> None:
    replies = [TransientError("the connection broke"), Reply(200, NUMBERS)]

    def flaky(_: Asked) -> Reply:
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    site = await serve({"GET /u": flaky})
    async with site.client() as client:
        assert await client.get("u", bytes) == NUMBERS


async def test_retry_after_holds_back_every_request(serve) -> None:
    replies = [Reply(429, headers={"Retry-After": "30"})]
    times: list[float] = []

    def limited(_: Asked) -> Reply:
        times.append(site.clock.elapsed)
        return replies.pop(0) if replies else Reply.json({})

    site = await serve({"POST /u": limited, "GET /u": limited})
    rate = Rate(10, per=timedelta(seconds=1), burst=5)
    async with site.client(rate=rate) as client:
        await client.post("u", dict, {})
        await client.get("u", dict)
    assert times == pytest.approx([0, 30, 30.1])


async def test_a_wait_beyond_the_budget_is_an_error_at_once(serve) -> None:
    site = await serve({"GET /u": lambda _: Reply(429, headers={"Retry-After": "86400"})})
    async with site.client() as client:
        with pytest.raises(Unavailable, match="asked to wait 86400 s"):
            await client.get("u", dict)
    assert site.clock.elapsed == 0


async def test_requests_keep_to_the_rate(serve) -> None:
    times: list[float] = []
    site = await serve({"GET /u": lambda _: times.append(site.clock.elapsed) or Reply.json({})})
    async with site.client(rate=Rate(2, per=timedelta(seconds=1))) as client:
        for _ in range(4):
            await client.get("u", dict)
    assert times == pytest.approx([0, 0.5, 1, 1.5])


async def test_check_asks_for_the_probe(serve) -> None:
    site = await serve({"GET /users": lambda _: Reply(401)})
    async with site.client(probe="users") as client:
        with pytest.raises(Refused, match="check the credentials"):
            await client.check()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("htp://example.com/x", "isn't an http"),
        ("example.com", "isn't an http"),
        ("https://ann:pw@example.com", "put them into the credentials"),
        ("http://example.com:port/", "can't use an address"),
        ("http://[::1", "can't use an address"),
    ],
)
async def test_a_bad_address_is_a_config_error(url, reason) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        async with Client(url):
            pass
    assert "pw" not in str(caught.value)


async def test_a_client_that_was_not_entered_says_so() -> None:
    with pytest.raises(ContractError, match="async with"):
        await Client("http://api.test").get("u", bytes)


async def test_an_error_page_stays_out_of_the_sentence_and_secret_headers_too(serve) -> None:
    pages = iter([b"<html>down</html>", b"no such key"])
    site = await serve({})
    site.fake.routes["GET /u"] = lambda a: Reply(400, next(pages) + a.headers["X-Key"].encode())
    async with site.client(headers={"X-Key": SecretStr(SECRET)}) as client:
        with pytest.raises(Refused) as page:
            await client.get("u", dict)
        with pytest.raises(Refused) as sentence:
            await client.get("u", dict)
    assert str(page.value).endswith("the server answered 400 Bad Request")
    assert str(sentence.value).endswith("400 Bad Request: no such key***")


async def test_a_body_beyond_the_limit_is_an_error(serve, monkeypatch) -> None:
    monkeypatch.setattr(exchange, "BODY_BYTES_MAX", 1000)
    site = await serve({"GET /u": lambda _: Reply(200, bytes(1001))})
    async with site.client() as client:
        with pytest.raises(DataError, match="more than 1000 bytes"):
            await client.get("u", bytes)


async def test_retries_end_when_their_time_is_over(serve) -> None:
    site = await serve({"GET /u": lambda _: Reply(503)})
    retry = Retry(attempts=1000, total=timedelta(seconds=90))
    async with site.client(retry=retry) as client:
        with pytest.raises(Unavailable, match="gave up after"):
            await client.get("u", dict)
    assert 20 < site.clock.elapsed <= 90
