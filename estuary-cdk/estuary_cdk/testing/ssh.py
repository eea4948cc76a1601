"""A loopback SSH server for tests: takes one user with one key, and forwards connections.

    with ssh() as server:
        dial_through(server.endpoint, server.private_key)

With a directory it serves the files there over SFTP, and takes a password too.

It can forget connections, refuse to forward, and go away and come back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncssh

from estuary_cdk.transport import LoopThread

USER: Final = "tunnel"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - a test's
HOST: Final = "127.0.0.1"


class _Guard(asyncssh.SSHServer):
    def __init__(self, server: "SshServer") -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return self._server.files is not None

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def connection_requested(
        self,
        dest_host: str,
        dest_port: int,
        orig_host: str,  # noqa: ARG002
        orig_port: int,  # noqa: ARG002
    ) -> bool:
        self._server.requested.append((dest_host, dest_port))
        if not self._server.forwards:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
                "administratively prohibited: open failed",
            )
        return True


class SshServer:
    """A running server. `private_key` logs `USER` in; `host_key` is the server's, in public."""

    def __init__(self, thread: LoopThread, files: Path | None) -> None:
        self.files = files
        self._thread = thread
        self._own = asyncssh.generate_private_key("ssh-ed25519")
        self._clients = asyncssh.generate_private_key("ssh-ed25519")
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._port = 0
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.requested: list[tuple[str, int]] = []
        self.forwards = True

    @property
    def endpoint(self) -> str:
        """Where it is, as a config of a tunnel says it."""
        return f"ssh://{USER}@{HOST}:{self._port}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._port}"

    @property
    def private_key(self) -> str:
        """The key to log in with."""
        return self._clients.export_private_key().decode()

    @property
    def host_key(self) -> str:
        """The server's public key."""
        return self._own.export_public_key().decode().strip()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the server's key."""
        return self._own.get_fingerprint()

    def change_key(self) -> None:
        """Have another key from the next `start` on."""
        self._own = asyncssh.generate_private_key("ssh-ed25519")

    def drop(self) -> int:
        """Cut all connections as a failing network would; returns how many."""
        return self._thread.call(self._drop())

    def stop(self) -> None:
        """Cut all connections, and refuse others until `start`."""
        self._thread.call(self._stop())

    def start(self) -> None:
        """Listen, at the port of before if there was one."""
        self._thread.call(self._start())

    async def _drop(self) -> int:
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.abort()
        return len(connections)

    async def _start(self) -> None:
        authorized = asyncssh.import_authorized_keys(self._clients.export_public_key().decode())
        self._acceptor = await asyncssh.listen(
            HOST,
            self._port,
            server_factory=lambda: _Guard(self),
            server_host_keys=[self._own],
            authorized_client_keys=authorized,
            sftp_factory=self._sftp if self.files else None,
        )
        self._port = self._acceptor.get_port()

    def _sftp(self, channel: "asyncssh.SSHServerChannel[bytes]") -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(self.files).encode())

    async def _stop(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._drop()
            await self._acceptor.wait_closed()
            self._acceptor = None


@contextmanager
def ssh(files: Path | None = None) -> Iterator[SshServer]:
    """Run a server for the block."""
    asyncssh.set_log_level("ERROR")
    thread = LoopThread("ssh server")
    server = SshServer(thread, files)
    thread.start()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        thread.stop()
