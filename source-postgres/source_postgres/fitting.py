"""Documents that would be larger than a runtime takes: their largest values are cut.

A text keeps its beginning, an object says how large it was, and an array is left empty. Small
values, and so keys, stay as they are.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.codec import encode_json

log = get_logger(__name__)

# 16 MiB is what runtimes take; they add to a document themselves.
DOCUMENT_BYTES_MAX: Final = (16 << 20) - (64 << 10)
BEFORE_BYTES_MAX: Final = DOCUMENT_BYTES_MAX // 2
MARKER_BYTES: Final = 64


def fitted(values: Sequence[bytes], bytes_max: int) -> list[bytes]:
    """Return values, given as JSON, with the largest of them cut so that all fit together."""
    if sum(map(len, values)) <= bytes_max:
        return list(values)
    limit = _limit(sorted(map(len, values)), bytes_max)
    cut = [value if len(value) <= limit else _cut(value, limit) for value in values]
    log.warning(
        "values are cut: their document is too large",
        bytes=sum(map(len, values)),
        values=sum(before != after for before, after in zip(values, cut, strict=True)),
    )
    return cut


def _limit(sizes: Sequence[int], bytes_max: int) -> int:
    """Return the size to which to cut values, given from the smallest, to fit together."""
    left = bytes_max
    for index, size in enumerate(sizes):
        share = left // (len(sizes) - index)
        if size > share:
            return max(share, MARKER_BYTES)
        left -= size
    return max(sizes)


def _cut(value: bytes, limit: int) -> bytes:
    if value.startswith(b"["):
        return b"[]"
    if not value.startswith(b'"'):
        return b'{"flow_truncated":true,"original_size":%d}' % len(value)
    text = msgspec.json.decode(value, type=str).encode(errors="replace")
    size = limit - 2
    while True:
        # What is a multiple of four is still base64, if the whole was.
        cut = encode_json(text[: size - size % 4].decode(errors="ignore"))
        if len(cut) <= limit:
            return cut
        size = size * limit // len(cut) - 1
