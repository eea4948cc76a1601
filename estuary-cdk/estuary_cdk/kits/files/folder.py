"""How a stream of many files follows them: what is known of each, and what is to be done.

The promise: whatever is uploaded, rewritten and deleted, and wherever the process is killed, once a
sweep ends undisturbed the collection, reduced by key, equals the files.

- `read` remembers each file that was read to its end: a mark of its version, and an upper bound of
  its documents in the collection (`sweep`'s offsets and keys). Files are compared by version and
  never by time, so a late file with an old date is found, and clocks don't matter.
- `reading` holds the single-file state (`SweepState`) of the few whose read has begun.
- A mark is a digest of the recipe and the version's identity: other settings make every file a
  changed one, without a word of state.
- A file that is gone is read as one without records, so its documents are deleted like any others.
- When documents have a key of the user's, several files may hold the same. What vanishes from one
  file but is held by another isn't deleted; the other is read again, and so has the last word.
- In ascending mode files are only ever added behind the last: `after` is all that is remembered.

Blocks of entries are compressed, and a patch names only the blocks it changes. Nothing does I/O.
"""

import base64
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
from pydantic import BaseModel, ConfigDict

from estuary_cdk.capture.state import merged
from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.stores import StoredFile
from estuary_cdk.kits.files.sweep import Patch, Sweep, SweepState, Version, combined
from estuary_cdk.kits.files.tracked_keys import KEYS_MAX, unpacked

BLOCK_FILES = 256
FILES_MAX = 1_000_000
MARK_CHARS = 16
TROUBLE_CHARS_MAX = 300


class FolderState(BaseModel):
    """What a stream of files persists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: dict[str, str] = {}
    reading: dict[str, SweepState] = {}
    after: str = ""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a file that was read to its end, or given up on at this version.

    `trouble` is why it was given up on.
    """

    mark: str
    present: dict[str, int] = {}
    keys: dict[str, str] = {}
    untracked: bool = False
    trouble: str = ""


_entries = msgspec.json.Decoder(dict[str, Entry]).decode
_encoded = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Work:
    """A file to be read; `gone` when it is no longer there and only its documents are deleted."""

    file: StoredFile | None
    path: str
    mark: str

    @property
    def gone(self) -> bool:
        return self.file is None


