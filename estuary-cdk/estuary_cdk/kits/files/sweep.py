"""How a stream of one file follows that file: a state, and the one read that moves it.

The promise: reduced by key, the collection equals the file as it was when a read last ended,
whatever happened between: changes of the file at any moment, crashes between any two checkpoints.

- `present` and `keys` are upper bounds of what the collection holds. They grow in the same
  checkpoint as the documents, and shrink in the same checkpoint as the deletions.
- A read that ends deletes what is present beyond what it saw, then becomes `complete`.
- A read that was cut off has left `reading`: how many records it emitted, and the hash of the bytes
  they came from. The next read starts from the first byte again. If those bytes hash the same, the
  first records are the same too and are passed over; if not, the read diverges and begins anew.
- `recipe` stands for all that decides how bytes become documents. Another recipe makes every file
  a changed one.

Nothing here does I/O. State changes are JSON merge patches.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.reading import Records
from estuary_cdk.kits.files.stamp import Op, stamped
from estuary_cdk.kits.files.tracked_keys import TrackedKeys, document_of, key_of, members

DELETIONS_PER_CHECKPOINT = 10_000
OFFSET_UNKNOWN = -1
EMPTY_RECORD = b"}"

Patch = dict[str, Any]
"""A merge patch of a sweep's state."""


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Version(_State):
    """What tells one content of a file from another.

    `last_modified` is only to be set where a later change of the file can't leave it the same.
    """

    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None


class Progress(_State):
    """The first `records` records were emitted, and come from `bytes` bytes with this hash.

    `ended` means that the end of the file had its part too: it closes the last record.
    """

    records: int
    bytes: int
    sha256: str
    ended: bool = False


class SweepState(_State):
    """What a stream persists. `present` counts the offsets per file; `keys` are tracked keys."""

    recipe: str = ""
    complete: Version | None = None
    reading: Progress | None = None
    present: dict[str, int] = {}
    keys: dict[str, str] = {}
    untracked: bool = False


class Plan(Enum):
    """What is to be done about a file."""

    NOTHING = "the file is as it was read last"
    READ = "the file must be read"
    COMPARE = "only its hash tells whether the file changed"


def validators(state: SweepState, recipe: str) -> Version | None:
    """Return the version to ask for a change of; None where the file must come in any case."""
    if state.reading is not None or state.recipe != recipe:
        return None
    return state.complete


def plan(state: SweepState, recipe: str, offer: Version) -> Plan:
    """Return what to do about a file that is now said to be `offer` (without a hash)."""
    known = validators(state, recipe)
    if known is None:
        return Plan.READ
    if known.etag and offer.etag:
        same = known.etag.removeprefix("W/") == offer.etag.removeprefix("W/")
        return Plan.NOTHING if same else Plan.READ
    if known.last_modified and offer.last_modified:
        return Plan.NOTHING if known.last_modified == offer.last_modified else Plan.READ
    return Plan.COMPARE


@dataclass(frozen=True, slots=True)
class Step:
    """Documents and the state they lead to, to be checkpointed together."""

    documents: list[bytes]
    patch: Patch


