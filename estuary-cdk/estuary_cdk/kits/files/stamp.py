"""Documents from records: `_meta` goes in front, in bulk."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Op = Literal["c", "u", "d"]
DECODE_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def stamped(bodies: Sequence[bytes], file: str, first: int, op: Op) -> list[bytes]:
    """Return the documents of consecutive records, `first` being the first one's offset.

    Each begins with `{"_meta":{"op":…,"file":…,"offset":…}`. A record's own `_meta` object is
    merged behind these three; one that isn't an object is replaced.
    """
    opening = b'{"_meta":{"op":"%b","file":%b,"offset":' % (op.encode(), msgspec.json.encode(file))
    if b'"_meta"' in b"".join(bodies) or b"}" in bodies:
        return [_merged(opening, offset, body) for offset, body in enumerate(bodies, start=first)]
    return [
        b"%b%d},%b" % (opening, offset, body) for offset, body in enumerate(bodies, start=first)
    ]


def _merged(opening: bytes, offset: int, body: bytes) -> bytes:
    members = DECODE_OBJECT(b"{" + body) if b'"_meta"' in body else {}
    if "_meta" not in members:
        comma = b"" if body == b"}" else b","
        return b"%b%d}%b%b" % (opening, offset, comma, body)
    theirs = bytes(members.pop("_meta"))
    meta = DECODE_OBJECT(theirs) if theirs.startswith(b"{") else {}
    for ours in ("op", "file", "offset"):
        meta.pop(ours, None)
    stamp = opening + str(offset).encode() + _following(meta)
    return stamp + _following(members)


def _following(members: dict[str, msgspec.Raw]) -> bytes:
    rest = msgspec.json.encode(members)[1:]
    return rest if rest == b"}" else b"," + rest
