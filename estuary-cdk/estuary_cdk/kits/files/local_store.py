"""A directory as a store. A file's identity is its inode, size and time of change."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files.stores import FileChanged, StoredFile

PAGE_FILES = 1000


class LocalStore:
    """The regular files below a directory; symbolic links are passed over."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says."""
        if not await asyncio.to_thread(self._root.is_dir):
            raise ConfigError(f"can't list directory {str(self._root)!r}: there is none")
        paths = (
            path
            for path in _paths(self._root, "")
            if path.startswith(prefix) and path.encode() > after.encode()
        )

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
        except FileNotFoundError:
            same = False
        except PermissionError as error:
            raise ConfigError(f"can't read {file.path!r}: permission denied") from error
        if not same:
            raise FileChanged(f"can't read {file.path!r}: it is no longer what was listed")
        return data


def _identity(found: os.stat_result) -> str:
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def _paths(directory: Path, before: str) -> Iterator[str]:
    """Yield paths in order of their bytes: a directory's name counts with its slash."""
    with os.scandir(directory) as entries:
        found = [
            (entry.name, entry.is_dir(follow_symlinks=False))
            for entry in entries
            if not entry.is_symlink()
        ]
    for name, is_directory in sorted(found, key=lambda each: (each[0] + "/" * each[1]).encode()):
        if is_directory:
            yield from _paths(directory / name, f"{before}{name}/")
        else:
            yield before + name
