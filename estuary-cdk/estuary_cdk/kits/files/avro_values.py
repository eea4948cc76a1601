"""Avro schemas: what their values become in JSON, and the JSON schema of that.

Values are read without Avro's logical types, and become what source-postgres makes of their like:
decimals strings with all digits, moments in UTC (local ones are taken as UTC), what is outside
years 1 to 9999 the nearest end, durations in ISO 8601, bytes base64, NaN and infinities strings.

A converter turns one decoded value into one that msgspec encodes; None stands for one that changes
nothing. Members of a record are converted in place.
"""

import math
import struct
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from estuary_cdk.kits.files.durations import iso_duration
from estuary_cdk.kits.files.names import RESERVED_NAME, unique_names
from estuary_cdk.kits.files.schemas import Schema, is_open

Converter = Callable[[Any], Any]
Names = Mapping[str, Any]

LOGICAL: Final = "logical"
EPOCH: Final = date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (date.min - EPOCH).days, (date.max - EPOCH).days
DAY_S: Final = 86_400
TICKS: Final = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}
BASE64: Final[Schema] = {"type": "string", "contentEncoding": "base64"}
SCHEMAS: Final[dict[str, Schema]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": ["number", "string"], "format": "number"},
    "double": {"type": ["number", "string"], "format": "number"},
    "string": {"type": "string"},
    "bytes": BASE64,
    "fixed": BASE64,
}


class AmbiguousUnion(ValueError):  # noqa: N818 - a state of affairs
    """The branches of a union can't be told apart by their values."""


def without_logical_types(schema: Any) -> Any:
    """Return a schema whose values are read as what they are stored as; the names are kept."""
    match schema:
        case dict():
            plain = {key: without_logical_types(value) for key, value in schema.items()}
            if isinstance(plain.get("logicalType"), str):
                plain[LOGICAL] = plain.pop("logicalType")
            return plain
        case list():
            return [without_logical_types(branch) for branch in schema]
        case _:
            return schema


def record_converter(schema: Any, names: Names) -> Converter | None:
    """Return what turns a record of this schema into a document's members."""
    convert = converter(schema, names, {})
    fields = [field["name"] for field in schema["fields"]]
    wanted = unique_names(fields, reserved=(RESERVED_NAME,))
    if wanted == tuple(fields):
        return convert

    def renamed(record: dict[str, Any]) -> dict[str, Any]:
        converted = record if convert is None else convert(record)
        return dict(zip(wanted, converted.values(), strict=True))

    return renamed


def converter(schema: Any, names: Names, known: dict[str, Converter]) -> Converter | None:
    """Return a schema's converter; `known` are those of the records it stands in, by name."""
    if isinstance(schema, str) and schema in names:
        if schema in known:
            return known[schema]
        schema = names[schema]
    if isinstance(schema, list):
        return _union(schema, names, known)
    kind = _kind(schema)
    logical = schema.get(LOGICAL) if isinstance(schema, dict) else None
    special = _LOGICAL.get((kind, logical or ""))
    if special is not None and (made := special(schema)) is not None:
        return made
    match kind:
        case "record" | "error":
            return _record(schema, names, known)
        case "array":
            return _each(converter(schema["items"], names, known))
        case "map":
            return _each_member(converter(schema["values"], names, known))
        case "float":
            return _single
        case "double":
            return _double
        case _:
            return None


def _kind(schema: Any) -> str:
    while isinstance(schema, dict):
        schema = schema["type"]
    return "union" if isinstance(schema, list) else str(schema)


def _record(schema: Any, names: Names, known: dict[str, Converter]) -> Converter | None:
    members: list[tuple[str, Converter]] = []

    def convert(record: dict[str, Any]) -> dict[str, Any]:
        for name, change in members:
            record[name] = change(record[name])
        return record

    inner = {**known, schema["name"]: convert}
    for field in schema["fields"]:
        change = converter(field["type"], names, inner)
        if change is not None:
            members.append((field["name"], change))
    return convert if members else None


