"""Documents that would be larger than a runtime takes: their largest values are cut.

A text and bytes keep their beginning and end with how large they were, which an object says alone,
and an array in its only element if it is of texts: of anything else it is left empty. Small values,
and so keys, stay as they are.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Final

import msgspec

from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.codec import encode_json
from source_postgres.values import cut_mark

log = get_logger(__name__)

# 16 MiB is what runtimes take; they add to a document themselves.
DOCUMENT_BYTES_MAX: Final = (16 << 20) - (64 << 10)
BEFORE_BYTES_MAX: Final = DOCUMENT_BYTES_MAX // 2
MARKER_BYTES: Final = 64

_MARKED: Final = re.compile(rb" \[flow_truncated: original_size=\d+\]\Z")


def fitted(values: Sequence[bytes], bytes_max: int, encoded: Sequence[bool]) -> list[bytes]:
    """Return values, given as JSON, with the largest of them cut so that all fit together.

    `encoded` says which of them are base64.
    """
    if sum(map(len, values)) <= bytes_max:
        return list(values)
    limit = _limit(sorted(map(len, values)), bytes_max)
    cut = [
        value if len(value) <= limit else _cut(value, limit, encoded=base64)
        for value, base64 in zip(values, encoded, strict=True)
    ]
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


def _cut(value: bytes, limit: int, *, encoded: bool) -> bytes:
    mark = cut_mark(len(value))
    if value.startswith(b'["') and len(mark) + 4 <= limit:
        return encode_json([mark.decode().strip()])
    if value.startswith(b"["):
        return b"[]"
    if not value.startswith(b'"'):
        return b'{"flow_truncated":true,"original_size":%d}' % len(value)
    text = msgspec.json.decode(value, type=str).encode(errors="replace")
    mark = _mark(text, encoded=encoded)
    size = limit - 2 - len(mark)
    while True:
        # What is a multiple of four is still base64, if the whole was.
        kept = text[: max(0, size - size % 4)].decode(errors="ignore").encode()
        cut = encode_json((kept + mark).decode())
        if len(cut) <= limit or not kept:
            return cut
        size = size * limit // len(cut) - 1


def _mark(text: bytes, *, encoded: bool) -> bytes:
    """Return what a text that is cut ends with; one that was cut before keeps its mark."""
    if not encoded:
        marked = _MARKED.search(text)
        return marked[0] if marked else cut_mark(len(text))
    marked = _MARKED.search(a2b_base64(text[-MARKER_BYTES:]))
    size = len(text) // 4 * 3 - text.count(b"=", -2)
    return b2a_base64(marked[0] if marked else cut_mark(size), newline=False)
