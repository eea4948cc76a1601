"""Document UUIDs: version 1, given out by a producer in ascending order, spliced into documents.

A UUID says who published a document and when: 60 bits of 100 ns ticks since 1582-10-15, a 4-bit
counter and 10 bits of flags in its clock sequence, and the 6 bytes of the producer. Flags are 0:
documents of a journal are read up to a committed end, so none is ever in doubt.

Splicing leaves every other byte of a document as it is. Where a document's `_meta` comes first, or
there is none, or its place is beyond doubt, that is a cut and a join; else the document is taken
apart one level deep and put together again, its values still byte for byte.
"""

import os
import re
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from estuary_cdk.errors import DataError, shortened
from estuary_cdk.protocol.message import ABSENT
from flow_local.collections.batches import PLAIN_OPENING, Batch, are_plain

UNIX_EPOCH_TICKS: Final = 0x01B21DD213814000
TICKS_PER_SECOND: Final = 10_000_000
UUID_LENGTH: Final = 36
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STAMPED: Final = b'"_meta":{"uuid":"'
_NAMED_META: Final = b'"_meta":{'
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


class _Top(msgspec.Struct):
    meta: msgspec.Raw = msgspec.field(default=ABSENT, name="_meta")


_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_top = msgspec.json.Decoder(_Top).decode
_encode = msgspec.json.Encoder().encode


