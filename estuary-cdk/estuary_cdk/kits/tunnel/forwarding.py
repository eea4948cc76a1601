"""A port of ours that leads, through an SSH server, to a host behind it.

It lives on a thread of its own: drivers that block can dial it, wherever they are called. The SSH
connection is made when the port is first dialled, and again after it was lost; what went through it
when it was lost ends, as any connection would.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import asyncssh

from estuary_cdk.errors import CdkError
from estuary_cdk.kits.tunnel import failures
from estuary_cdk.kits.tunnel.config import SshForwarding
from estuary_cdk.logs import get_logger
from estuary_cdk.transport import LoopThread

log = get_logger(__name__)

LOOPBACK: Final = "127.0.0.1"
CONNECT_TIMEOUT_S: Final = 20.0
KEEPALIVE_S: Final = 15.0
KEEPALIVES_LOST_MAX: Final = 3
CHUNK_BYTES: Final = 256 << 10
WINDOW_BYTES: Final = 8 << 20
# Both are done by the processor itself, in one pass; what a server lacks is left out.
CIPHERS: Final = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"


class _Client(asyncssh.SSHClient):
    """What asyncssh asks of a connection's owner."""

    def __init__(self, tunnel: "Tunnel") -> None:
        self._tunnel = tunnel

    def validate_host_public_key(
        self,
        host: str,  # noqa: ARG002
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        return self._tunnel.trusts(key)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.ended(exc)


class Tunnel:
    """A way to a host behind an SSH server: whoever dials `entrance` comes out there."""

    def __init__(self, settings: SshForwarding, host: str, port: int) -> None:
        self._settings = settings
        self._key = failures.private_key(settings.private_key)
        self._goal = (host, port)
        self._thread = LoopThread("tunnel")
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._server: asyncio.Server | None = None
        self._entrance = ("", 0)
        self._failure: CdkError | None = None
        self._host_key = settings.host_key.strip()

    @property
    def entrance(self) -> tuple[str, int]:
        """The address and port to dial; they stay the same for the tunnel's life."""
        return self._entrance

    @property
    def failure(self) -> CdkError | None:
        """Why the last connection through the tunnel failed or ended; None while it holds."""
        return self._failure

    def open(self) -> None:
        """Begin to listen at the entrance."""
        self._thread.start()
        self._thread.call(self._listen())

    def close(self) -> None:
        """End all connections, and listen no more."""
        with suppress(TimeoutError):
            self._thread.call(self._end(), CONNECT_TIMEOUT_S)
        self._thread.stop()

    def trusts(self, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key is the SSH server's; without one in the config, the first is."""
        fingerprint = key.get_fingerprint()
        if not self._host_key:
            _, host, port = self._settings.login
            log.info("host key accepted", host=host, port=port, fingerprint=fingerprint)
            self._host_key = fingerprint
        return failures.is_trusted(key, self._host_key)

    def ended(self, error: BaseException | None) -> None:
        """Take note that the SSH connection is gone; the next to dial makes another."""
        if self._connection is not None and self._server is not None:
            self._failure = failures.lost(error, self._settings)
            log.warning("tunnel lost", reason=self._failure.message)
        self._connection = None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._dialled, LOOPBACK, 0)
        address = self._server.sockets[0].getsockname()
        self._entrance = (address[0], address[1])

    async def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._connection is not None:
            connection = self._connection
            connection.abort()
            await connection.wait_closed()

    async def _dialled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lead one connection through; it is cut off where there is no way through any more."""
        # Cancelled when the tunnel is closed: nobody waits for this task to say so.
        with suppress(asyncio.CancelledError):
            try:
                inner, outer = await self._opened()
                self._failure = None
                await _led(reader, writer, inner, outer)
            except CdkError as error:
                self._failure = error
            finally:
                writer.transport.abort()

    async def _opened(
        self,
    ) -> tuple["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"]:
        host, port = self._goal
        connection = await self._connected()
        try:
            return await connection.open_connection(host, port, window=WINDOW_BYTES)
        except asyncssh.ChannelOpenError as error:
            raise failures.unforwarded(error, self._settings, host, port) from error
        except (OSError, asyncssh.Error) as error:
            raise failures.lost(error, self._settings) from error

    async def _connected(self) -> asyncssh.SSHClientConnection:
        """Return the SSH connection, made anew once it is gone."""
        async with self._connecting:
            if self._connection is None:
                user, host, port = self._settings.login
                try:
                    self._connection = await asyncssh.connect(host, port, **self._options(user))
                except Exception as error:
                    raise failures.unreached(error, self._settings.login, self._key) from error
                log.info("tunnel connected", host=host, port=port)
            return self._connection

    def _options(self, user: str) -> dict[str, Any]:
        return {
            "username": user,
            "client_keys": [self._key],
            "client_factory": lambda: _Client(self),
            "known_hosts": ([], [], []),
            "config": None,
            "agent_path": None,
            "preferred_auth": "publickey",
            "encryption_algs": CIPHERS,
            "compression_algs": None,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "login_timeout": CONNECT_TIMEOUT_S,
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES_LOST_MAX,
        }


async def _led(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: Any, outer: Any
) -> None:
    """Move bytes both ways until both sides ended, or one of them is lost."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_carry(reader, outer))
            both.create_task(_carry(inner, writer))
        writer.close()
        await writer.wait_closed()
    except* (OSError, asyncssh.Error) as group:
        log.debug("a connection through the tunnel was lost", reason=str(group.exceptions[0]))
    finally:
        outer.close()


async def _carry(source: Any, target: Any) -> None:
    """Move bytes until the source ends, and tell the target so."""
    while data := await source.read(CHUNK_BYTES):
        target.write(data)
        await target.drain()
    target.write_eof()


@contextmanager
def opened(settings: SshForwarding, host: str, port: int) -> Iterator[Tunnel]:
    """Keep a tunnel to a host open for the block; raises ConfigError for a key that isn't one."""
    asyncssh.set_log_level("WARNING")
    tunnel = Tunnel(settings, host, port)
    tunnel.open()
    try:
        yield tunnel
    finally:
        tunnel.close()
