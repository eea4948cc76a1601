"""Where a materialization reads: one position per binding, kept in a checkpoint.

A checkpoint maps "<collection>;<read suffix>" to the offset that was read through. Entries that
aren't ours, and fields we don't know, are kept as they are.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from estuary_cdk.errors import ConfigError, RemoteProtocolError, shortened
from estuary_cdk.protocol.materialize import MaterializationBinding
from flow_local.collections import Collections, JournalReader

EMPTY: Final = b"{}"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Checkpoint:
    """A runtime checkpoint; immutable."""

    def __init__(self, text: bytes) -> None:
        """Read one; raises RemoteProtocolError for anything but an object of sources."""
        try:
            self._rest = _decode(text or EMPTY)
            self._sources = _decode(self._rest.pop("sources", msgspec.Raw(EMPTY)))
            self.offsets = {name: _read_through(raw) for name, raw in self._sources.items()}
        except (msgspec.MsgspecError, ValueError) as error:
            raise RemoteProtocolError(f"can't use checkpoint {shortened(text)}: {error}") from error

    def advanced(self, offsets: Mapping[str, int]) -> bytes:
        """Return the text of this checkpoint with these sources read through to here."""
        sources: dict[str, Any] = dict(self._sources)
        for name, offset in offsets.items():
            sources[name] = {"readThrough": str(offset)}
        return _encode({"sources": sources, **self._rest})


def _read_through(raw: msgspec.Raw) -> int:
    value = _decode(raw).get("readThrough")
    return 0 if value is None else int(msgspec.json.decode(value, type=int, strict=False))


class Source:
    """One binding's position in its collection, of which nothing beyond a `limit` is read."""

    def __init__(
        self,
        name: str,
        collection: str,
        collections: Collections,
        offset: int,
        limit: int | None = None,
    ) -> None:
        self.name = name
        self._collection = collection
        self._collections = collections
        self._limit = limit
        self._reader: JournalReader = collections.reader(collection, offset)

    @property
    def _end(self) -> int:
        end = self._collections.end(self._collection)
        return end if self._limit is None else min(end, self._limit)

    @property
    def offset(self) -> int:
        """All before it was read."""
        return self._reader.offset

    @property
    def backlog(self) -> int:
        """Bytes that are committed and not read."""
        return self._end - self._reader.offset

    def read(self) -> bytes:
        """Return the next block of lines; empty when all that is committed was read."""
        return self._reader.read(self._end)

    def close(self) -> None:
        """Give its file back."""
        self._reader.close()


def source_name(binding: MaterializationBinding) -> str:
    """Return the name under which checkpoints have a binding's position."""
    assert binding.collection is not None
    return f"{binding.collection.name};{binding.journal_read_suffix}"


def check(task: str, collections: Collections, positions: Iterable[tuple[str, int]]) -> None:
    """Raise ConfigError where a collection is shorter than what was read of it."""
    for collection, offset in positions:
        end = collections.end(collection)
        if offset > end:
            raise ConfigError(
                f"can't materialize {task!r}: it has read {offset} bytes of collection "
                f"{collection!r}, which has {end}; the collection was replaced",
                hint=f"reset the task: flow-local reset {task}",
            )
