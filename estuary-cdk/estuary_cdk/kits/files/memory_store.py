"""A store in memory whose files tests put, replace and remove at any moment."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

from estuary_cdk.kits.files.detection import Hints
from estuary_cdk.kits.files.stores import FileChanged, StoredFile

PAGE_FILES = 3
START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Files by path; `before_read`, if set, is called with each path before a range of it is read.

    A file's `modified` is whatever it was put with: a store's clock may be wrong.
    """

    def __init__(self) -> None:
        self.before_read: Callable[[str], None] | None = None
        self.reads: list[str] = []
        self._contents: dict[str, bytes] = {}
        self._files: dict[str, StoredFile] = {}
        self._versions = 0

    def put(
        self, path: str, content: bytes, *, modified: datetime = START, content_type: str = ""
    ) -> None:
        """Store a file, or a new version of it."""
        self._versions += 1
        hints = Hints(content_type or None)
        self._contents[path] = content
        self._files[path] = StoredFile(path, len(content), f"v{self._versions}", modified, hints)

    def remove(self, path: str) -> None:
        """Remove a file."""
        del self._contents[path]
        del self._files[path]

    @property
    def contents(self) -> dict[str, bytes]:
        """What there is now, by path."""
        return dict(self._contents)

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says, few at a time."""
        paths = sorted(
            (path for path in self._files if path.startswith(prefix) and path > after),
            key=str.encode,
        )
        for start in range(0, len(paths), PAGE_FILES):
            page = paths[start : start + PAGE_FILES]
            yield [self._files[path] for path in page if path in self._files]

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""
        return self._files.get(path)

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Store` says."""
        if self.before_read is not None:
            self.before_read(file.path)
        self.reads.append(file.path)
        if self._files.get(file.path) != file:
            raise FileChanged(f"can't read {file.path!r}: it is no longer what was listed")
        return self._contents[file.path][start : start + size]
