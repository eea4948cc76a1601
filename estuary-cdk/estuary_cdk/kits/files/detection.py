"""What a file is, from its name, its content type and its first bytes.

Compression is told by the first bytes alone: what a name or a header promises is often undone on
the way. The format is told by the name, without the extension of a compression, then by the content
type, then by the first bytes. Whatever the user set comes before all of this.
"""

from dataclasses import dataclass
from email.message import Message
from pathlib import PurePosixPath

from estuary_cdk.errors import DataError

HEAD_BYTES = 1024
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
}
COMPRESSION_SUFFIXES = {
    ".gz", ".gzip", ".zip", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".sz", ".snappy"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hints:
    """What a store says about a file; the kit never depends on it."""

    content_type: str | None = None

    @property
    def media_type(self) -> str:
        return self._message().get_content_type() if self.content_type else ""

    @property
    def charset(self) -> str | None:
        charset = self._message().get_param("charset") if self.content_type else None
        return charset if isinstance(charset, str) else None

    def _message(self) -> Message:
        message = Message()
        message["Content-Type"] = self.content_type or ""
        return message


def compression_of(head: bytes) -> str:
    """Return the name of the compression of a file that begins with `head`, or "none"."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "none")


def suffix_of(file: str) -> str:
    """Return the last extension of a file's name in lower case, those of compressions left out."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(file).suffixes]
    while suffixes and suffixes[-1] in COMPRESSION_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def text_format_of(file: str, head: bytes) -> str:
    """Return the name of the format of a text file that begins with `head`, by how it begins.

    Raises DataError where nothing tells.
    """
    start = head.decode("utf-8", "ignore").lstrip("\ufeff").lstrip()
    if start.startswith(("{", "[")):
        return "json"
    if start.startswith("<") or (b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))):
        raise DataError(
            f"can't tell the format of {file!r}: neither its name nor its content type says it, "
            f"and it begins with {head[:20]!r}",
            hint="set format",
            file=file,
        )
    return "csv"
