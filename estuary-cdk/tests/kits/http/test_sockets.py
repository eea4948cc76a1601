"""What fails between here and the server becomes one sentence that says who must act."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp.client_reqrep import ConnectionKey

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.http import Client, Retry, Timeouts
from estuary_cdk.kits.http.sockets import SocketTransport, environment_proxy, translation
from estuary_cdk.testing.fake_http import FakeHttp, Reply, loopback

ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def users() -> FakeHttp:
    return FakeHttp({"GET /users": lambda _: Reply.json({"id": 1})})


@asynccontextmanager
async def answering(sent: bytes | None) -> AsyncGenerator[str]:
    """A server that answers whatever it is asked with `sent`, or never (None)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if sent is None:
            await reader.read()
        else:
            writer.write(sent)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await done.wait()


async def failure(url: str, **options) -> Exception:
    async with Client(url, retry=ONCE, **options) as client:
        with pytest.raises((ConfigError, TransientError)) as caught:
            await client.get("users", dict)
    return caught.value


async def test_a_trusted_certificate_is_accepted(authority, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    tls = server_tls(authority.issue_cert("127.0.0.1"))
    async with loopback(users(), tls) as url, Client(url, ca_bundle=bundle) as client:
        assert await client.get("users", dict) == {"id": 1}


async def test_an_unknown_authority_is_a_config_error_with_the_reason(authority) -> None:
    async with loopback(users(), server_tls(authority.issue_cert("127.0.0.1"))) as url:
        error = await failure(url)
    assert isinstance(error, ConfigError)
    assert "its TLS certificate isn't trusted: unable to get local issuer" in str(error)


async def test_a_certificate_for_another_host_is_named_so(authority, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    async with loopback(users(), server_tls(authority.issue_cert("else.test"))) as url:
        error = await failure(url, ca_bundle=bundle)
    assert isinstance(error, ConfigError)
    assert "certificate is not valid for '127.0.0.1'" in str(error)


async def test_an_expired_certificate_is_named_so(authority, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    old = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    async with loopback(users(), server_tls(old)) as url:
        error = await failure(url, ca_bundle=bundle)
    assert "certificate has expired" in str(error)


async def test_https_to_a_plain_port_is_a_config_error() -> None:
    async with loopback(users()) as url:
        error = await failure(url.replace("http:", "https:"))
    assert isinstance(error, ConfigError)
    assert "the TLS handshake failed" in str(error)


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_an_unusable_ca_bundle_is_named(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(ConfigError, match=r"can't read CA bundle '.*ca.pem'"):
        async with Client("https://api.test", ca_bundle=bundle):
            pass


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}")
    assert isinstance(error, TransientError)
    assert str(error).startswith(f"can't reach 127.0.0.1:{port}: connection refused")
    assert error.context["sent"] is False


async def test_what_is_not_http_is_a_config_error() -> None:
    async with answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as url:
        error = await failure(url)
    assert isinstance(error, ConfigError)
    assert "it isn't HTTP" in str(error)


async def test_a_server_that_hangs_up_may_have_got_the_request() -> None:
    async with answering(b"") as url:
        error = await failure(url)
    assert isinstance(error, TransientError)
    assert error.context.get("sent", True)


async def test_a_server_that_stays_silent_is_given_up() -> None:
    async with answering(None) as url:
        error = await failure(url, timeouts=Timeouts(idle=timedelta(milliseconds=50)))
    assert isinstance(error, TransientError)
    assert "it took too long to answer" in str(error)


async def test_headers_that_come_twice_are_joined() -> None:
    sent = (
        b"HTTP/1.1 200 OK\r\nLink: <a>; rel=x\r\nlink: <b>; rel=next\r\nContent-Length: 0\r\n\r\n"
    )
    async with answering(sent) as url, Client(url) as client:
        answer = await client.request("GET", "users")
    assert answer.headers["LINK"] == "<a>; rel=x, <b>; rel=next"


async def test_requests_go_through_the_proxy_with_its_credentials() -> None:
    proxy = users()
    async with loopback(proxy) as url:
        address = url.replace("//", "//ann:pw@")
        transport = SocketTransport(proxy=lambda _: address)
        async with Client("http://api.invalid", transport=transport) as client:
            assert await client.get("users", dict) == {"id": 1}
    [asked] = proxy.requests
    assert asked.url == "http://api.invalid/users"
    assert asked.headers["Proxy-Authorization"] == "Basic YW5uOnB3"


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert environment_proxy("https://api.test/x") is None
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    assert environment_proxy("https://api.test/x") == "http://proxy.test:3128"
    assert environment_proxy("http://api.test/x") is None
    assert environment_proxy("https://inside.test/x") is None
    assert environment_proxy("https://127.0.0.1:8000/x") is None
    assert environment_proxy("https://localhost/x") is None


KEY = ConnectionKey("api.test", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("raised", "kind", "reason"),
    [
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(socket.EAI_NONAME, "unknown")),
            ConfigError,
            "no such host",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(socket.EAI_AGAIN, "try again")),
            TransientError,
            "can't be resolved at the moment",
        ),
        (aiohttp.ConnectionTimeoutError(), TransientError, "it took too long to connect"),
        (aiohttp.SocketTimeoutError(), TransientError, "it took too long to answer"),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(111, "refused")),
            TransientError,
            "its proxy can't be reached: connection refused",
        ),
        (ConnectionResetError(), TransientError, "the connection broke"),
        (ValueError("secret"), ConfigError, "is there a line break"),
    ],
)
def test_failures_say_who_must_act(raised: Exception, kind: type, reason: str) -> None:
    error = translation(raised, "api.test:443")
    assert type(error) is kind
    assert "api.test:443: " in str(error)
    assert reason in str(error)
    assert "secret" not in str(error)
