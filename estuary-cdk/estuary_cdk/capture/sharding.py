"""Which shard of a task owns what: a stable hash of a name, cut into key ranges.

The hash is the first 32 bits of BLAKE2b over the name's UTF-8, and must stay so: a change would
move streams between running shards.
"""

from hashlib import blake2b

from estuary_cdk.protocol.flow import FULL_RANGE, RangeSpec


def key_hash(name: str) -> int:
    """Return where in 0..2^32-1 a name falls."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big")


def owns(key_range: RangeSpec, name: str) -> bool:
    """Tell whether the shard of this range owns the name; exactly one shard of a task does.

    A range that was left out altogether is the full one.
    """
    key_range = FULL_RANGE if key_range == RangeSpec() else key_range
    return key_range.key_begin <= key_hash(name) <= key_range.key_end