class Folder:
    """What is known of the files of a stream, kept in step with the patches it returns.

    `has_contested` becomes true when a file that was read already has to be read again.
    """

    def __init__(
        self,
        state: FolderState,
        recipe: str,
        key: Sequence[str] | None = None,
        *,
        ascending: bool = False,
    ) -> None:
        self.after = state.after if ascending else ""
        self.ascending = ascending
        self.has_contested = False
        self._recipe = recipe
        self._key = key
        self._blocks = {name: _entries(_plain(block)) for name, block in state.read.items()}
        self._block_of = {path: name for name, block in self._blocks.items() for path in block}
        self._reading = dict(state.reading)
        self._saved = set(state.reading)
        self._changed: set[str] = set()
        self._troubles = {
            path: entry.trouble
            for block in self._blocks.values()
            for path, entry in block.items()
            if entry.trouble
        }
        self._last = max(self._blocks, key=int, default="")
        self._holders: Counter[bytes] = Counter()
        self._keys_of: dict[str, set[bytes]] = {}
        self._contested: set[bytes] = set()
        if key is not None:
            for path in [*self._block_of, *self._reading]:
                self._hold(path, self.state_of(path))

    @property
    def is_ordered(self) -> bool:
        """Whether files have to be read one after the other."""
        return self.ascending or self._key is not None

    def mark(self, identity: str) -> str:
        """Return what stands for a version of a file read with this recipe."""
        said = f"{self._recipe}\n{identity}".encode()
        return hashlib.sha256(said).hexdigest()[:MARK_CHARS]

    def decided(self, listed: Iterable[StoredFile]) -> list[Work]:
        """Return which of the listed files have to be read; those cut off before among them.

        An empty file is one to read only where it had documents once.
        """
        work = []
        for file in listed:
            if not file.size and not self._knows(file.path):
                continue
            mark = self.mark(file.identity)
            if file.path not in self._reading and self._entry(file.path).mark == mark:
                continue
            work.append(Work(file, file.path, mark))
        return work

    def gone(self, listed: set[str]) -> list[Work]:
        """Return the known files that a complete listing doesn't have.

        In ascending mode these are files whose read was cut off: others aren't known.
        """
        known = (self._block_of.keys() | self._reading.keys()) - listed
        return [Work(None, path, "") for path in sorted(known)]

    @property
    def left_out(self) -> tuple[int, str]:
        """How many files were given up on until they change, and why the first of them was."""
        return len(self._troubles), next(iter(self._troubles.values()), "")

    def kept(self, work: Work) -> Patch:
        """Keep what a file that is gone has emitted; it is neither read nor left out any more."""
        if work.path in self._reading:
            after = self._reading.pop(work.path)
            if not self.ascending:
                self._remember(work.path, _entry("", after))
            if work.path in self._saved:
                self._saved.discard(work.path)
                return {"reading": {work.path: None}}
        elif work.path in self._troubles:
            self._remember(work.path, msgspec.structs.replace(self._entry(work.path), trouble=""))
        return {}

    def state_of(self, path: str) -> SweepState:
        """Return the single-file state of a file."""
        if path in self._reading:
            return self._reading[path]
        entry = self._entry(path)
        return SweepState(present=entry.present, keys=entry.keys, untracked=entry.untracked)

    def sweep(self, work: Work, name: str) -> Sweep:
        """Return the read of a file whose documents say that they come from file `name`."""
        state = self.state_of(work.path)
        if self._key is not None and len(self._holders) >= KEYS_MAX:
            state = state.model_copy(update={"untracked": True, "keys": {}})
        elsewhere = None if self._key is None else self._is_elsewhere(work.path)
        return Sweep(state, work.mark, name, self._key, elsewhere=elsewhere)

    def advanced(self, path: str, patch: Patch) -> Patch:
        """Take what a sweep of a file says, and return the patch of the folder's state."""
        state = self.state_of(path)
        after = _patched(state, patch)
        self._reading[path] = after
        if patch.get("keys"):
            self._hold(path, after)
        if path not in self._saved:
            self._saved.add(path)
            patch = after.model_dump(exclude_none=True)
        return combined(self._contest(), {"reading": {path: patch}})

    def ended(self, work: Work, patch: Patch) -> Patch:
        """Take the last word of a file's sweep; return the patch of the folder's state."""
        return self._settled(work, _patched(self.state_of(work.path), patch))

    def start_over(self, path: str) -> None:
        """Forget how far a file was read: its bytes aren't those that were read then."""
        self._reading[path] = self.state_of(path).model_copy(update={"reading": None})

    def given_up(self, work: Work, trouble: str) -> Patch:
        """Leave a file as it is until it changes; what it has emitted stays known."""
        return self._settled(work, self.state_of(work.path), trouble[:TROUBLE_CHARS_MAX])

    def _settled(self, work: Work, after: SweepState, trouble: str = "") -> Patch:
        self._reading.pop(work.path, None)
        patch = self._contest()
        if work.path in self._saved:
            self._saved.discard(work.path)
            patch["reading"] = patch.get("reading", {}) | {work.path: None}
        if self.ascending:
            self.after = max(self.after, work.path, key=str.encode)
            return patch | {"after": self.after}
        self._hold(work.path, after)
        if work.gone:
            self._forget(work.path)
        else:
            self._remember(work.path, _entry(work.mark, after, trouble))
        return patch

    def changes(self) -> Patch:
        """Return the patch of the blocks of entries that changed since the last call.

        It belongs into the same checkpoint as all that was returned before; apart because one block
        has entries of many files.
        """
        changed = {
            name: _packed(self._blocks[name]) if self._blocks.get(name) else None
            for name in self._changed
        }
        self._changed = set()
        return {"read": changed} if changed else {}

    def _knows(self, path: str) -> bool:
        return path in self._block_of or path in self._reading

    def _entry(self, path: str) -> Entry:
        name = self._block_of.get(path)
        return self._blocks[name][path] if name is not None else _UNKNOWN

    def _remember(self, path: str, entry: Entry) -> None:
        name = self._block_of.get(path)
        if name is None:
            if len(self._block_of) >= FILES_MAX:
                raise DataError(
                    f"can't follow more than {FILES_MAX} files in one binding",
                    hint="use several prefixes, or ascendingKeys if files are only ever added",
                )
            name = self._open_block()
            self._block_of[path] = name
        self._blocks[name][path] = entry
        self._changed.add(name)
        self._troubles.pop(path, None)
        if entry.trouble:
            self._troubles[path] = entry.trouble

    def _forget(self, path: str) -> None:
        self._keys_of.pop(path, None)
        self._troubles.pop(path, None)
        name = self._block_of.pop(path, None)
        if name is not None:
            del self._blocks[name][path]
            self._changed.add(name)

    def _open_block(self) -> str:
        if not self._last or len(self._blocks[self._last]) >= BLOCK_FILES:
            self._last = str(int(self._last or -1) + 1)
            self._blocks[self._last] = {}
        return self._last

    def _hold(self, path: str, state: SweepState) -> None:
        if self._key is None:
            return
        before = self._keys_of.get(path, set())
        keys = {key for block in state.keys.values() for key in unpacked(block)}
        for key in before - keys:
            self._holders[key] -= 1
            if not self._holders[key]:
                del self._holders[key]
        self._holders.update(keys - before)
        self._keys_of[path] = keys

    def _contest(self) -> Patch:
        """Have the files read again that hold a key which another file has lost."""
        patch: Patch = {}
        for path, keys in self._keys_of.items() if self._contested else ():
            if not keys & self._contested:
                continue
            self.has_contested = True
            if path in self._block_of:
                self._remember(path, msgspec.structs.replace(self._entry(path), mark=""))
            if path in self._reading:
                anew = self._reading[path].model_copy(update={"reading": None})
                self._reading[path] = anew
                patch.setdefault("reading", {})[path] = {"reading": None}
        self._contested = set()
        return patch

    def _is_elsewhere(self, path: str) -> Callable[[bytes], bool]:
        def elsewhere(key: bytes) -> bool:
            held = self._holders[key] - (key in self._keys_of.get(path, ()))
            if held > 0:
                self._contested.add(key)
            return held > 0

        return elsewhere


_UNKNOWN = Entry("")


def _entry(mark: str, state: SweepState, trouble: str = "") -> Entry:
    return Entry(mark, state.present, state.keys, untracked=state.untracked, trouble=trouble)


def version_of(work: Work) -> Version:
    """Return the version that a sweep of this work completes."""
    return Version(etag=work.mark)


def _patched(state: SweepState, patch: Patch) -> SweepState:
    return SweepState.model_validate(merged(state.model_dump(exclude_none=True), patch))


def _packed(entries: dict[str, Entry]) -> str:
    return base64.b64encode(zlib.compress(_encoded(entries))).decode("ascii")


def _plain(block: str) -> bytes:
    return zlib.decompress(base64.b64decode(block))
