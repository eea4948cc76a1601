"""A directory of an SFTP server as a store.

A file's identity is its size and its time of change, which most servers tell in whole seconds. A
file that changed within the last few is told apart from itself later: it is then read once more, so
that no change within the same second is missed.
"""

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import asyncssh

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.kits.files import FileChanged, StoredFile
from estuary_cdk.kits.tunnel import failures
from estuary_cdk.logs import get_logger
from source_sftp.config import Config, Password

log = get_logger(__name__)

T = TypeVar("T")

PAGE_FILES: Final = 1000
ATTEMPTS_MAX: Final = 4
PAUSE_S: Final = 0.5
CONNECT_TIMEOUT_S: Final = 20.0
KEEPALIVE_S: Final = 15.0
KEEPALIVES_LOST_MAX: Final = 3
FRESH_S: Final = 3
FRESH: Final = "~"
LOST: Final = (
    asyncssh.SFTPNoConnection,
    asyncssh.SFTPConnectionLost,
    asyncssh.DisconnectError,
    asyncssh.ChannelOpenError,
    OSError,
)


@asynccontextmanager
async def opened(config: Config, clock: Clock | None = None) -> AsyncGenerator["SftpStore"]:
    """Give the store of a config's directory."""
    asyncssh.set_log_level("WARNING")
    store = SftpStore(config, clock or SystemClock())
    try:
        yield store
    finally:
        await store.close()


