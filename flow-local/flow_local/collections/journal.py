"""A collection on disk: segments of JSON lines that only ever grow.

A segment's name is the offset of its first byte; offsets run on over all segments. What is
committed is what the recovery database says: bytes past the committed end are an attempt that may
come to nothing, no reader sees them, and they are cut off before the next attempt. So that a crash
leaves nothing else behind, an end is recorded only after `sync`.

One attempt at a time: whoever appends holds `lock` until it has committed or rolled back.
"""

import asyncio
from pathlib import Path
from typing import Final

from estuary_cdk.failpoints import failpoint
from flow_local.collections.files import Files, StorageError

SEGMENT_BYTES_MAX: Final = 256 << 20
BLOCK_BYTES: Final = 1 << 20


def segment_name(start: int) -> str:
    """Return the name of the segment whose first byte is at `start`."""
    return f"{start:020d}.jsonl"


def _start(name: str) -> int:
    return int(name[:20])


class Journal:
    """The writer of one collection; `committed` is where readers must stop.

    Appending and syncing block; they are for a thread.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        files: Files,
        committed: int,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        self.name = name
        self.directory = directory
        self.committed = committed
        self.lock = asyncio.Lock()
        self._files = files
        self._segment_bytes_max = segment_bytes_max
        self._segment: Path | None = None
        self._segment_start = 0
        self._end = committed
        self._unsynced: list[Path] = []
        self._clean = False
        self._doubted = False

    def append(self, block: bytes) -> None:
        """Add whole lines past the end; raises StorageError, after which only `rollback` helps."""
        if not block:
            return
        assert block.endswith(b"\n"), "journals hold whole lines"
        if self._doubted:
            raise StorageError(
                f"can't write collection {self.name!r}: a commit to it failed half-way",
                hint="run again: what was committed is found out at the start",
                path=str(self.directory),
            )
        self.rollback()
        if self._segment is None or self._end - self._segment_start >= self._segment_bytes_max:
            self._segment_start = self._end
            self._segment = self.directory / segment_name(self._end)
        if self._segment not in self._unsynced:
            self._unsynced.append(self._segment)
        self._clean = False  # Until all of it is in.
        failpoint("journal.before_write")
        self._files.append(self._segment, block)
        failpoint("journal.after_write")
        self._end += len(block)
        self._clean = True

    def sync(self) -> int:
        """Make all that was appended durable and return the end to record."""
        if not self._unsynced:
            return self._end
        assert self._clean, "nothing failed since the attempt began"
        failpoint("journal.before_sync")
        self._clean = False
        for path in self._unsynced:
            self._files.sync(path)
            if path != self._segment:
                self._files.close(path)
        self._unsynced.clear()
        self._clean = True
        failpoint("journal.after_sync")
        return self._end

    def commit(self, end: int) -> None:
        """Let readers see up to `end`, which is recorded."""
        assert self.committed <= end <= self._end, "an end that was synced"
        self.committed = end

    def give_up(self) -> None:
        """Make the next `append` roll back first: this attempt comes to nothing."""
        self._clean = False

    def doubt(self) -> None:
        """Refuse to go on: nobody knows whether the end of this attempt was recorded.

        To cut it off would lose documents if it was.
        """
        self._doubted = True

    def rollback(self) -> None:
        """Cut off what isn't committed; at once after a start or a failure, else nothing.

        Raises StorageError where committed bytes are missing.
        """
        if self._clean:
            return
        self._unsynced.clear()
        segments = self._files.segments(self.directory)
        kept = {n: size for n, size in segments.items() if _start(n) < self.committed}
        for name in reversed(segments):
            if name not in kept:
                self._files.remove(self.directory / name)
        end = 0
        for name, size in kept.items():
            end = _start(name) + size if _start(name) <= end else end
        if end < self.committed:
            raise StorageError(
                f"can't use collection {self.name!r}: its segments end at {end}, but "
                f"{self.committed} bytes were committed",
                hint=f"restore the files of {str(self.directory)!r}",
                path=str(self.directory),
            )
        self._segment = None
        if kept:
            last = max(kept)
            self._segment, self._segment_start = self.directory / last, _start(last)
            if end > self.committed:
                self._files.close(self._segment)
                self._files.truncate(self._segment, self.committed - self._segment_start)
        self._end = self.committed
        self._clean = True


class JournalReader:
    """Reads one collection in blocks of whole lines, in constant memory."""

    def __init__(
        self, directory: Path, files: Files, offset: int = 0, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.offset = offset
        self._directory = directory
        self._files = files
        self._block_bytes = block_bytes
        self._segment: Path | None = None
        self._start = 0
        self._next: int | None = None

    def read(self, end: int) -> bytes:
        """Return the next lines before `end`, a committed end, and move on; empty at `end`.

        Raises StorageError where they aren't there any more.
        """
        if self.offset >= end:
            return b""
        self._find()
        assert self._segment is not None
        bound = end if self._next is None else min(end, self._next)
        size = self._block_bytes
        while True:
            wanted = min(size, bound - self.offset)
            block = self._files.read(self._segment, self.offset - self._start, wanted)
            if len(block) < wanted:
                raise self._lost()
            cut = block.rfind(b"\n") + 1
            if cut:
                break
            if wanted < size:
                raise self._lost()
            size *= 2
        self.offset += cut
        return block if cut == len(block) else block[:cut]

    def _find(self) -> None:
        inside = self._segment is not None and self._start <= self.offset
        if inside and self._next is not None and self.offset < self._next:
            return
        starts = [_start(name) for name in self._files.segments(self._directory)]
        before = [start for start in starts if start <= self.offset]
        if not before:
            raise self._lost()
        segment = self._directory / segment_name(before[-1])
        if self._segment is not None and segment != self._segment:
            self._files.close(self._segment)
        self._segment, self._start = segment, before[-1]
        self._next = next((start for start in starts if start > self.offset), None)

    def _lost(self) -> StorageError:
        return StorageError(
            f"can't read {str(self._directory)!r}: bytes from offset {self.offset} on are gone",
            hint="restore the files, or reset the tasks that use the collection",
            path=str(self._directory),
        )

    def close(self) -> None:
        """Give its file back."""
        if self._segment is not None:
            self._files.close(self._segment)
            self._segment = None
