"""Which encoding a text has that nobody tells the encoding of.

The first mebibyte decides. It is UTF-8 if it can be, and also where most of what isn't ASCII is:
then the file is damaged, or a mixture, which no other encoding would mend. Zeros in every other
byte are UTF-16. Where few bytes aren't ASCII, it is windows-1252, which most text of single odd
bytes is; where many are, what their frequencies resemble most.
"""

import codecs
import re
from typing import Any, Final

from estuary_cdk.kits.files.encoding import TextDecoder
from estuary_cdk.kits.files.libraries import library

SAMPLE_BYTES: Final = 1 << 20
GUESS_BYTES: Final = 1 << 16
ZEROS_MIN: Final = 0.3
DENSE: Final = 0.1
ODD: Final = re.compile(rb"[\x80-\xff]+")
CHARACTERS: Final = re.compile(
    rb"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})+"
)


def guessed_encoding(sample: bytes) -> str:
    """Return the encoding of a text that begins with `sample`, by a rule that never changes."""
    if _is_utf_8(sample):
        return "utf-8"
    zeros = [sample[start::2].count(0) / max(len(sample) // 2, 1) for start in (0, 1)]
    if max(zeros) > ZEROS_MIN and min(zeros) < ZEROS_MIN / 10:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    odd = sum(map(len, ODD.findall(sample)))
    if 0 in sample or 2 * sum(map(len, CHARACTERS.findall(sample))) > odd:
        return "utf-8"  # whose decoder says where it isn't
    if odd > DENSE * len(sample):
        normalizer: Any = library("charset_normalizer", "text of unknown encoding")
        best = normalizer.from_bytes(sample[:GUESS_BYTES]).best()
        if best is not None and best.encoding != "ascii":
            return codecs.lookup(best.encoding).name
    return "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", sample) else "cp1252"


def _is_utf_8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


class GuessedText:
    """Decodes a file as `TextDecoder` does, in the encoding that its beginning is guessed to be.

    `encoding` is what it was guessed to be, None as long as it isn't known.
    """

    def __init__(self, file: str) -> None:
        self.encoding: str | None = None
        self._file = file
        self._decoder: TextDecoder | None = None
        self._sample = bytearray()

    def feed(self, block: bytes) -> str:
        if self._decoder is not None:
            return self._decoder.feed(block)
        self._sample += block
        return self._decided().feed(self._taken()) if len(self._sample) >= SAMPLE_BYTES else ""

    def finish(self) -> str:
        if self._decoder is not None:
            return self._decoder.finish()
        decoder = self._decided()
        return decoder.feed(self._taken()) + decoder.finish()

    def _decided(self) -> TextDecoder:
        self.encoding = guessed_encoding(bytes(self._sample[:SAMPLE_BYTES]))
        self._decoder = TextDecoder(self._file, self.encoding)
        return self._decoder

    def _taken(self) -> bytes:
        taken = bytes(self._sample)
        self._sample.clear()
        return taken