class _Client(asyncssh.SSHClient):
    def __init__(self, store: "SftpStore") -> None:
        self._store = store

    def validate_host_public_key(
        self,
        host: str,  # noqa: ARG002
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        return self._store.trusts(key)


class SftpStore:
    """The regular files below a directory of a server; symbolic links are passed over.

    A connection that is lost is made again, a few times.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._host_key = config.advanced.host_key.strip()
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    async def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()

    def trusts(self, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key is the server's; without one in the config, the first is."""
        if not self._host_key:
            self._host_key = key.get_fingerprint()
            log.info("host key accepted", address=self._config.address, fingerprint=self._host_key)
        return failures.is_trusted(key, self._host_key)

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says."""
        page: list[StoredFile] = []
        async for file in self._below("", prefix, after.encode()):
            page.append(file)
            if len(page) == PAGE_FILES:
                yield page
                page = []
        if page:
            yield page

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""

        async def ask(sftp: asyncssh.SFTPClient) -> StoredFile | None:
            try:
                return self._file(path, await sftp.lstat(self._config.root + path))
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return None

        return await self._asked("read", path, ask)

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Store` says."""
        changed = FileChanged(f"can't read {file.path!r}: it is no longer what was listed")

        async def ask(sftp: asyncssh.SFTPClient) -> bytes:
            try:
                async with sftp.open(self._config.root + file.path, "rb") as handle:
                    data: bytes = await handle.read(size, start)
                    found = _identity(await handle.stat())
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
                raise changed from error
            if found != file.identity.removesuffix(FRESH):
                raise changed
            return data

        return await self._asked("read", file.path, ask)

    async def _below(self, directory: str, prefix: str, after: bytes) -> AsyncIterator[StoredFile]:
        """Yield files in order of their paths' bytes; pass by directories that can have none."""
        found = {name + "/" * _is_directory(a): a for name, a in await self._entries(directory)}
        for name in sorted(found, key=str.encode):
            path = directory + name
            if not name.endswith("/"):
                file = self._file(path, found[name])
                if file and path.startswith(prefix) and path.encode() > after:
                    yield file
            elif path.startswith(prefix) or prefix.startswith(path):
                inside = path.encode()
                if inside > after or after.startswith(inside):
                    async for file in self._below(path, prefix, after):
                        yield file

    async def _entries(self, directory: str) -> list[tuple[str, asyncssh.SFTPAttrs]]:
        async def ask(sftp: asyncssh.SFTPClient) -> list[tuple[str, asyncssh.SFTPAttrs]]:
            try:
                names = await sftp.readdir(self._config.root + directory)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                if directory:
                    return []  # gone since its name was read
                raise
            return [(str(name.filename), name.attrs) for name in names]

        entries = [each for each in await self._asked("list", directory, ask) if _is_name(each[0])]
        told = [each for each in entries if _is_text(each[0])]
        if len(told) < len(entries):
            log.warning("files are passed over whose names aren't UTF-8", directory=directory)
        return told

    def _file(self, path: str, attributes: asyncssh.SFTPAttrs) -> StoredFile | None:
        if not stat.S_ISREG(attributes.permissions or stat.S_IFREG):
            return None
        seconds = attributes.mtime or 0
        modified = datetime.fromtimestamp(seconds, UTC)
        age = abs((self._clock.now() - modified).total_seconds())
        identity = _identity(attributes) + (FRESH if age < FRESH_S else "")
        return StoredFile(path, attributes.size or 0, identity, modified)

    async def _asked(
        self, verb: str, path: str, ask: Callable[[asyncssh.SFTPClient], Awaitable[T]]
    ) -> T:
        """Ask, again with a new connection where it was lost; raise what stands in the way."""
        done = f"can't {verb} {self._config.root + path!r}"
        for attempt in range(1, ATTEMPTS_MAX + 1):
            sftp: asyncssh.SFTPClient | None = None
            try:
                sftp = await self._connected()
                return await ask(sftp)
            except FileChanged:
                raise
            except TransientError as error:
                failure: CdkError = error
            except LOST as error:
                failure = TransientError(f"{done}: the connection was lost: {error}")
                failure.__cause__ = error
                if self._sftp is sftp:
                    self._sftp = None
            except asyncssh.SFTPError as error:
                raise _refusal(error, done) from error
            if attempt < ATTEMPTS_MAX:
                log.info("connecting again", reason=str(failure), attempt=attempt)
                await self._clock.sleep(PAUSE_S * 2**attempt)
        raise failure

    async def _connected(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            if self._sftp is None:
                user, host, port = self._config.login
                key, options = self._credentials()
                try:
                    self._connection = await asyncssh.connect(host, port, username=user, **options)
                    self._sftp = await self._connection.start_sftp_client(
                        path_errors="surrogateescape"
                    )
                except asyncssh.ChannelOpenError as error:
                    raise ConfigError(
                        f"can't use SSH server {host}:{port}: it doesn't offer SFTP: {error.reason}"
                    ) from error
                except Exception as error:
                    raise failures.unreached(error, (user, host, port), key, "address") from error
            return self._sftp

    def _credentials(self) -> tuple[asyncssh.SSHKey | None, dict[str, Any]]:
        credentials = self._config.credentials
        options: dict[str, Any] = {
            "client_factory": lambda: _Client(self),
            "known_hosts": ([], [], []),
            "config": None,
            "agent_path": None,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "login_timeout": CONNECT_TIMEOUT_S,
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES_LOST_MAX,
        }
        if isinstance(credentials, Password):
            password = credentials.password.get_secret_value()
            return None, options | {
                "password": password,
                "client_keys": None,
                "preferred_auth": "password,keyboard-interactive",
            }
        key = failures.private_key(credentials.ssh_key, "sshKey")
        return key, options | {"client_keys": [key], "preferred_auth": "publickey"}


def _refusal(error: asyncssh.SFTPError, done: str) -> CdkError:
    match error:
        case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath():
            return ConfigError(f"{done}: there is none", hint="check directory")
        case asyncssh.SFTPPermissionDenied():
            return ConfigError(f"{done}: permission is denied", hint="let the user read it")
        case asyncssh.SFTPNotADirectory():
            return ConfigError(f"{done}: it is no directory", hint="check directory")
        case _:
            return TransientError(f"{done}: the server answered: {error.reason}")


def _identity(attributes: asyncssh.SFTPAttrs) -> str:
    return f"{attributes.size}-{attributes.mtime}-{attributes.mtime_ns or 0}"


def _is_directory(attributes: asyncssh.SFTPAttrs) -> bool:
    return stat.S_ISDIR(attributes.permissions or 0)


def _is_name(name: str) -> bool:
    return name not in {".", ".."}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
