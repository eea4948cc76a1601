"""msgspec types made at run time, kept for as long as the process lives.

They are never freed: in CPython 3.11, freeing a msgspec struct type takes away a reference of
`None` that it doesn't own, and a process that frees many crashes. A limit bounds what is kept.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

FIELDS_MAX = 200_000  # about half a kilobyte each

_kept: list[type[msgspec.Struct]] = []
_fields_kept = 0


class TooManyStructs(Exception):  # noqa: N818 - whoever asks has a slower way
    """The limit is reached; the same work must be done without a generated type."""


def struct(fields: Sequence[tuple[str, Any, Any]], *, closed: bool = False) -> type[msgspec.Struct]:
    """Return a new struct type; `closed` refuses other properties. Raises TooManyStructs."""
    global _fields_kept  # noqa: PLW0603 - the limit is the process's
    if _fields_kept + len(fields) + 1 > FIELDS_MAX:
        raise TooManyStructs
    made = msgspec.defstruct(
        "Generated", fields, forbid_unknown_fields=closed, gc=False, frozen=True
    )
    _fields_kept += len(fields) + 1
    _kept.append(made)
    return made
