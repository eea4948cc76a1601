"""Columns that hold one of a few strings: types spelled `ENUM('a','b')`, whatever a database has.

That spelling is how a plan compares such a type with another; a database that has enumerations
under names of their own puts the name in when it makes a statement. A column holds another's
enumeration when it has all its labels, in any order, and is extended by those it lacks. Labels
are never taken away.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from estuary_cdk.kits.sql.flattening import Flat, Kind, field_config, flat
from estuary_cdk.materialize.bindings import Field

ENUM: Final = "ENUM"

_LABEL: Final = re.compile(r"'((?:[^']|'')*)'")
_LABELS: Final = rf"{_LABEL.pattern}(?:,{_LABEL.pattern})*"
_SPELLED: Final = re.compile(rf"ENUM\((?:{_LABELS})?\)", re.IGNORECASE)


def spelled(labels: Sequence[str]) -> str:
    """Return the type of a column that holds one of `labels`."""
    quoted = ("'" + label.replace("'", "''") + "'" for label in labels)
    return f"ENUM({','.join(quoted)})"


def labels_of(sql: str) -> tuple[str, ...] | None:
    """Return the labels of a type, None for one that isn't an enumeration."""
    if _SPELLED.fullmatch(sql) is None:
        return None
    return tuple(label.replace("''", "'") for label in _LABEL.findall(sql))


def family(sql: str) -> str:
    """Return what migrations know a type by: enumerations are all `ENUM`, names are in capitals."""
    return ENUM if sql[:5].upper() == "ENUM(" else sql.upper()


def missing(existing: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted labels that aren't there, in their order."""
    return tuple(label for label in wanted if label not in existing)


def labels(field: Field) -> tuple[str, ...]:
    """Return the only strings that a plain string field can be, empty where it is open.

    A field with a format or an encoding has none: it has a type of its own.
    """
    if flat(field) != Flat(Kind.STRING) or field_config(field).ignore_string_format:
        return ()
    values = [msgspec.json.decode(value) for value in field.inference.enum]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
