"""All collections of a data directory: where each lies, who writes it, who waits for it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from flow_local.collections.files import DiskFiles, Files
from flow_local.collections.journal import SEGMENT_BYTES_MAX, Journal, JournalReader
from flow_local.schema.inference import Inference

DIRECTORY: Final = "collections"


def directory_of(root: Path, name: str) -> Path:
    """Return where a collection lies under a data directory."""
    parts = [
        quote(part, safe="-_.~ ") if part.strip(".") else f"%2E{part[1:]}"
        for part in name.split("/")
    ]
    return root / DIRECTORY / Path(*parts)


class Changes:
    """Wakes whoever waits for something to have happened since it looked last."""

    def __init__(self) -> None:
        self.version = 0
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Count one more change and wake all."""
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def since(self, version: int) -> None:
        """Return as soon as there is a change after `version`."""
        while self.version <= version:
            await self._changed.wait()


@dataclass(slots=True)
class Inferred:
    """What is inferred of a collection, and whether that isn't all recorded yet."""

    inference: Inference
    unrecorded: bool = False


class Collections:
    """The journals under one data directory, and what is inferred of their documents.

    `ends` gives their committed ends, `inferred` the schemas inferred so far.

    Readers have files of their own, so that they work beside a writer's thread.
    """

    def __init__(
        self,
        root: Path,
        ends: Mapping[str, int],
        inferred: Mapping[str, bytes] | None = None,
        files: Files | None = None,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        self.changes = Changes()
        self._root = root
        self._ends = dict(ends)
        self._files = files or DiskFiles()
        self._segment_bytes_max = segment_bytes_max
        self._journals: dict[str, Journal] = {}
        self._inferred = dict(inferred or {})
        self._inferences: dict[str, Inferred] = {}

    def journal(self, name: str) -> Journal:
        """Return the one writer of a collection."""
        journal = self._journals.get(name)
        if journal is None:
            journal = self._journals[name] = Journal(
                name,
                directory_of(self._root, name),
                self._files,
                self._ends.get(name, 0),
                self._segment_bytes_max,
            )
        return journal

    def inferred(self, name: str) -> Inferred:
        """Return what is inferred of a collection; one for all who write it."""
        if name not in self._inferences:
            self._inferences[name] = Inferred(Inference(self._inferred.get(name)))
        return self._inferences[name]

    def end(self, name: str) -> int:
        """Return the committed end of a collection; 0 for one that was never written."""
        journal = self._journals.get(name)
        return journal.committed if journal else self._ends.get(name, 0)

    def reader(self, name: str, offset: int = 0) -> JournalReader:
        """Return a reader of a collection from an offset on."""
        files = DiskFiles() if isinstance(self._files, DiskFiles) else self._files
        return JournalReader(directory_of(self._root, name), files, offset)

    def commit(self, ends: Mapping[str, int]) -> None:
        """Let readers see up to ends that were recorded."""
        for name, end in ends.items():
            self.journal(name).commit(end)
        self.changes.notify()
