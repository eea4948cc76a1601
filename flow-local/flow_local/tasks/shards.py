"""Shards of a task: how the key space is cut, who owns a key, where each one's progress is kept.

The shards of a capture share one state, which each updates by merge patches: so any number of them
may follow any other. A materialization's each have a checkpoint, a state and greatest keys, of a
range of keys. When their number changes, the old ones first store all that is committed: then their
checkpoints say the same, and any cut of the key space may go on from it. What they kept of their
ranges is handed to whoever gets a part of these, which is refused where it can't be one thing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.flow import FULL_RANGE, KEY_END_MAX, RangeSpec
from flow_local.recovery import TaskRecord
from flow_local.recovery.database import SHARD_MARK
from flow_local.tasks.sources import Checkpoint

_KEYS: Final = KEY_END_MAX + 1

_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def ranges(count: int) -> list[RangeSpec]:
    """Return the ranges of so many shards: all of the key space, evenly, in order."""
    bounds = [number * _KEYS // count for number in range(count + 1)]
    return [_range(begin, after - 1) for begin, after in pairwise(bounds)]


def _range(begin: int, end: int) -> RangeSpec:
    return RangeSpec(key_begin=begin, key_end=end, r_clock_end=KEY_END_MAX)


def owned(key_range: RangeSpec, keys: Sequence[bytes]) -> list[bool]:
    """Tell of each packed key whether the shard of this range stores it; exactly one does."""
    begin, end = key_range.key_begin, key_range.key_end
    return [begin <= _place(key) <= end for key in keys]


def _place(key: bytes) -> int:
    # It must stay so: another hash would hand keys to shards that never read their past.
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big")


def record_of(task: str, key_range: RangeSpec) -> str:
    """Return the name under which a shard's progress is recorded."""
    if key_range == FULL_RANGE:
        return task
    return f"{task}{SHARD_MARK}{key_range.key_begin:08x}-{key_range.key_end:08x}"


def recorded(records: Iterable[str]) -> list[RangeSpec]:
    """Return the ranges that a task ran with last, given the names of its shards' records.

    A range of which parts are recorded is that of a shard that was cut.
    """
    known = [_bounds(name) for name in records]
    return [
        _range(begin, end)
        for begin, end in known
        if not any(begin <= b and e <= end for b, e in known if (b, e) != (begin, end))
    ] or [FULL_RANGE]


def _bounds(record: str) -> tuple[int, int]:
    begin, _, end = record.rpartition(SHARD_MARK)[2].partition("-")
    return int(begin, 16), int(end, 16)


@dataclass(frozen=True, slots=True)
class Part:
    """What a shard has of its range."""

    range: RangeSpec
    record: TaskRecord


def handed_over(
    task: str, parts: Sequence[Part], key_range: RangeSpec, sources: Collection[str]
) -> TaskRecord:
    """Return what a shard of this range begins with, given those that have stored the same.

    `sources` are those of checkpoints that the task reads, or will when a binding rests no longer.
    Raises ConfigError where that can't be: their connectors keep different things, or they stopped
    at different places of a collection that isn't read at present.
    """
    heard = [
        part.record
        for part in parts
        if part.range.key_begin <= key_range.key_end and key_range.key_begin <= part.range.key_end
    ]
    _check_places(task, heard, sources)
    state = b""
    for record in heard:
        state = _united(task, state, record.state, ())
    max_keys: dict[str, bytes] = {}
    for record in heard:
        for name, key in record.max_keys.items():
            max_keys[name] = max(key, max_keys.get(name, b""))
    return TaskRecord(state=state, checkpoint=heard[0].checkpoint, max_keys=max_keys)


def _check_places(task: str, records: Sequence[TaskRecord], sources: Collection[str]) -> None:
    offsets = [Checkpoint(record.checkpoint).offsets for record in records]
    for name in sources:
        if len({each.get(name, 0) for each in offsets}) > 1:
            raise ConfigError(
                f"can't change the number of shards of {task!r}: they have read "
                f"{name.partition(';')[0]!r} up to different places, and it isn't read now",
                hint="run them as before with that binding enabled, or reset the task: "
                f"flow-local reset {task}",
            )


def _united(task: str, one: bytes, other: bytes, path: tuple[str, ...]) -> bytes:
    """Return the one state that says what both say."""
    if not one or not other or one == other:
        return one or other
    if one[:1] != b"{" or other[:1] != b"{":
        raise ConfigError(
            f"can't change the number of shards of {task!r}: their connectors keep different "
            f"states at {'/' + '/'.join(path)!r}, which can't be one",
            hint=f"set their count back, or reset the task: flow-local reset {task}",
        )
    united: dict[str, msgspec.Raw] = _properties(one)
    for name, value in _properties(other).items():
        mine = bytes(united.get(name, b""))
        united[name] = msgspec.Raw(_united(task, mine, bytes(value), (*path, name)))
    return msgspec.json.encode(united)