class Sweep:
    """One read of the file from its first byte.

    For each block call `advance`, then `documents` for each of the records it became; then, when
    due, checkpoint with `patch()`. At the end of the bytes call `end`, then `documents` for what
    the parser still had, then checkpoint each step of `finish`. When `diverged` becomes true (ask
    after each `advance` and after `end`), stop: the file isn't the one whose read was cut off.
    `anew` then returns the sweep with which to read it from its first byte.

    `key` holds the document's key pointers, or is None for file and offset. `elsewhere` tells of a
    key whether another file of the same collection has it: it isn't deleted then.
    """

    def __init__(
        self,
        state: SweepState,
        recipe: str,
        name: str,
        key: Sequence[str] | None = None,
        *,
        elsewhere: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._what = (recipe, name, key)
        self._elsewhere = elsewhere or _nowhere
        self._recipe = recipe
        self._name = name
        self._key = key
        self._key_in_meta = any(pointer.startswith("/_meta/") for pointer in key or ())
        self._present = dict(state.present)
        self._before = dict(state.present)
        self._unsaved_files: set[str] = set()
        self._keys = TrackedKeys(state.keys, stopped=state.untracked)
        self._awaited = state.reading if state.recipe == recipe else None
        self._saved = self._awaited
        self._skip = self._awaited.records if self._awaited else 0
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._records = 0
        self._counts: dict[str, int] = {}
        self._ended = False
        self._pending_keys: dict[str, str | None] = {}
        self.diverged = False

    @property
    def untracked(self) -> bool:
        """Whether there are too many keys to know which documents vanish."""
        return self._key is not None and self._keys.stopped

    def anew(self) -> "Sweep":
        """Return a sweep that passes nothing over, and knows all that this one emitted."""
        return self._again(None)

    def restarted(self) -> "Sweep":
        """Return a sweep for another try at the file, for when its bytes broke off.

        It passes over what was emitted up to the last `patch()`; documents since then must not have
        been emitted.
        """
        return self._again(self._saved)

    def _again(self, awaited: Progress | None) -> "Sweep":
        state = SweepState(recipe=self._recipe, reading=awaited)
        fresh = Sweep(state, *self._what, elsewhere=self._elsewhere)
        fresh._present = self._present
        fresh._before = dict(self._present)
        fresh._unsaved_files = self._unsaved_files
        fresh._keys = self._keys
        fresh._pending_keys = self._pending_keys
        fresh._keys.start_over()
        return fresh

    def advance(self, block: bytes) -> None:
        """Take the next bytes of the file as it is stored, before they are parsed.

        Whatever else decides how they are parsed, such as a content type, goes in front of them.
        """
        if self._awaited:
            until = self._awaited.bytes - self._bytes
            if len(block) > until or (len(block) == until and not self._awaited.ended):
                self._take(block[:until])
                self._judge()
                block = block[until:]
        self._take(block)

    def end(self) -> None:
        """Take notice that no more bytes come, before the parser does."""
        self._ended = True
        if self._awaited:
            self._judge()

    def _take(self, block: bytes) -> None:
        self._hash.update(block)
        self._bytes += len(block)

    def _judge(self) -> None:
        awaited = self._awaited
        self.diverged = awaited != self._progress(awaited.records if awaited else 0)
        self._awaited = None

    def _progress(self, records: int) -> Progress:
        return Progress(
            records=records, bytes=self._bytes, sha256=self._hash.hexdigest(), ended=self._ended
        )

    def documents(self, records: Records) -> list[bytes]:
        """Return the documents of the next records, without those emitted before."""
        count = len(records.bodies)
        new = min(max(self._skip - self._records, 0), count)
        self._records += count
        self._counts[records.file] = records.first + count
        bodies = records.bodies[new:]
        if self._key is not None and not self._keys.stopped:
            known = [self._see(records, at) for at in range(count)]
            return self._stamped(records, new, known[new:])
        if self._key is None and self._counts[records.file] > self._present.get(records.file, 0):
            self._present[records.file] = self._counts[records.file]
            self._unsaved_files.add(records.file)
        before = self._before.get(records.file, 0) if self._key is None else 0
        first = records.first + new
        updates = min(max(before - first, 0), len(bodies))
        return stamped(bodies[:updates], records.file, first, "u") + stamped(
            bodies[updates:], records.file, first + updates, "c"
        )

    def patch(self) -> Patch:
        """Return the patch that belongs to all documents returned so far."""
        patch = self._changes()
        if self._awaited is None:
            self._saved = self._progress(max(self._records, self._skip))
            patch["reading"] = self._saved.model_dump()
        return patch

    def finish(self, version: Version) -> Iterator[Step]:
        """Yield what completes the read of `version`: deletions, then the state.

        There is always at least one step. The hash is added to `version`.
        """
        assert self._ended, "only a read that saw the end finishes"
        assert not self.diverged, "a read that diverged doesn't finish"
        vanished = self._vanished_keys() if self._key is not None else self._vanished_offsets()
        for documents in vanished:
            yield Step(documents, self.patch())
        patch = self._changes()
        patch["keys"] = patch["keys"] | self._keys.compacted()
        version = version.model_copy(update={"sha256": self._hash.hexdigest()})
        yield Step([], patch | {"complete": version.model_dump(), "reading": None})

    def _changes(self) -> Patch:
        present = {file: self._present.get(file) or None for file in self._unsaved_files}
        self._unsaved_files.clear()
        keys = self._pending_keys | self._keys.patch()
        self._pending_keys = {}
        return {
            "recipe": self._recipe,
            "present": present,
            "keys": keys,
            "untracked": self._keys.stopped,
        }

    def _vanished_offsets(self) -> Iterator[list[bytes]]:
        for file in sorted(self._present):
            count = self._counts.get(file, 0)
            while (end := self._present[file]) > count:
                start = max(count, end - DELETIONS_PER_CHECKPOINT)
                self._present[file] = start
                self._unsaved_files.add(file)
                yield stamped([EMPTY_RECORD] * (end - start), file, start, "d")
            if not count:
                del self._present[file]

    def _vanished_keys(self) -> Iterator[list[bytes]]:
        vanished = self._keys.vanished()
        for start in range(0, len(vanished), DELETIONS_PER_CHECKPOINT):
            keys = vanished[start : start + DELETIONS_PER_CHECKPOINT]
            self._pending_keys = self._keys.forget(keys)
            yield [self._deletion(key) for key in keys if not self._elsewhere(key)]

    def _deletion(self, key: bytes) -> bytes:
        document = document_of(key, self._key or ())
        meta = {"op": "d", "file": self._name, "offset": OFFSET_UNKNOWN}
        meta |= document.pop("_meta", {})
        return msgspec.json.encode({"_meta": meta} | document)

    def _see(self, records: Records, at: int) -> bool:
        assert self._key is not None
        offset = records.first + at
        document = members(b"{" + records.bodies[at])
        if self._key_in_meta:
            meta = bytes(document.get("_meta", b""))
            theirs: dict[str, Any] = dict(members(meta)) if meta[:1] == b"{" else {}
            ours = {"file": records.file, "offset": offset}
            document["_meta"] = msgspec.Raw(msgspec.json.encode(theirs | ours))
        try:
            return self._keys.see(key_of(document, self._key))
        except LookupError as error:
            raise DataError(
                f"can't use record {offset} of {records.file!r}: it has no string, number or "
                f"boolean at its key {error.args[0]}",
                hint="choose another key",
                file=records.file,
            ) from error

    def _stamped(self, records: Records, start: int, known: list[bool]) -> list[bytes]:
        documents: list[bytes] = []
        for is_known, run in groupby(known):
            end = start + sum(1 for _ in run)
            op: Op = "u" if is_known else "c"
            bodies = records.bodies[start:end]
            documents += stamped(bodies, records.file, records.first + start, op)
            start = end
        return documents


def combined(patch: Patch, later: Patch) -> Patch:
    """Return the merge patch that does what `patch` and then `later` do."""
    result = dict(patch)
    for name, value in later.items():
        before = result.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            result[name] = combined(before, value)
        else:
            result[name] = value
    return result


def _nowhere(_: bytes) -> bool:
    return False
