"""One sweep over the files of a store: list, decide, read what changed, delete what vanished.

Files are read several at once, unless their order matters: in ascending mode, and where documents
have a key of the user's, so that the last word is clear.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from estuary_cdk.errors import CdkError, DataError, TransientError
from estuary_cdk.kits.files.detection import Hints
from estuary_cdk.kits.files.fetching import contents
from estuary_cdk.kits.files.folder import Folder, Work, version_of
from estuary_cdk.kits.files.formats import format_named
from estuary_cdk.kits.files.options import ParserOptions
from estuary_cdk.kits.files.outbox import Commit, Outbox, read_through
from estuary_cdk.kits.files.reading import FileReader
from estuary_cdk.kits.files.stores import FileChanged, Store, StoredFile, Telling
from estuary_cdk.kits.files.sweep import Sweep
from estuary_cdk.logs import get_logger

log = get_logger(__name__)

FILES_AT_ONCE = 8
STARTS_MAX = 5
FAILURES_MAX = 100
PASSES_MAX = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a store a stream follows, and what is done about them.

    Of the files below `prefix`, those whose whole path contains `match`, modified at `since` or
    later. Paths that end in a slash, which stand for folders, are never taken. `root` goes in front
    of a path to name the file in documents.
    """

    prefix: str = ""
    root: str = ""
    match: re.Pattern[str] | None = None
    since: datetime | None = None
    parser: ParserOptions = field(default_factory=ParserOptions)
    on_delete: Literal["keep", "delete"] = "keep"
    on_error: Literal["stop", "skip"] = "stop"

    def takes(self, file: StoredFile) -> bool:
        """Tell whether a file belongs to the stream."""
        return self.names(file.path) and (self.since is None or file.modified >= self.since)

    def names(self, path: str) -> bool:
        """Tell whether a file of this path may belong to the stream."""
        return (
            path.startswith(self.prefix)
            and not path.endswith("/")
            and (self.match is None or self.match.search(path) is not None)
        )


@dataclass(slots=True)
class Outcome:
    """What a sweep did. `skipped` are the files that it couldn't read and left out.

    `unsettled` is how many changed too often to be read to their end: the next sweep will.
    `left_out` is how many stay left out until they change, those of earlier sweeps among them, and
    `trouble` why the first of them is.
    """

    listed: int = 0
    read: int = 0
    deleted: int = 0
    documents: int = 0
    malformed_rows: int = 0
    untracked: bool = False
    unsettled: int = 0
    skipped: list[CdkError] = field(default_factory=list)
    left_out: int = 0
    trouble: str = ""


Feed = Callable[[asyncio.Queue[Work | None]], Awaitable[set[str]]]
"""Puts work into a queue; returns the paths of all files that are there."""


async def listed(
    store: Store, selection: Selection, after: str = ""
) -> AsyncGenerator[list[StoredFile]]:
    """Yield the files of a selection, a page at a time, in order."""
    async for page in store.pages(selection.prefix, after):
        yield [file for file in page if selection.takes(file)]


async def hints_of(store: Store, file: StoredFile, parser: ParserOptions) -> Hints:
    """Return what is known of a file's format; the store is asked where the name doesn't tell."""
    named = format_named(file.path, file.hints, parser)
    if named is None and file.size and isinstance(store, Telling):
        return await store.hints(file)
    return file.hints


