"""What a format gives that is read by seeking in its file: its records, and what they look like."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from estuary_cdk.kits.files.options import ParserOptions


@dataclass(frozen=True, slots=True)
class Table:
    """Records in the file's order, some at a time (`formats.Parser` says what a record is).

    `schema` is the sourced schema of their documents, None where the file tells none. Taking
    batches may raise DataError.
    """

    batches: Iterator[list[bytes]]
    schema: bytes | None = None


TableReader = Callable[[str, BinaryIO, ParserOptions], Table]
"""Opens a table: the file's name, its content, and options. Raises DataError."""
