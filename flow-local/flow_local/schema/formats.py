"""String formats: which strings have one, as predicates and as regular expressions that prove it.

Flow adds to JSON Schema's formats `integer` and `number` (numbers written as strings, which may be
of any size) and `sha256`. `date-time` needs a zone and accepts lower-case `t` and `z`.
`duration` is any of ISO 8601, with the fractions, signs and gaps that intervals of SQL have.

A proof is a regular expression for `re.search` that only matches strings of the format; it may miss
rare ones (29 February, leap seconds), which the predicate then decides.
"""

import re
from collections.abc import Callable

import jsonschema_rs

_YEARS = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d\d\d)"
_DAYS = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
)
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_HEX = "[0-9a-fA-F]"
_COUNT = r"[+-]?\d+(?:[.,]\d+)?"
_CALENDAR = "".join(f"(?:{_COUNT}{unit})?" for unit in "YMWD")
_TIME = "".join(f"(?:{_COUNT}{unit})?" for unit in "HMS")

# `[0-9]` is spelled out: `\d` would match digits of every script.
PROOFS = {
    name: rf"\A(?:{pattern})\Z".replace(r"\d", "[0-9]")
    for name, pattern in {
        "integer": r"-?\d+",
        "number": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|NaN|-?Infinity",
        "date": rf"{_YEARS}-{_DAYS}",
        "date-time": rf"{_YEARS}-{_DAYS}[Tt]{_CLOCK}(?:\.\d+)?{_ZONE}",
        "duration": rf"[+-]?P(?=[T0-9+-]){_CALENDAR}(?:T(?=[0-9+-]){_TIME})?",
        "uuid": rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
        "sha256": rf"(?:sha256:)?{_HEX}{{64}}",
    }.items()
}

_integer = re.compile(r"[+-]?[0-9]+\Z", re.ASCII).match
_number = re.compile(
    r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z|NaN\Z|-?Infinity\Z", re.ASCII
).match
_duration = re.compile(PROOFS["duration"]).match
_sha256 = re.compile(PROOFS["sha256"]).match


def is_integer(text: str) -> bool:
    """Tell whether the text is a whole number of any size."""
    return _integer(text) is not None


def is_number(text: str) -> bool:
    """Tell whether the text is a decimal number of any size, NaN or an infinity."""
    return _number(text) is not None


def is_duration(text: str) -> bool:
    """Tell whether the text is a duration of ISO 8601, signs and fractions included."""
    return _duration(text) is not None


def is_sha256(text: str) -> bool:
    """Tell whether the text is a hexadecimal SHA-256 digest, with or without its prefix."""
    return _sha256(text) is not None


# What jsonschema_rs doesn't know by itself, or more narrowly.
CUSTOM: dict[str, Callable[[str], bool]] = {
    "duration": is_duration,
    "integer": is_integer,
    "number": is_number,
    "sha256": is_sha256,
}


def _standard(name: str) -> Callable[[str], bool]:
    validator = jsonschema_rs.Draft202012Validator(
        {"format": name}, validate_formats=True, ignore_unknown_formats=False
    )
    return validator.is_valid


# In the order in which inference tries them on the first string it sees at a location.
DETECTED: dict[str, Callable[[str], bool]] = {
    "integer": is_integer,
    "number": is_number,
    "date-time": _standard("date-time"),
    "date": _standard("date"),
    "uuid": _standard("uuid"),
    "sha256": is_sha256,
}


def predicate(name: str) -> Callable[[str], bool] | None:
    """Return the test for a format, or None where the format asserts nothing here."""
    known = DETECTED | CUSTOM
    if name in known:
        return known[name]
    try:
        return _standard(name)
    except (ValueError, jsonschema_rs.ValidationError):
        return None
