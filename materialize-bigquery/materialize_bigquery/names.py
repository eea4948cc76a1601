"""What things are called in BigQuery: tables, columns, and what is staged.

A column's name has letters and digits of any script, underscores and dashes, a table's those of
ASCII; whatever else a name has becomes an underscore. Case doesn't tell columns apart. A name that
is too long keeps its beginning and gets a hash of the whole.
"""

import hashlib
import re
from typing import Final

COLUMN_CHARS_MAX: Final = 300
TABLE_CHARS_MAX: Final = 1024
APPLIED: Final = "flow_applied_v1"
STAGED_PREFIX: Final = "flow_staged_"
_HASH_DIGITS: Final = 8
_ODD: Final = re.compile(r"[^\w-]")
_ODD_IN_TABLES: Final = re.compile(r"[^\w-]", re.ASCII)
# Names that the service keeps to itself.
_RESERVED: Final = re.compile(
    r"(_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER|_CHANGE_)", re.IGNORECASE
)


def digest(text: str, digits: int = _HASH_DIGITS) -> str:
    """Return so many hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:digits]


def column_name(name: str) -> str:
    """Return a field's name as a column can have it; names that are too long stay different."""
    folded = _ODD.sub("_", name) or "_"
    if not re.match(r"[^\W\d]", folded):
        folded = f"_{folded}"
    if _RESERVED.match(folded):
        folded = f"f{folded}"
    if len(folded) <= COLUMN_CHARS_MAX:
        return folded
    return f"{folded[: COLUMN_CHARS_MAX - _HASH_DIGITS - 1]}_{digest(name)}"


def table_name(name: str) -> str:
    """Return the name of a table as the service can have it."""
    folded = _ODD_IN_TABLES.sub("_", name)
    if len(folded) <= TABLE_CHARS_MAX:
        return folded
    return f"{folded[: TABLE_CHARS_MAX - _HASH_DIGITS - 1]}_{digest(name)}"


def staged_prefix(task: str, shard_range: str, state_key: str) -> str:
    """Return how the names begin of all that a shard stages for a binding."""
    return f"{STAGED_PREFIX}{digest(task)}_{digest(state_key)}_{shard_range.replace('-', '_')}_"


def is_identifier(name: str) -> bool:
    """Tell whether a name is what an identifier in backquotes may be."""
    return bool(name) and "`" not in name and "\\" not in name
