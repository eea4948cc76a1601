"""A directory as a store. A file's identity is its inode, size and times of change."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files.stores import FileChanged, StoredFile
from estuary_cdk.logs import get_logger

log = get_logger(__name__)

PAGE_FILES = 1000


class LocalStore:
    """The regular files below a directory; symbolic links are passed over.

    So are files whose names aren't UTF-8: they could be named in no document.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says."""
        if not await asyncio.to_thread(self._root.is_dir):
            raise ConfigError(
                f"can't list directory {str(self._root)!r}: there is none",
                hint="check directory, and that it is mounted where the connector runs",
            )
        paths = _paths(self._root, "", prefix, after.encode())

        def page() -> tuple[bool, list[StoredFile]]:
            taken = list(islice(paths, PAGE_FILES))
            files = map(self._look, taken)
            return bool(taken), [file for file in files if file is not None]

        while (found := await asyncio.to_thread(page))[0]:
            yield found[1]

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""
        return await asyncio.to_thread(self._look, path)

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Store` says."""
        return await asyncio.to_thread(self._read, file, start, size)

    def _look(self, path: str) -> StoredFile | None:
        try:
            found = (self._root / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        modified = datetime.fromtimestamp(found.st_mtime, UTC)
        return StoredFile(path, found.st_size, _identity(found), modified)

    def _read(self, file: StoredFile, start: int, size: int) -> bytes:
        try:
            with (self._root / file.path).open("rb") as opened:
                data = os.pread(opened.fileno(), size, start)
                same = _identity(os.fstat(opened.fileno())) == file.identity
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            same = False
        except PermissionError as error:
            raise ConfigError(
                f"can't read {file.path!r}: permission is denied",
                hint="let the connector's user read it",
            ) from error
        if not same:
            raise FileChanged(f"can't read {file.path!r}: it is no longer what was listed")
        return data


def _identity(found: os.stat_result) -> str:
    # The second time changes with every write, whatever the writer sets the first one to.
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def _paths(directory: Path, before: str, prefix: str, after: bytes) -> Iterator[str]:
    """Yield paths in order of their bytes: a directory's name counts with its slash.

    Directories in which nothing can be below `prefix` and beyond `after` aren't entered.
    """
    for name in sorted(_names(directory, before), key=os.fsencode):
        path = before + name
        if not name.endswith("/"):
            if path.startswith(prefix) and path.encode() > after:
                yield path
        elif path.startswith(prefix) or prefix.startswith(path):
            inside = path.encode()
            if inside > after or after.startswith(inside):
                yield from _paths(directory / name, path, prefix, after)


def _names(directory: Path, before: str) -> list[str]:
    """Return the names of regular files, and of directories with a slash."""
    try:
        with os.scandir(directory) as entries:
            found = [
                entry.name + "/" * entry.is_dir()
                for entry in entries
                if not entry.is_symlink() and (entry.is_dir() or entry.is_file())
            ]
    except PermissionError as error:
        raise ConfigError(
            f"can't list directory {before or str(directory)!r}: permission is denied",
            hint="let the connector's user read it",
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        return []  # gone since its name was read
    told = [name for name in found if _is_text(name)]
    if len(told) < len(found):
        log.warning("files are passed over whose names aren't UTF-8", directory=before or "/")
    return told


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
