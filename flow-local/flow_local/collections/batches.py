"""Documents on their way into a collection, some hundreds at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

PLAIN_OPENING: Final = b'{"_meta":{"'


@dataclass(frozen=True, slots=True)
class Batch:
    """Valid documents without line breaks: each is `opening`, its own middle, and `closing`.

    `size` is about how many bytes they have. `parts` are values that are distinct only where the
    documents' keys are, one for each document, or None. `is_plain` says that they open as a
    `Stamper` likes it best: with PLAIN_OPENING, and without a UUID.
    """

    middles: Sequence[bytes]
    size: int
    opening: bytes = b""
    closing: bytes = b""
    parts: Sequence[object] | None = None
    is_plain: bool = False

    def __len__(self) -> int:
        return len(self.middles)

    def cut(self, size: int) -> Iterator["Batch"]:
        """Yield the documents in order, in batches of about that many bytes or fewer."""
        if self.size <= size:
            yield self
            return
        stride = max(1, len(self) * size // self.size)
        for start in range(0, len(self), stride):
            middles = self.middles[start : start + stride]
            yield replace(self, middles=middles, size=size, parts=None)

    def documents(self) -> Sequence[bytes]:
        """Return the documents."""
        opening, closing = self.opening, self.closing
        if not opening and not closing:
            return self.middles
        return [opening + middle + closing for middle in self.middles]


def are_plain(opening: bytes, text: bytes) -> bool:
    """Tell of documents whether they are plain; `text` is all of theirs."""
    if opening != PLAIN_OPENING or (b"\\" in text and b"\\u00" in text):
        return False
    return text.rfind(b'"uuid"') < 0  # Quicker than any search forward.