def _each(change: Converter | None) -> Converter | None:
    return None if change is None else lambda values: [change(value) for value in values]


def _each_member(change: Converter | None) -> Converter | None:
    if change is None:
        return None
    return lambda members: {name: change(value) for name, value in members.items()}


def _union(schema: list[Any], names: Names, known: dict[str, Converter]) -> Converter | None:
    branches = [names.get(each, each) if isinstance(each, str) else each for each in schema]
    changes = [
        (branch, converter(each, names, known))
        for each, branch in zip(schema, branches, strict=True)
        if _kind(branch) != "null"
    ]
    if all(change is None for _, change in changes):
        return None
    if len(changes) == 1:
        [(_, only)] = changes
        assert only is not None
        return lambda value: None if value is None else only(value)
    tests = [(_test(branch), change) for branch, change in changes]
    _refuse_ambiguous([(_kind(branch), change) for branch, change in changes])

    def convert(value: Any) -> Any:
        for fits, change in tests:
            if fits(value):
                return value if change is None else change(value)
        return value

    return convert


def _refuse_ambiguous(changes: list[tuple[str, Converter | None]]) -> None:
    for alike in ({"int", "long"}, {"float", "double"}, {"bytes", "fixed"}):
        found = [change for kind, change in changes if kind in alike]
        if len(found) > 1 and any(change is not found[0] for change in found):
            raise AmbiguousUnion(f"a union has several branches of {' and '.join(sorted(alike))}")


def _test(branch: Any) -> Callable[[Any], bool]:
    """Return what tells whether a value is of this branch, in a union that isn't ambiguous."""
    kind = _kind(branch)
    if kind in {"record", "error"}:
        fields = {field["name"] for field in branch["fields"]}
        return lambda value: isinstance(value, dict) and value.keys() == fields
    python: Any = {
        "boolean": bool, "int": int, "long": int, "float": float, "double": float,
        "bytes": bytes, "fixed": bytes, "array": list, "map": dict,
    }.get(kind, str)  # fmt: skip
    return lambda value: type(value) is python


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124


def _single(value: float) -> float | str:
    """Return the double with the shortest spelling that is this number in single precision."""
    if not math.isfinite(value):
        return _double(value)
    stored = struct.pack("<f", value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == stored:
            return short
    return float(f"{value:.9g}")


def _decimal(scale: int, value: bytes) -> str:
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def _date(days: int) -> str:
    return (EPOCH + timedelta(min(max(days, FIRST_DAY), LAST_DAY))).isoformat()


def _moment(ticks: int, value: int) -> str:
    days, rest = divmod(value, DAY_S * ticks)
    if days < FIRST_DAY:
        return "0001-01-01T00:00:00Z"
    if days > LAST_DAY:
        return "9999-12-31T23:59:59Z"
    return f"{_date(days)}T{_time(ticks, rest)}"


def _time(ticks: int, value: int) -> str:
    seconds, fraction = divmod(value, ticks)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours:02}:{minutes:02}:{seconds:02}"
    if fraction:
        text += f".{fraction:0{len(str(ticks)) - 1}}".rstrip("0")
    return text + "Z"


def _duration(value: bytes) -> str:
    months, days, milliseconds = struct.unpack("<III", value)
    return iso_duration(months, days, milliseconds * 1_000_000)


def _decimals(schema: Any) -> Converter | None:
    scale = schema.get("scale", 0)
    return partial(_decimal, scale) if isinstance(scale, int) and scale >= 0 else None


def _sized(size: int, change: Converter) -> Callable[[Any], Converter | None]:
    return lambda schema: change if schema.get("size") == size else None


def _always(change: Converter) -> Callable[[Any], Converter | None]:
    return lambda _: change


