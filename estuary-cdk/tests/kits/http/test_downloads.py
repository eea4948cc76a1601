"""A download is the whole of one version of the content, or an error: never a mixture."""

import gzip
from datetime import datetime, timedelta

import pytest

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.http import Client, ContentChanged, Refused, Validators, download
from estuary_cdk.testing.clock import START, FakeClock
from estuary_cdk.testing.fake_http import Asked, FakeFile, FakeHttp, Reply

CONTENT = bytes(range(256)) * 2000


async def read(site, **options) -> bytes:
    async with site.client() as client, download(client, "f", **options) as got:
        return b"".join([block async for block in got.blocks])


def ranges(site) -> list[str | None]:
    return [asked.headers.get("Range") for asked in site.fake.requests]


async def test_a_broken_download_resumes_at_the_byte(serve) -> None:
    file = FakeFile(CONTENT, etag='"v1"', breaks=[100_000, 0, 300_000])
    site = await serve({"GET /f": file})
    assert await read(site) == CONTENT
    # How much arrives before a socket breaks is the system's business; that it fits is ours.
    assert len(ranges(site)) == 4
    assert ranges(site)[0] is None
    assert all(asked.headers["If-Range"] == '"v1"' for asked in site.fake.requests[2:])
    assert site.fake.requests[0].headers["Accept-Encoding"] == "identity"


async def test_an_old_enough_date_proves_sameness_too(serve) -> None:
    file = FakeFile(CONTENT, modified=START - timedelta(hours=1), breaks=[200_000])
    site = await serve({"GET /f": file})
    assert await read(site) == CONTENT
    assert site.fake.requests[1].headers["If-Range"] == "Sun, 31 Dec 2023 23:00:00 GMT"


@pytest.mark.parametrize(
    ("etag", "modified"), [(None, None), ('W/"v1"', None), (None, START), ('W/"v1"', START)]
)
async def test_without_proof_a_broken_download_starts_again(
    serve, etag: str | None, modified: datetime | None
) -> None:
    site = await serve({"GET /f": FakeFile(CONTENT, etag, modified, breaks=[200_000])})
    with pytest.raises(ContentChanged, match="doesn't say whether its content is still the same"):
        await read(site)
    assert len(site.fake.requests) == 1


async def test_content_that_changed_meanwhile_is_not_joined(serve) -> None:
    file = FakeFile(CONTENT, etag='"v1"', breaks=[200_000])

    def changing(asked: Asked) -> Reply:
        reply = file(asked)
        file.content, file.etag = CONTENT[::-1], '"v2"'
        return reply

    site = await serve({"GET /f": changing})
    with pytest.raises(ContentChanged, match="changed meanwhile"):
        await read(site)


async def test_a_server_without_ranges_sends_all_again_and_none_comes_twice(serve) -> None:
    file = FakeFile(CONTENT, etag='"v1"', ranges=False, breaks=[200_000, 10])
    site = await serve({"GET /f": file})
    assert await read(site) == CONTENT


@pytest.mark.parametrize(
    "lie",
    [
        {"Content-Range": "bytes 7-511999/512000"},
        {"ETag": '"v2"'},
        {"Content-Range": "x"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_a_range_that_does_not_fit_is_refused(serve, lie: dict[str, str]) -> None:
    file = FakeFile(CONTENT, etag='"v1"', breaks=[200_000])

    def lying(asked: Asked) -> Reply:
        reply = file(asked)
        if reply.status == 206:
            return Reply(206, reply.body, {**reply.headers, **lie})
        return reply

    site = await serve({"GET /f": lying})
    with pytest.raises(ContentChanged):
        await read(site)


async def test_breaks_without_end_end(serve) -> None:
    site = await serve({"GET /f": FakeFile(CONTENT, etag='"v1"', breaks=[1000] * 9)})
    with pytest.raises(TransientError, match="broke off"):
        await read(site, resumes_max=3)
    assert len(site.fake.requests) == 4
    assert len(site.clock.sleeps) == 3


async def test_known_content_is_not_sent_again(serve) -> None:
    site = await serve({"GET /f": FakeFile(CONTENT, etag='W/"v1"')})
    async with site.client() as client:
        async with download(client, "f") as first:
            assert (first.unchanged, first.bytes_total) == (False, len(CONTENT))
            known = first.validators
        async with download(client, "f", known=known) as again:
            assert again.unchanged
            assert [block async for block in again.blocks] == []
    assert known == Validators(etag='W/"v1"')


async def test_changed_content_is_sent_in_spite_of_what_is_known(serve) -> None:
    site = await serve({"GET /f": FakeFile(CONTENT, modified=START)})
    old = Validators(last_modified="Sun, 31 Dec 2023 23:00:00 GMT")
    assert await read(site, known=old) == CONTENT


async def test_an_encoding_nobody_asked_for_is_undone_across_breaks(serve) -> None:
    packed = gzip.compress(CONTENT, mtime=0)
    headers = {"Content-Encoding": "gzip"}
    file = FakeFile(packed, etag='"v1"', headers=headers, breaks=[500])
    site = await serve({"GET /f": file})
    assert await read(site) == CONTENT


async def test_a_download_of_nothing_is_empty(serve) -> None:
    site = await serve({"GET /f": FakeFile(b"")})
    assert await read(site) == b""


async def test_a_missing_file_is_refused(serve) -> None:
    site = await serve({})
    with pytest.raises(Refused, match="404 Not Found"):
        await read(site)


async def test_before_the_first_byte_a_download_may_start_over_without_proof(serve) -> None:
    site = await serve({"GET /f": FakeFile(CONTENT, breaks=[0, 0])})
    assert await read(site) == CONTENT
    assert ranges(site) == [None, None, None]


async def test_a_body_shorter_than_its_length_is_a_break() -> None:
    file = FakeFile(CONTENT, etag='"v1"')

    def short(asked: Asked) -> Reply:
        reply = file(asked)
        if reply.status == 206:
            return reply
        return Reply(200, CONTENT[:9], {**reply.headers, "Content-Length": str(len(CONTENT))})

    fake = FakeHttp({"GET /f": short})
    client = Client("http://api.test", transport=fake, clock=FakeClock())
    async with client, download(client, "f") as got:
        assert b"".join([block async for block in got.blocks]) == CONTENT
    assert fake.requests[1].headers["Range"] == "bytes=9-"
