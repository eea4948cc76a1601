"""The transport over real sockets (aiohttp), and the only place that translates its exceptions.

Certificates are always verified, against the system's authorities and those of `ca_bundle`.
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are honoured; loopback is never proxied. Neither
cookies nor .netrc are used.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from estuary_cdk.errors import CdkError, ConfigError, TransientError, shortened
from estuary_cdk.kits.http.transport import Request, Timeouts

CONNECTIONS_MAX = 32
READ_BUFFER_BYTES = 256 * 1024
HEADER_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Received:
    response: aiohttp.ClientResponse
    headers: Mapping[str, str]

    @property
    def status(self) -> int:
        return self.response.status

    async def blocks(self) -> AsyncIterator[bytes]:
        read = 0
        with translated(_place(str(self.response.url))):
            try:
                async for block in self.response.content.iter_any():
                    read += len(block)
                    yield block
            except aiohttp.ClientPayloadError as error:
                place = _place(str(self.response.url))
                raise TransientError(
                    f"can't read the whole answer of {place}: it broke off after {read} bytes"
                ) from error


class SocketTransport:
    """Connections are kept and shared by all requests, at most `CONNECTIONS_MAX` at a time."""

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        ca_bundle: Path | None = None,
        proxy: Callable[[str], str | None] | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._ca_bundle = ca_bundle
        self._proxy = proxy or environment_proxy
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        # By default it is aiohttp's own context, which has read the system's authorities already.
        trust: ssl.SSLContext | bool = True
        if self._ca_bundle is not None:
            trust = await asyncio.to_thread(_trust, self._ca_bundle)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=trust),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def exchange(self, request: Request) -> AsyncGenerator[_Received]:
        assert self._session is not None, "the transport was not opened"
        with translated(_place(request.url)):
            response = await self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                proxy=self._proxy(request.url),
                timeout=_timeout(self._timeouts, streamed=request.streamed),
            )
        async with response:
            yield _Received(response, _merged(response.headers))


def _merged(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Join the values of headers that came several times, as RFC 9110 §5.3 allows."""
    merged: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        merged[name] = f"{merged[name]}, {value}" if name in merged else value
    return merged


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, if any."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what aiohttp and the system raise into the kit's errors; `place` is host and port."""
    try:
        yield
    except CdkError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise translation(error, place) from error


def translation(error: Exception, place: str) -> CdkError:
    """Return the error that says in one sentence what failed at `place` and who must act."""
    reach = f"can't reach {place}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not valid"
            return ConfigError(
                f"{reach}: its TLS certificate isn't trusted: {_lower(reason)}",
                hint="fix the server's certificate, or trust its authority with a CA bundle",
            )
        case aiohttp.ClientSSLError():
            reason = getattr(error.os_error, "reason", None) or str(error.os_error)
            return ConfigError(
                f"{reach}: the TLS handshake failed: {str(reason).lower().replace('_', ' ')}",
                hint="does it speak https on this port?",
            )
        case aiohttp.ClientProxyConnectionError():
            reason = _reason(error.os_error)
            return TransientError(f"{reach}: its proxy can't be reached: {reason}", sent=False)
        case aiohttp.ClientConnectorDNSError():
            return _name_error(reach, error.os_error)
        case aiohttp.ClientHttpProxyError():
            return ConfigError(
                f"{reach}: the proxy answered {error.status}", hint="check the proxy"
            )
        case TimeoutError():
            unsent = isinstance(error, aiohttp.ConnectionTimeoutError)
            step = "connect" if unsent else "answer"
            return TransientError(f"{reach}: it took too long to {step}", sent=not unsent)
        case aiohttp.ClientConnectorError():
            return TransientError(f"{reach}: {_reason(error.os_error)}", sent=False)
        case aiohttp.ClientResponseError():
            reason = shortened(error.message, 200)
            return ConfigError(
                f"can't read the answer of {place}: it isn't HTTP: {reason}",
                hint="check scheme and port of the address",
            )
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return ConfigError(
                f"can't send a request to {place}: {type(error).__name__}",
                hint="is there a line break in a header or a credential?",
            )
        case _:
            return TransientError(f"{reach}: the connection broke", sent=True)


def _name_error(reach: str, error: OSError) -> CdkError:
    if error.errno == socket.EAI_AGAIN:
        return TransientError(f"{reach}: its name can't be resolved at the moment", sent=False)
    return ConfigError(f"{reach}: no such host", hint="check the host name in the address")


def _reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "connection refused"
    return _lower(error.strerror or type(error).__name__)


def _lower(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def _place(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _timeout(timeouts: Timeouts, *, streamed: bool) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None if streamed else timeouts.answer.total_seconds(),
        sock_connect=timeouts.connect.total_seconds(),
        sock_read=timeouts.idle.total_seconds(),
    )


def _trust(ca_bundle: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"can't read CA bundle {str(ca_bundle)!r}: {error}", hint="it must be a PEM file"
        ) from error
    return context
