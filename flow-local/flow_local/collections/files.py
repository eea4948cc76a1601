"""The few operations on files that journals need, so that tests can lose power at any of them."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from estuary_cdk.errors import CdkError

_SEGMENT: Final = re.compile(r"\d{20}\.jsonl\Z")


class StorageError(CdkError):
    """The machine's disk can't take or give data; the user has to act, what is committed is safe.

    `path` is the file or directory.
    """

    path: str


@contextmanager
def storage(verb: str, path: Path) -> Iterator[None]:
    """Translate the errors of the operating system within."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space and run again; what was committed is safe",
            errno.EDQUOT: "free some space and run again; what was committed is safe",
            errno.EROFS: "choose another data directory",
            errno.EACCES: "check the permissions of the data directory",
        }
        reason = error.strerror or str(error)
        hint = hints.get(error.errno or 0)
        message = f"can't {verb} {str(path)!r}: {reason[:1].lower()}{reason[1:]}"
        raise StorageError(message, hint=hint, path=str(path)) from error


class Files(Protocol):
    """Files that only grow at their end, or are cut off there."""

    def segments(self, directory: Path) -> dict[str, int]:
        """Return the names of a directory's segment files and their sizes; none if it's absent."""
        ...

    def append(self, path: Path, data: bytes) -> None:
        """Add to the end of a file, which is created if absent; durable after `sync`."""
        ...

    def sync(self, path: Path) -> None:
        """Make all that was appended to a file durable, and that the file exists."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file off."""
        ...

    def remove(self, path: Path) -> None:
        """Delete a file, durably."""
        ...

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on."""
        ...

    def close(self, path: Path) -> None:
        """Say that a file won't be needed for a while."""
        ...


class DiskFiles:
    """Files of this machine."""

    def __init__(self) -> None:
        self._fds: dict[Path, int] = {}
        self._new: set[Path] = set()

    def segments(self, directory: Path) -> dict[str, int]:
        with storage("list", directory):
            if not directory.is_dir():
                return {}
            found = {e.name: e.stat().st_size for e in os.scandir(directory)}
        return {name: found[name] for name in sorted(found) if _SEGMENT.match(name)}

    def append(self, path: Path, data: bytes) -> None:
        with storage("write", path):
            fd = self._fd(path, writing=True)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

    def sync(self, path: Path) -> None:
        with storage("write", path):
            os.fdatasync(self._fd(path, writing=True))
            if path in self._new:
                self._sync_directories(path.parent)
                self._new.discard(path)

    def truncate(self, path: Path, size: int) -> None:
        with storage("cut off", path):
            os.truncate(path, size)

    def remove(self, path: Path) -> None:
        self.close(path)
        with storage("remove", path):
            path.unlink(missing_ok=True)
            self._sync_directories(path.parent)

    def read(self, path: Path, offset: int, size: int) -> bytes:
        with storage("read", path):
            return os.pread(self._fd(path, writing=False), size, offset)

    def close(self, path: Path) -> None:
        fd = self._fds.pop(path, None)
        if fd is not None:
            os.close(fd)

    def _fd(self, path: Path, *, writing: bool) -> int:
        fd = self._fds.get(path)
        if fd is None:
            flags = os.O_RDONLY
            if writing:
                flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    self._new.add(path)
            fd = self._fds[path] = os.open(path, flags | os.O_CLOEXEC, 0o644)
        return fd

    @staticmethod
    def _sync_directories(directory: Path) -> None:
        """Make entries durable up to the root: any parent may have been made just now."""
        for each in (directory, *directory.parents):
            try:
                fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
            except PermissionError:
                return
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno != errno.EINVAL:  # Some file systems sync no directories.
                    raise
            finally:
                os.close(fd)
