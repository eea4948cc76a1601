"""Verified JSON objects as records: the bytes after the opening brace, on one line.

Number spellings, key order, escapes and blanks stay as they are. Line breaks between tokens are
the exception: a record that has any loses its blanks between tokens, because documents travel one
per line.
"""

import msgspec

from estuary_cdk.errors import DataError, shortened

VERIFY = msgspec.json.Decoder(msgspec.Raw).decode
BLANKS = b" \t\r\n"


def record(value: bytes) -> bytes:
    """Return the record of `value`, which begins and ends without blanks.

    Raises ValueError, with the reason, for what isn't one JSON object.
    """
    if not value.startswith(b"{"):
        raise ValueError(f"a record must be an object, found {_beginning(value)}")
    try:
        VERIFY(value)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("its arrays or objects are nested too deep") from error
    if b"\n" in value or b"\r" in value:
        value = msgspec.json.format(value, indent=-1)
    return value[1:].lstrip(BLANKS)


def _beginning(value: bytes) -> str:
    return shortened(value[:40].decode("utf-8", "replace"))


def unreadable(file: str, line: int, column: int, reason: str) -> DataError:
    """Return the error for a place in `file`; lines and columns count from 1."""
    return DataError(
        f"can't read {file!r} line {line}, column {column}: {reason}",
        file=file,
        line=line,
        column=column,
    )
