"""Transactions that the server sends before they are committed: kept aside until it says how.

A transaction that outgrows the server's `logical_decoding_work_mem` comes in pieces between others,
each change with the transaction's ID or that of a part of it (a savepoint's), and any part may be
aborted by itself. What came is kept in a file of its own, which has no name and so is gone with
the process. Once the transaction commits it is handed over as if it had come as one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from tempfile import SpooledTemporaryFile
from typing import Final

MEMORY_BYTES_MAX: Final = 1 << 20
"""Of each transaction; the rest is on disk."""
SLICE_BYTES: Final = 1 << 20

_HEAD: Final = Struct(">II")
_UINT32: Final = Struct(">I").unpack_from
_COMMIT: Final = Struct(">IBQQq").unpack_from
_BEGUN: Final = Struct(">cQqI").pack
_COMMITTED: Final = Struct(">cBQQq").pack
_ID_BYTES: Final = 4

_STARTED, _STOPPED, _DONE, _ABORTED = b"SEcA"
_SPECIAL: Final = frozenset(b"SEcA")
_CHANGES: Final = frozenset(b"IUDT")
_RELATION: Final = ord("R")


@dataclass(slots=True)
class Kept:
    """What came of a transaction so far, and which parts of it are aborted."""

    file: "SpooledTemporaryFile[bytes]" = field(
        default_factory=lambda: SpooledTemporaryFile(max_size=MEMORY_BYTES_MAX)  # noqa: SIM115
    )
    aborted: set[int] = field(default_factory=set)


class InProgress:
    """Sorts messages; each has its data at an offset, behind a head that says where it is."""

    def __init__(self, data_at: int) -> None:
        self._data_at = data_at
        self._kept: dict[int, Kept] = {}
        self._current: Kept | None = None

    def concerned(self, messages: Sequence[bytes]) -> bool:
        """Tell whether messages hold anything but whole transactions."""
        at = self._data_at
        return self._current is not None or not _SPECIAL.isdisjoint(
            [message[at] for message in messages]
        )

    def settled(self, messages: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Yield messages of committed transactions, in order and in slices of bounded size."""
        at = self._data_at
        plain: list[bytes] = []
        for message in messages:
            kind = message[at]
            if kind == _DONE:
                yield plain
                plain = []
                yield from self._committed(message)
            elif kind == _STARTED:
                [xid] = _UINT32(message, at + 1)
                if xid not in self._kept:
                    self._kept[xid] = Kept()
                self._current = self._kept[xid]
            elif kind == _STOPPED:
                self._current = None
            elif kind == _ABORTED:
                self._abort(message)
            elif self._current is not None:
                self._keep(self._current, kind, message)
            else:
                plain.append(message)
        yield plain

    def _keep(self, kept: Kept, kind: int, message: bytes) -> None:
        if kind in _CHANGES or kind == _RELATION:
            at = self._data_at + 1
            # A table's description counts for the whole transaction, whatever becomes of the part.
            part = 0 if kind == _RELATION else _UINT32(message, at)[0]
            body = message[:at] + message[at + _ID_BYTES :]
            kept.file.write(_HEAD.pack(part, len(body)) + body)

    def _abort(self, message: bytes) -> None:
        whole, part = _HEAD.unpack_from(message, self._data_at + 1)
        if whole == part:
            kept = self._kept.pop(whole, None)
            if kept is not None:
                kept.file.close()
        elif whole in self._kept:
            self._kept[whole].aborted.add(part)

    def _committed(self, message: bytes) -> Iterator[Sequence[bytes]]:
        at = self._data_at + 1
        xid, flags, final, end, moment = _COMMIT(message, at)
        kept = self._kept.pop(xid, None) or Kept()
        head = message[: self._data_at]
        some = [head + _BEGUN(b"B", final, moment, xid)]
        size = 0
        with kept.file as file:
            file.seek(0)
            while record := file.read(_HEAD.size):
                part, length = _HEAD.unpack(record)
                body = file.read(length)
                if part in kept.aborted:
                    continue
                some.append(body)
                size += length
                if size >= SLICE_BYTES:
                    yield some
                    some, size = [], 0
        some.append(head + _COMMITTED(b"C", flags, final, end, moment))
        yield some

    def close(self) -> None:
        """Forget what is kept."""
        for kept in self._kept.values():
            kept.file.close()
        self._kept.clear()