@dataclass(slots=True)
class Following:
    """One sweep of a stream over its files."""

    store: Store
    folder: Folder
    selection: Selection
    commit: Commit
    owns: Callable[[str], bool] = lambda _: True
    outcome: Outcome = field(default_factory=Outcome)
    _failures: list[CdkError] = field(default_factory=list)

    async def sweep(self) -> Outcome:
        """Bring the collection up to date.

        One file's failure doesn't keep the others from being read: it is raised at the end, or,
        when `on_error` is skip, the file is left out until it changes; no more than `FAILURES_MAX`
        are, one way or the other. What was read until then is checkpointed.
        """
        self.outcome = Outcome()
        outbox = self._outbox()
        try:
            for _ in range(PASSES_MAX):
                seen = await self._pass(outbox, self._list)
                await self._settle_gone(outbox, self.folder.gone(seen))
                await outbox.flush()
                if not self.folder.has_contested:
                    break
        finally:
            self.outcome.documents = outbox.total
        if self._failures:
            raise _together(self._failures)
        self.outcome.left_out, self.outcome.trouble = self.folder.left_out
        return self.outcome

    async def follow(self, paths: Sequence[str]) -> Outcome:
        """Bring the collection up to date with these files alone; raises as `sweep` does.

        Where one of them loses a key that another file holds, it takes a sweep.
        """
        self.outcome = Outcome()
        outbox = self._outbox()
        looked = await self._looked([path for path in paths if self.owns(path)])

        async def fed(queue: asyncio.Queue[Work | None]) -> set[str]:
            files = [file for file in looked.values() if file and self.selection.takes(file)]
            for work in self.folder.decided(files):
                await queue.put(work)
            self.outcome.listed = len(files)
            return {file.path for file in files}

        try:
            seen = await self._pass(outbox, fed)
            others = self.folder.gone(seen)
            await self._settle_gone(outbox, [work for work in others if work.path in looked])
            await outbox.flush()
        finally:
            self.outcome.documents = outbox.total
        if self._failures:
            raise _together(self._failures)
        return await self.sweep() if self.folder.has_contested else self.outcome

    async def _looked(self, paths: Sequence[str]) -> dict[str, StoredFile | None]:
        looked: dict[str, StoredFile | None] = {}
        wanted = iter([path for path in dict.fromkeys(paths) if self.selection.names(path)])

        async def look() -> None:
            for path in wanted:
                looked[path] = await self.store.look(path)

        async with asyncio.TaskGroup() as group:
            for _ in range(FILES_AT_ONCE):
                group.create_task(look())
        return {path: looked[path] for path in sorted(looked, key=str.encode)}

    def _outbox(self) -> Outbox:
        return Outbox(self.commit, self.folder.advanced, self.folder.changes)

    @property
    def _files_at_once(self) -> int:
        return 1 if self.folder.is_ordered else FILES_AT_ONCE

    async def _pass(self, outbox: Outbox, feed: Feed) -> set[str]:
        self.folder.has_contested = False
        queue: asyncio.Queue[Work | None] = asyncio.Queue(maxsize=2 * self._files_at_once)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._files_at_once):
                group.create_task(self._worker(outbox, queue))
            seen = await feed(queue)
            for _ in range(self._files_at_once):
                await queue.put(None)
        return seen

    async def _list(self, queue: asyncio.Queue[Work | None]) -> set[str]:
        seen: set[str] = set()
        async for page in listed(self.store, self.selection, self.folder.after):
            owned = [file for file in page if self.owns(file.path)]
            seen.update(file.path for file in owned)
            for work in self.folder.decided(owned):
                await queue.put(work)
        self.outcome.listed = len(seen)
        return seen

    async def _settle_gone(self, outbox: Outbox, gone: Sequence[Work]) -> None:
        for work in gone:
            if not self.owns(work.path):
                continue
            if self.selection.on_delete == "keep":
                await outbox.put_all(work.path, [], self.folder.kept(work))
                continue
            self.outcome.deleted += 1
            sweep = self.folder.sweep(work, self._name(work.path))
            sweep.end()
            await self._finish(outbox, work, sweep)

    async def _worker(self, outbox: Outbox, queue: asyncio.Queue[Work | None]) -> None:
        while (work := await queue.get()) is not None:
            try:
                await self._read(outbox, work)
            except CdkError as error:
                await self._failed(outbox, work, error)

    async def _read(self, outbox: Outbox, work: Work) -> None:
        """Read a file, as often as it takes to read one version to its end."""
        for _ in range(STARTS_MAX):
            try:
                if await self._tried(outbox, work):
                    return
            except FileChanged as error:
                log.info("file changed while it was read", file=work.path, reason=str(error))
            # What was emitted of the version that is gone has to be known before the next is read.
            await outbox.flush()
            current = await self.store.look(work.path)
            if current is None or not self.selection.takes(current):
                return  # the next sweep sees that it is gone
            work = Work(current, work.path, self.folder.mark(current.identity))
        if self.folder.ascending:
            raise TransientError(
                f"can't read {self._name(work.path)!r}: it changed {STARTS_MAX} times before its "
                "end, and later ones would let it be forgotten"
            )
        # Somebody is writing it. What was read of it stays known, and the next sweep begins anew.
        log.info("file keeps changing and is left to the next sweep", file=work.path)
        self.outcome.unsettled += 1

    async def _tried(self, outbox: Outbox, work: Work) -> bool:
        assert work.file is not None
        name = self._name(work.path)
        sweep = self.folder.sweep(work, name)
        hints = await hints_of(self.store, work.file, self.selection.parser)
        reader = FileReader(name, self.selection.parser, hints)
        async with aclosing(contents(self.store, work.file, reader)) as stretches:
            if not await read_through(stretches, sweep, outbox, work.path):
                self.folder.start_over(work.path)
                return False
        self.outcome.read += 1
        self.outcome.malformed_rows += reader.malformed_rows
        self.outcome.untracked |= sweep.untracked
        await self._finish(outbox, work, sweep)
        return True

    async def _finish(self, outbox: Outbox, work: Work, sweep: Sweep) -> None:
        for step in sweep.finish(version_of(work)):
            if step.patch.get("reading") is None:
                patch = self.folder.ended(work, step.patch)
            else:
                patch = self.folder.advanced(work.path, step.patch)
            await outbox.put_all(work.path, step.documents, patch)

    async def _failed(self, outbox: Outbox, work: Work, error: CdkError) -> None:
        quarantined = self.selection.on_error == "skip" and isinstance(error, DataError)
        failures = self.outcome.skipped if quarantined else self._failures
        failures.append(error)
        if quarantined:
            log.warning("file is left out until it changes", file=work.path, reason=str(error))
            await outbox.flush()
            await outbox.put_all(work.path, [], self.folder.given_up(work, str(error)))
        elif self.folder.ascending:
            raise error  # later files would let this one be forgotten
        if len(failures) > FAILURES_MAX or self.folder.left_out[0] > FAILURES_MAX:
            raise _together(failures)

    def _name(self, path: str) -> str:
        return self.selection.root + path


def _together(failures: Sequence[CdkError]) -> Exception:
    return failures[0] if len(failures) == 1 else ExceptionGroup("files failed", list(failures))