def ticks_of(moment: datetime) -> int:
    """Return the UUID time of a moment."""
    return UNIX_EPOCH_TICKS + ((moment - _EPOCH) // _MICROSECOND) * 10


def producer_id() -> bytes:
    """Return a new random producer: 6 bytes with the multicast bit set."""
    first, *rest = os.urandom(6)
    return bytes((first | 1, *rest))


def published_s(document: bytes) -> float | None:
    """Return when a line's document was published, in seconds since 1970; None if it doesn't tell.

    Looks where splicing puts a UUID; of a block of lines, at the first alone.
    """
    at = document.find(_STAMPED, 0, document.find(b"\n") + 1 or None)
    start = at + len(_STAMPED)
    text = document[start : start + UUID_LENGTH]
    if at < 0 or _UUID.match(text) is None:
        return None
    return (ticks_at(b'"%b"' % text) - UNIX_EPOCH_TICKS) / TICKS_PER_SECOND


def ticks_at(uuid: bytes) -> int:
    """Return the time in a UUID that is a JSON string; raises DataError for what isn't one."""
    if _UUID.match(uuid, 1, 1 + UUID_LENGTH) is None:
        raise _no_time(uuid)
    return int(uuid[16:19] + uuid[10:14] + uuid[1:9], 16)


def uuid_text(ticks: int, producer: bytes, counter: int = 0, flags: int = 0) -> bytes:
    """Spell a UUID."""
    return b"%08x" % (ticks & 0xFFFFFFFF) + _tail(ticks >> 32, producer, counter, flags)


def _tail(high: int, producer: bytes, counter: int = 0, flags: int = 0) -> bytes:
    sequence = 0x8000 | counter << 10 | flags
    high_text = b"-%04x-%04x" % (high & 0xFFFF, 0x1000 | high >> 16)
    return high_text + b"-%04x-" % sequence + producer.hex().encode()


class Published:
    """Tells when documents were published, from their UUIDs, as JSON strings in RFC 3339.

    Fractions have as many digits as needed. Remembers the last second, and the part that UUIDs of
    one producer share for minutes. Raises DataError for what isn't such a UUID.
    """

    def __init__(self) -> None:
        self._tail = b"?"
        self._high = 0
        self._counter = 0
        self._second = 0
        self._text = b""

    def at(self, uuid: bytes) -> bytes:
        """Return the JSON string of a moment, for the JSON string of a UUID."""
        if uuid[9:] != self._tail:
            self._look(uuid)
        try:
            ticks = self._high + int(uuid[1:9], 16) - self._second
        except ValueError:
            raise _no_time(uuid) from None
        if not 0 <= ticks < TICKS_PER_SECOND:
            ticks = self._turn(ticks)
        if ticks % 10 and not self._counter:  # Nine of ten: nothing to trim.
            return b'%b.%07dZ"' % (self._text, ticks)
        return self._trimmed(ticks)

    def _trimmed(self, ticks: int) -> bytes:
        # Nanoseconds: a tick is 100 of them, the counter counts within the tick.
        nanoseconds = ticks * 100 + self._counter
        fraction = b".%09d" % nanoseconds if nanoseconds else b""
        return b'%b%bZ"' % (self._text, fraction.rstrip(b"0"))

    def all_at(self, uuids: Sequence[bytes | msgspec.Raw]) -> Sequence[bytes]:
        """Return what `at` does for each; quick where they are of one moment."""
        text = b"".join(uuids)
        first = self.at(bytes(uuids[0]))
        lows = _lows(text, self._tail, len(uuids))
        start = self._high - self._second
        one_second = lows and min(lows) + start >= 0 and max(lows) + start < TICKS_PER_SECOND
        if self._counter or not one_second:
            return [first, *map(self.at, map(bytes, uuids[1:]))]
        second = self._text
        return [
            b'%b.%07dZ"' % (second, ticks) if ticks % 10 else self._trimmed(ticks)
            for ticks in map(start.__add__, lows)
        ]

    def _look(self, uuid: bytes) -> None:
        if _UUID.match(uuid, 1, 1 + UUID_LENGTH) is None:
            raise _no_time(uuid)
        self._high = int(uuid[16:19] + uuid[10:14], 16) << 32
        self._counter = (int(uuid[20:24], 16) >> 10) & 0xF
        self._tail = uuid[9:]

    def _turn(self, ticks: int) -> int:
        """Go to another second; return the ticks since its start."""
        seconds, rest = divmod(ticks + self._second - UNIX_EPOCH_TICKS, TICKS_PER_SECOND)
        moment = _EPOCH + timedelta(seconds=seconds)
        self._text = b'"' + moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0").encode()
        self._second = UNIX_EPOCH_TICKS + seconds * TICKS_PER_SECOND
        return rest


def _lows(text: bytes, tail: bytes, count: int) -> Sequence[int]:
    """Return the low bits of as many UUIDs as JSON strings, one after the other; empty if any
    doesn't end in `tail`.
    """
    heads = text.split(tail)
    if len(heads) != count + 1 or set(map(len, heads)) != {9, 0} or heads[-1]:
        return ()
    digits = b"".join(heads).replace(b'"', b"").decode()
    if len(digits) != 8 * count:
        return ()
    try:
        lows = bytes.fromhex(digits)
    except ValueError:
        return ()
    return struct.unpack(f">{count}I", lows) if len(lows) == 4 * count else ()


def _no_time(uuid: bytes) -> DataError:
    return DataError(f"can't tell when a document was published: its uuid is {shortened(uuid)}")


class Stamper:
    """Gives each document the producer's next UUID; `clock` is the last time given out.

    Times follow the clock of the machine but never repeat or go back, also over restarts if `clock`
    is what the last commit recorded.
    """

    def __init__(self, producer: bytes, clock: int = 0) -> None:
        self.clock = clock
        self._producer = producer

    def stamped(self, documents: Sequence[bytes], now: datetime) -> bytes:
        """Return the documents with `_meta.uuid` set, in order, each as a line.

        Raises DataError for a document whose `_meta` isn't an object.
        """
        lines: list[bytes] = []
        for ticks, part in self._runs(documents, now):
            lows, tail = self._uuids(ticks, len(part))
            lines.append(_spliced_at_once(part, lows, tail) or _spliced(part, lows, tail))
        return b"".join(lines)

    def stamped_batch(self, batch: Batch, now: datetime) -> bytes:
        """Return a batch's documents as `stamped` does."""
        if not batch.is_plain:
            return self.stamped(batch.documents(), now)
        lines: list[bytes] = []
        for ticks, part in self._runs(batch.middles, now):
            lows, tail = self._uuids(ticks, len(part))
            lines.append(_plain(lows, tail, part, batch.closing))
        return b"".join(lines)

    def _uuids(self, ticks: int, count: int) -> tuple[list[bytes], bytes]:
        """Return how each of many UUIDs begins, and how all of them end, the quote included."""
        lows = array("I", range(ticks & 0xFFFFFFFF, (ticks & 0xFFFFFFFF) + count))
        if sys.byteorder == "little":
            lows.byteswap()
        digits = lows.tobytes().hex(" ", 4).encode().split()
        return digits, _tail(ticks >> 32, self._producer) + b'"'

    def _runs(
        self, documents: Sequence[bytes], now: datetime
    ) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Cut the documents where the high bits of their times change."""
        ticks = max(self.clock + 1, ticks_of(now))
        start = 0
        while start < len(documents):
            count = min(len(documents) - start, 0x1_0000_0000 - (ticks & 0xFFFFFFFF))
            yield ticks, documents[start : start + count]
            start += count
            ticks += count
            self.clock = ticks - 1


def _spliced_at_once(documents: Sequence[bytes], low: Sequence[bytes], tail: bytes) -> bytes:
    """Splice into documents that all begin with `_meta` and have no UUID; empty if any doesn't.

    A document has no line breaks, so the beginnings of lines are those of documents.
    """
    text = b"\n".join((b"", *documents))
    if not are_plain(PLAIN_OPENING, text):
        return b""
    rests = text.split(b"\n" + PLAIN_OPENING)
    if len(rests) != len(documents) + 1 or rests[0]:
        return b""
    return _plain(low, tail, rests[1:], b"")


def _plain(low: Sequence[bytes], tail: bytes, middles: Sequence[bytes], closing: bytes) -> bytes:
    pieces = [PLAIN_OPENING + b'uuid":"', b"", tail + b',"', b"", closing + b"\n"] * len(middles)
    pieces[1::5] = low
    pieces[3::5] = middles
    return b"".join(pieces)


def _spliced(documents: Sequence[bytes], lows: Sequence[bytes], tail: bytes) -> bytes:
    spliced: list[bytes] = []
    add = spliced.append
    for low, document in zip(lows, documents, strict=True):
        escaped = b"\\u00" in document  # A name may be spelt in another way.
        if escaped or b'"uuid"' in document:
            add(_rebuilt(document, low + tail))
        elif document.startswith(PLAIN_OPENING):
            add(b'{"_meta":{"uuid":"%b%b,%b' % (low, tail, document[10:]))
        elif b'"_meta"' not in document and document[:2] == b'{"':
            add(b'{"_meta":{"uuid":"%b%b},%b' % (low, tail, document[1:]))
        else:
            add(_inserted(document, low + tail))
    add(b"")
    return b"\n".join(spliced)


def _inserted(document: bytes, uuid: bytes) -> bytes:
    """Insert into a `_meta` that stands elsewhere, if there is only one place it can be."""
    at = document.find(_NAMED_META) + len(_NAMED_META)
    sure = (
        at >= len(_NAMED_META)
        and document[at : at + 1] == b'"'
        and b"\\" not in document
        and document.count(b'"_meta"') == 1
    )
    try:
        if sure and _top(document).meta is not ABSENT:
            return b'%b"uuid":"%b,%b' % (document[:at], uuid, document[at:])
    except msgspec.MsgspecError:
        pass  # The rebuild tells.
    return _rebuilt(document, uuid)


def _rebuilt(document: bytes, uuid: bytes) -> bytes:
    try:
        properties = _properties(document)
        meta = _properties(properties.get("_meta", b"{}"))
    except msgspec.MsgspecError as error:
        raise DataError(
            f"can't stamp document {shortened(document)}: it isn't an object whose _meta is one"
        ) from error
    meta.pop("uuid", None)
    stamped = {"uuid": msgspec.Raw(b'"' + uuid), **meta}
    return _encode({"_meta": stamped, **{k: v for k, v in properties.items() if k != "_meta"}})