_MOMENTS: Final = {
    ("long", f"{prefix}timestamp-{unit}"): _always(partial(_moment, ticks))
    for prefix in ("", "local-")
    for unit, ticks in TICKS.items()
}
_LOGICAL: Final[dict[tuple[str, str], Callable[[Any], Converter | None]]] = {
    ("bytes", "decimal"): _decimals,
    ("fixed", "decimal"): _decimals,
    ("int", "date"): _always(_date),
    ("int", "time-millis"): _always(partial(_time, TICKS["millis"])),
    ("long", "time-micros"): _always(partial(_time, TICKS["micros"])),
    ("fixed", "uuid"): _sized(16, lambda value: str(UUID(bytes=value))),
    ("fixed", "duration"): _sized(12, _duration),
    **_MOMENTS,
}
_LOGICAL_SCHEMAS: Final[dict[tuple[str, str], Schema]] = {
    ("bytes", "decimal"): {"type": "string", "format": "number"},
    ("fixed", "decimal"): {"type": "string", "format": "number"},
    ("int", "date"): {"type": "string", "format": "date"},
    ("int", "time-millis"): {"type": "string", "format": "time"},
    ("long", "time-micros"): {"type": "string", "format": "time"},
    ("string", "uuid"): {"type": "string", "format": "uuid"},
    ("fixed", "uuid"): {"type": "string", "format": "uuid"},
    ("fixed", "duration"): {"type": "string", "format": "duration"},
    **{moment: {"type": "string", "format": "date-time"} for moment in _MOMENTS},
}


def record_schema(schema: Any, names: Names) -> dict[str, Schema]:
    """Return the JSON schemas of a record's fields, without nulls.

    Fields that leave open what may stand in them, such as maps, aren't among them.
    """
    fields = schema["fields"]
    members = unique_names([field["name"] for field in fields], reserved=(RESERVED_NAME,))
    found = {}
    for name, field in zip(members, fields, strict=True):
        kind = field["type"]
        if isinstance(kind, list):
            kind = [branch for branch in kind if branch != "null"]
        each = _schema(kind, names, (schema["name"],))
        if not is_open(each):
            found[name] = each
    return found


def _schema(schema: Any, names: Names, inside: tuple[str, ...]) -> Schema:
    if isinstance(schema, str) and schema in names:
        schema = names[schema]
    if isinstance(schema, list):
        return _any_of([_schema(branch, names, inside) for branch in schema])
    kind = _kind(schema)
    if kind in {"record", "error"}:
        if schema["name"] in inside:
            return {}
        inside = (*inside, schema["name"])
        members = unique_names([field["name"] for field in schema["fields"]])
        fields = zip(members, schema["fields"], strict=True)
        return {
            "type": "object",
            "properties": {name: _schema(each["type"], names, inside) for name, each in fields},
            "required": list(members),
            "additionalProperties": False,
        }
    if kind == "enum":
        return {"type": "string", "enum": list(schema["symbols"])}
    if kind == "array":
        return {"type": "array", "items": _schema(schema["items"], names, inside)}
    logical = schema.get(LOGICAL, "") if isinstance(schema, dict) else ""
    if converter(schema, names, {}) is None and logical != "uuid":
        logical = ""
    return _LOGICAL_SCHEMAS.get((kind, logical)) or SCHEMAS.get(kind, {})


def _any_of(branches: list[Schema]) -> Schema:
    """Return one schema for all branches; an open one where simple types can't say it."""
    if not branches or any("type" not in branch for branch in branches):
        return {}
    types = list(dict.fromkeys(kind for branch in branches for kind in _types(branch)))
    said = [branch for branch in branches if len(branch) > 1]
    if len(said) > 1:
        return {} if {"object", "array"} & set(types) else {"type": types}
    merged = {**(said[0] if said else {}), "type": types[0] if len(types) == 1 else types}
    if "enum" in merged and len(types) > 1:
        del merged["enum"]
    return merged


def _types(schema: Schema) -> list[str]:
    kinds = schema["type"]
    return [kinds] if isinstance(kinds, str) else list(kinds)
