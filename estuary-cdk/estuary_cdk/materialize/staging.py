"""Staged work in the connector's state: what a post-commit apply has still to apply.

    {"<state key>": {"staged": {"<key begin>-<key end>": "<text of the connector's own>"}}}

The text is a string, whatever is in it: the state is kept by merging patches, which would mix two
objects and drop the nulls of one. Every update is a merge patch of single entries: several shards
may share one state. Entries of state keys that aren't bound now are left alone: a disabled binding
may come back and then needs them. A shard that took over from a parent, after a split, finds the
parent's entries by its range.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec import Raw

from estuary_cdk.errors import ContractError, RemoteProtocolError, shortened
from estuary_cdk.materialize.bindings import Shard
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import ConnectorState

STAGED = "staged"


class Entry(NamedTuple):
    """Where staged work stands in the state."""

    state_key: str
    shard_range: str


Pending = dict[Entry, bytes]

_LEVEL: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_PATCHES: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])


def range_name(shard: Shard) -> str:
    """Name a shard's range, both of its ends: a split child shares its parent's begin."""
    return f"{shard.key_begin:08x}-{shard.key_end:08x}"


def pending(state: bytes) -> Pending:
    """Return the staged work that a connector's state tells of."""
    return patched({}, [state] if state else [])


def patches_of(state_patches: bytes) -> list[bytes]:
    """Return the single patches of a request, in order."""
    try:
        return [bytes(each) for each in _PATCHES.decode(state_patches or b"[]")]
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError(f"can't read state patches: {error}") from error


def patched(before: Pending, patches: Iterable[bytes]) -> Pending:
    """Return staged work after patches in their order; a `null` patch forgets all of it."""
    after = dict(before)
    for patch in patches:
        if patch.strip() == b"null":
            after.clear()
            continue
        for state_key, value in _level(patch).items():
            staged = _level(bytes(value)).get(STAGED, Raw(b"{}"))
            if b"null" in {bytes(value), bytes(staged)}:
                after = {entry: work for entry, work in after.items() if entry[0] != state_key}
            for shard_range, work in _level(bytes(staged)).items():
                entry = Entry(state_key, shard_range)
                after.pop(entry, None)
                if bytes(work) != b"null":
                    after[entry] = msgspec.json.decode(work, type=str).encode()
    return after


def _level(raw: bytes) -> dict[str, Raw]:
    """Read an object; anything else isn't ours and has nothing staged."""
    return _LEVEL.decode(raw) if raw.lstrip()[:1] == b"{" else {}


def overlapping(entries: Pending, shard: Shard) -> Pending:
    """Return what concerns a shard: its own work, its parent's, that of shards it joined."""
    return {entry: work for entry, work in entries.items() if _overlaps(entry.shard_range, shard)}


def _overlaps(shard_range: str, shard: Shard) -> bool:
    begin, _, end = shard_range.partition("-")
    try:
        return int(begin, 16) <= shard.key_end and int(end, 16) >= shard.key_begin
    except ValueError:
        return False


def recorded(entries: Pending) -> ConnectorState | None:
    """Return the update that adds entries to the state, None where there are none."""
    return _update({entry: work.decode() for entry, work in entries.items()})


def cleared(entries: Iterable[Entry]) -> ConnectorState | None:
    """Return the update that takes entries out of the state, None where there are none."""
    return _update(dict.fromkeys(entries))


def _update(entries: Mapping[Entry, str | None]) -> ConnectorState | None:
    if not entries:
        return None
    patch: dict[str, dict[str, dict[str, str | None]]] = {}
    for entry, work in entries.items():
        patch.setdefault(entry.state_key, {STAGED: {}})[STAGED][entry.shard_range] = work
    return ConnectorState(updated=Raw(encode_json(patch)), merge_patch=True)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Names the staged work of one shard by the state keys of its bindings."""

    shard: Shard
    state_keys: tuple[str, ...]

    def entries(self, staged: Mapping[int, bytes]) -> Pending:
        """Return entries for what a connector staged by binding.

        Raises ContractError for an unknown binding and for anything but UTF-8 text.
        """
        entries: Pending = {}
        for binding, work in staged.items():
            if not 0 <= binding < len(self.state_keys):
                raise ContractError(f"can't keep staged work: there is no binding {binding}")
            try:
                work.decode()
            except UnicodeDecodeError as error:
                raise ContractError(
                    f"can't keep staged work {shortened(work)}: it isn't UTF-8 text"
                ) from error
            entries[Entry(self.state_keys[binding], range_name(self.shard))] = work
        return entries

    def batches(self, entries: Pending) -> list[dict[int, bytes]]:
        """Return known entries by binding, a batch per range they were staged for."""
        bindings = {state_key: index for index, state_key in enumerate(self.state_keys)}
        by_range: dict[str, dict[int, bytes]] = {}
        for entry, work in entries.items():
            if entry.state_key in bindings:
                by_range.setdefault(entry.shard_range, {})[bindings[entry.state_key]] = work
        return list(by_range.values())

    def known(self, entries: Pending) -> Pending:
        """Return the entries of state keys that are bound."""
        return {
            entry: work for entry, work in entries.items() if entry.state_key in self.state_keys
        }
