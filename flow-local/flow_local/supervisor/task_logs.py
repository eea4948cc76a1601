"""What tasks log, kept in the data directory: lines of JSON, bounded by starting anew.

logs/acme/source/log.jsonl       the newest
logs/acme/source/before.jsonl    what that was, before it grew to its limit
"""

import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from estuary_cdk.logs import JsonFormatter

DIRECTORY: Final = "logs"
NEWEST: Final = "log.jsonl"
BEFORE: Final = "before.jsonl"
LOG_BYTES_MAX: Final = 8 << 20
RECORDS_WAITING_MAX: Final = 10_000


class TaskLogs(logging.Handler):
    """Keeps each record that names its `task`, in the files of that task.

    Until it `begins` to write, the latest records wait in memory: a task is built before there is a
    data directory. What can't be written is dropped: a disk that is full is told of by whoever
    needs it more.
    """

    def __init__(self, data_directory: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._root = data_directory / DIRECTORY
        self._bytes_max = bytes_max
        self._files: dict[str, _File] = {}
        self._waiting: deque[logging.LogRecord] | None = deque(maxlen=RECORDS_WAITING_MAX)

    def begin(self) -> None:
        """Write what waits and, from now on, what comes."""
        waiting, self._waiting = self._waiting, None
        for record in waiting or ():
            self.emit(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if it is a task's."""
        task = getattr(record, "fields", {}).get("task")
        if not isinstance(task, str):
            return
        if self._waiting is not None:
            self._waiting.append(record)
            return
        try:
            file = self._files.get(task)
            if file is None:
                file = self._files[task] = _File(self._root / task, self._bytes_max)
            file.write(self.format(record).encode() + b"\n")
        except OSError:
            return

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        super().close()


class _File:
    """The newest log of one task, open to be written."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._bytes_max = bytes_max
        self._open()

    def _open(self) -> None:
        # Unbuffered: who follows reads whole lines, and a crash loses none.
        self._file = (self._folder / NEWEST).open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: bytes) -> None:
        if self._size and self._size + len(line) > self._bytes_max:
            self._file.close()
            (self._folder / NEWEST).replace(self._folder / BEFORE)
            self._open()
        self._size += self._file.write(line) or 0

    def close(self) -> None:
        self._file.close()


def logged(data_directory: Path) -> dict[str, Path]:
    """Return the folders of all tasks that have logged, by the tasks' names."""
    root = data_directory / DIRECTORY
    folders = sorted(path.parent for path in root.rglob(NEWEST))
    return {str(folder.relative_to(root)): folder for folder in folders}


@dataclass(slots=True)
class Follower:
    """Reads a task's log from its oldest line on; what is written meanwhile comes with later reads.

    A follower that is read less often than the log is started anew misses what was dropped.
    """

    folder: Path
    _file: BinaryIO | None = None
    _rest: bytes = b""

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines there are beyond those that were read, without line breaks."""
        if self._file is None:
            try:
                with (self.folder / BEFORE).open("rb") as before:
                    yield from before.read().splitlines()
            except FileNotFoundError:
                pass
            if not self._turn():
                return
        while True:
            yield from self._read()
            if not self._was_replaced() or not self._turn():
                return

    def _read(self) -> list[bytes]:
        assert self._file is not None
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines

    def _was_replaced(self) -> bool:
        assert self._file is not None
        try:
            return os.fstat(self._file.fileno()).st_ino != (self.folder / NEWEST).stat().st_ino
        except FileNotFoundError:
            return False

    def _turn(self) -> bool:
        """Begin with the newest file; False where there is none."""
        try:
            newest = (self.folder / NEWEST).open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file, self._rest = newest, b""
        return True

    def close(self) -> None:
        """Give its file back."""
        if self._file is not None:
            self._file.close()
