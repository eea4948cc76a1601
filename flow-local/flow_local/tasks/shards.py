"""Shards of a task: how the key space is cut, who owns a key, where each one's progress is kept.

The shards of a capture share one state, which each updates by merge patches: so any number of them
may follow any other. A materialization's keep a checkpoint for each range of keys. A range that is
cut in parts hands its checkpoint, state and greatest keys to every part, as the checkpoints table
of a destination does: nothing is stored twice, or missed. Ranges are never joined again, for what
their checkpoints stand for differs: so the number of shards can only be multiplied.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.flow import FULL_RANGE, KEY_END_MAX, RangeSpec
from flow_local.recovery import Commit, Recovery
from flow_local.recovery.database import SHARD_MARK

_KEYS: Final = KEY_END_MAX + 1


def ranges(count: int) -> list[RangeSpec]:
    """Return the ranges of so many shards: all of the key space, evenly, in order."""
    bounds = [number * _KEYS // count for number in range(count + 1)]
    return [
        RangeSpec(key_begin=begin, key_end=after - 1, r_clock_end=KEY_END_MAX)
        for begin, after in pairwise(bounds)
    ]


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


def latest(records: Iterable[str]) -> list[str]:
    """Return those of a task's shards that weren't cut in parts, given the names of all."""
    known = {name: _bounds(name) for name in records}
    return [
        name
        for name, (begin, end) in known.items()
        if not any(
            begin <= inner[0] and inner[1] <= end
            for inner in known.values()
            if inner != (begin, end)
        )
    ]


def _bounds(record: str) -> tuple[int, int]:
    begin, _, end = record.rpartition(SHARD_MARK)[2].partition("-")
    return int(begin, 16), int(end, 16)


def _told(shards: Sequence[object]) -> str:
    return "1 shard" if len(shards) == 1 else f"{len(shards)} shards"


async def divide(recovery: Recovery, task: str, wanted: Sequence[RangeSpec]) -> None:
    """See that each of these shards has a record: its own, or that of the range it is a part of.

    Raises ConfigError where a range that is wanted isn't a part of one that has run.
    """
    known = {name: _bounds(name) for name in await recovery.shards(task)}
    current = [known[name] for name in latest(known)]
    for each in wanted:
        begin, end = each.key_begin, each.key_end
        if any(b <= end and begin <= e and not (b <= begin and end <= e) for b, e in current):
            raise ConfigError(
                f"can't run {task!r} as {_told(wanted)}: it has run as {_told(current)}, and "
                f"these can be cut in parts but not joined",
                hint=f"set its shards' count to {len(current)}, or a multiple of that",
            )
    for each in wanted:
        name = record_of(task, each)
        if name == task or name in known:
            continue
        around = [
            (e - b, n) for n, (b, e) in known.items() if b <= each.key_begin and each.key_end <= e
        ]
        parent = await recovery.task(min(around)[1] if around else task)
        await recovery.commit(
            Commit(
                name,
                state=parent.state,
                checkpoint=parent.checkpoint,
                max_keys=parent.max_keys,
            )
        )
