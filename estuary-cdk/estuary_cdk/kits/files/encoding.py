"""Bytes in any character encoding to text or UTF-8, in blocks cut anywhere."""

import codecs

from estuary_cdk.errors import ConfigError, DataError

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of(head: bytes, option: str | None, charset: str | None) -> str | None:
    """Return the encoding that a file which begins with `head` is said to have, None if it isn't.

    The user's `option` decides, then a byte order mark, then the content type's `charset`. An
    option that Python doesn't know is a ConfigError; such a charset is a DataError.
    """
    if option is not None:
        return _known(option, ConfigError("can't use encoding " + repr(option) + ": unknown name"))
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    if charset:
        unknown = f"can't use the content type's charset {charset!r}: unknown name"
        return _known(charset, DataError(unknown, hint="set the encoding in the format's options"))
    return None


def _known(name: str, error: ConfigError | DataError) -> str:
    try:
        b"x".decode(name, "ignore")  # which only encodings of text can
        return codecs.lookup(name).name
    except (LookupError, UnicodeError) as unknown:
        raise error from unknown


class TextDecoder:
    """Decode a file block by block, without its byte order mark.

    A byte sequence the encoding doesn't allow, or a file that ends inside a character, is a
    DataError that names file, line and byte.
    """

    def __init__(self, file: str, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._bytes = 0
        self._lines = 1
        self._at_start = True

    def feed(self, block: bytes) -> str:
        return self._decode(block, last=False)

    def finish(self) -> str:
        return self._decode(b"", last=True)

    def _decode(self, block: bytes, *, last: bool) -> str:
        try:
            text = self._decoder.decode(block, last)
        except UnicodeDecodeError as error:
            raise self._undecodable(error, len(block)) from error
        self._bytes += len(block)
        self._lines += text.count("\n")
        if self._at_start and text:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        return text

    def _undecodable(self, error: UnicodeDecodeError, block_bytes: int) -> DataError:
        held_back = len(error.object) - block_bytes
        byte = self._bytes - held_back + error.start
        before = error.object[: error.start].decode(self._encoding, "replace")
        line = self._lines + before.count("\n")
        return DataError(
            f"can't decode {self._file!r}: byte 0x{error.object[error.start]:02x} in line {line} "
            f"(byte {byte} of the file) isn't {self._encoding}: {error.reason}",
            hint="set the encoding in the format's options",
            file=self._file,
            line=line,
            byte=byte,
        )


class Utf8:
    """Turn a file of any encoding into UTF-8; bytes that are UTF-8 already are only checked."""

    def __init__(self, file: str, encoding: str) -> None:
        self._decoder = TextDecoder(file, encoding)
        self._verbatim = encoding == "utf-8"
        self._at_start = bytearray()
        self._started = False

    def feed(self, block: bytes) -> bytes:
        text = self._decoder.feed(block)
        return self._without_mark(block) if self._verbatim else text.encode()

    def finish(self) -> bytes:
        text = self._decoder.finish()
        return self._without_mark(b"", last=True) if self._verbatim else text.encode()

    def _without_mark(self, block: bytes, *, last: bool = False) -> bytes:
        if self._started:
            return block
        self._at_start += block
        if len(self._at_start) < len(codecs.BOM_UTF8) and not last:
            return b""
        self._started = True
        return bytes(self._at_start).removeprefix(codecs.BOM_UTF8)
