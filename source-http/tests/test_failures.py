"""What goes wrong is one sentence, and the process exits 1."""

import asyncio
import gzip
import sys

import msgspec
import pytest

from estuary_cdk.errors import CdkError, ConfigError
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.fake_http import Reply

CSV = b"a,b\n1,2\n"


async def failure(site):
    with pytest.raises(CdkError) as caught:
        await site.run()
    return caught.value


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "401 Unauthorized (check the credentials)"),
        (403, "403 Forbidden (these credentials may not do this)"),
        (404, "404 Not Found (check the address)"),
    ],
)
async def test_a_refusal_names_address_and_remedy(site, status, sentence):
    site.http.routes["GET /f.csv"] = lambda _: Reply(status)
    site.stream("f.csv", "f.csv?token=hidden")
    error = await failure(site)
    assert isinstance(error, ConfigError)
    assert "/f.csv" in str(error)
    assert str(error).endswith(sentence)
    assert "hidden" not in str(error)


@pytest.mark.parametrize("url", ["ftp://example.com/f.csv", "example.com/f.csv", "http://"])
async def test_a_bad_address_is_the_users_mistake(site, url):
    site.streams = [{"name": "s", "url": url}]
    assert isinstance(await failure(site), ConfigError)


async def test_an_untrusted_certificate_is_named(tls_site):
    tls_site.file("f.csv", CSV)
    tls_site.stream("f.csv")
    assert "certificate isn't trusted" in str(await failure(tls_site))


async def test_the_wrong_encoding_names_file_line_and_byte(site):
    site.file("f.csv", "a\ncaf\xe9\n".encode("latin-1"))
    site.stream("f.csv", parser={"format": {"type": "csv", "config": {"encoding": "utf-8"}}})
    error = await failure(site)
    assert "/f.csv': byte 0xe9 in line 2 (byte 5 of the file) isn't utf-8" in str(error)


async def test_a_truncated_gzip_file_says_so(site):
    site.file("f.csv.gz", gzip.compress(CSV)[:-5])
    site.stream("f.csv.gz")
    assert "gzip data ends early" in str(await failure(site))


async def test_an_unknown_stream_is_named_with_those_there_are(site):
    site.file("f.csv", CSV)
    site.stream("f.csv")
    site.resources = {"stream": "g.csv"}
    with pytest.raises(ConfigError, match=r"no such stream \(it has 'f\.csv'\)"):
        await site.run()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "a/b"}, "/streams/0/name"),
        ({"key": ["id"]}, "'id' isn't a JSON pointer; write it like /id"),
        ({"urll": "x"}, "/streams/0/urll: unknown key"),
        ({"parser": {"format": {"type": "csv", "config": {"quote": "x"}}}}, "quote"),
    ],
)
async def test_a_wrong_setting_is_named(site, change, sentence):
    site.streams = [{"name": "s", "url": "https://example.com", **change}]
    assert sentence in str(await failure(site))


async def test_two_streams_of_one_name_are_refused(site):
    site.streams = [{"name": "s", "url": "https://example.com"}] * 2
    assert "2 streams are called 's'" in str(await failure(site))


@pytest.mark.parametrize("interval", ["5", "5 minutes", "P", "PT", "-5m", ""])
async def test_an_interval_that_says_nothing_is_refused(site, interval):
    site.file("f.csv", CSV)
    site.stream("f.csv")
    site.resources = {"interval": interval}
    assert "/interval" in str(await failure(site))


async def process(*requests):
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "source_http",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    text = b"".join(encode_json(request) + b"\n" for request in requests)
    out, err = await asyncio.wait_for(running.communicate(text), 60)
    return running.returncode, out, err


async def test_a_failing_process_exits_1_with_the_sentence_on_its_last_line(site):
    site.http.routes["GET /f.csv"] = lambda _: Reply(404)
    site.stream("f.csv", key=["/id"])
    status, out, err = await process({"discover": {"config": site.config}})
    assert status == 1
    assert out == b""
    assert "404 Not Found (check the address)" in err.splitlines()[-1].decode()


async def test_the_process_answers_by_hand():
    status, out, err = await process({"spec": {}})
    assert status == 0
    assert err == b""
    assert msgspec.json.decode(out)["spec"]["resourcePathPointers"] == ["/stream"]
