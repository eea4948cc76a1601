"""Columns of Arrow arrays as JSON text, by Arrow's own kernels: no Python runs per cell.

What a type becomes is what source-postgres makes of its like:

- integers of any width, and decimals as strings with all their digits: nothing is rounded;
- floats in their shortest spelling, NaN and the infinities as strings;
- moments in UTC as `2024-01-31T14:30:00.5Z`, those without a time zone taken as UTC; dates; times
  of day, likewise with a Z. What is outside years 1 to 9999 becomes the nearest end;
- durations and intervals as ISO 8601 durations, UUIDs as such, bytes as base64;
- lists as arrays, structs as objects, maps as objects whose keys are the text of theirs;
- a dictionary's values as themselves.

Only base64, durations and what is rarer still are made one by one.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from estuary_cdk.errors import shortened
from estuary_cdk.kits.files.durations import iso_duration
from estuary_cdk.kits.files.json_records import VERIFY
from estuary_cdk.kits.files.names import unique_names

Texts = Any
"""An Arrow array of strings, without nulls where not said otherwise."""

NULL: Final = "null"
PLAIN: Final = bytes(c for c in range(256) if c >= 0x20 and c not in b'"\\')
HEX_UUID: Final = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # of years 1 and 9999
FIRST_DAY, LAST_DAY = FIRST_SECOND // 86_400, LAST_SECOND // 86_400


def cells(array: Any) -> tuple[str, Texts]:
    """Return a column's JSON values, and what to put around each of them: a quote or nothing."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(array)
    if pa.types.is_dictionary(kind):
        if len(array.dictionary) > len(array):
            return cells(array.dictionary_decode())
        quote, values = cells(array.dictionary)
        return _nulls(quote, values.take(array.indices))
    for matches, insides in _QUOTED:
        if matches(kind):
            return _nulls('"', insides(array))
    for matches, texts_of in _BARE:
        if matches(kind):
            return "", texts_of(array).fill_null(NULL)
    return "", _one_by_one(array, lambda value: orjson.dumps(value, default=str).decode())


def texts(array: Any) -> Texts:
    """Return a column's JSON values."""
    quote, found = cells(array)
    return _around(quote, found, quote) if quote else found


def object_texts(names: Sequence[str], columns: Sequence[Any], opening: str, end: str) -> Texts:
    """Return rows as JSON objects; `opening` stands for their opening brace, `end` closes them."""
    parts: list[Any] = []
    before = opening
    for name, column in zip(names, columns, strict=True):
        quote, found = cells(column)
        parts += [f"{before}{orjson.dumps(name).decode()}:{quote}", found]
        before = f"{quote},"
    return pc.binary_join_element_wise(*parts, before.removesuffix(",") + end, "")


def _around(before: str, inside: Texts, after: str) -> Texts:
    return pc.binary_join_element_wise(before, inside, after, "")


def _nulls(quote: str, insides: Texts) -> tuple[str, Texts]:
    if not insides.null_count:
        return quote, insides
    quoted = _around(quote, insides, quote) if quote else insides
    return "", quoted.fill_null(NULL)


def _one_by_one(array: Any, text_of: Callable[[Any], str]) -> Texts:
    values = array.to_pylist()
    return pa.array([None if value is None else text_of(value) for value in values], pa.string())


def _escaped(array: Any) -> Texts:
    """Return the insides of JSON strings; ArrowInvalid where a value isn't UTF-8."""
    array = array.cast(pa.string())
    array.validate(full=True)
    special = set(value_bytes(array).translate(None, PLAIN))
    for code in sorted(special, key=lambda code: code != ord("\\")):
        plain = chr(code)
        array = pc.replace_substring(array, plain, orjson.dumps(plain).decode()[1:-1])
    return array


def value_bytes(strings: Any) -> bytes:
    """Return the bytes of all values of a string array, one after the other."""
    _, offsets, data = strings.buffers()
    if data is None:
        return b""
    ends = pa.Array.from_buffers(pa.int32(), len(strings) + 1, [None, offsets], 0, strings.offset)
    first, last = ends[0].as_py(), ends[-1].as_py()
    return bytes(data[first:last])


def _string(array: Any) -> Texts:
    return array.cast(pa.string())


def _float(array: Any) -> Texts:
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    found = array.cast(pa.string())
    finite = pc.is_finite(array)
    if pc.all(finite, skip_nulls=True, min_count=0).as_py():
        return found
    named = pc.case_when(
        pc.make_struct(pc.is_nan(array), pc.greater(array, 0)), '"NaN"', '"Infinity"', '"-Infinity"'
    )
    return pc.if_else(finite, found, named)


def _decimal(array: Any) -> Texts:
    found = array.cast(pa.string())
    scientific = pc.match_substring(found, "E")
    if not pc.any(scientific, min_count=0).as_py():
        return found
    scientific = scientific.fill_null(False)
    plain = _one_by_one(array.filter(scientific), lambda value: format(value, "f"))
    return pc.replace_with_mask(found, scientific, plain)


def _bytes(array: Any) -> Texts:
    return _one_by_one(array, lambda value: base64.b64encode(value).decode())


def _between(array: Any, low: int, high: int) -> Any:
    """Return integers with what is beyond the ends put at the nearest."""
    ends = pc.min_max(array).as_py()
    if ends["min"] is None or (ends["min"] >= low and ends["max"] <= high):
        return array
    bounded = pc.max_element_wise(array, pa.scalar(low, array.type), skip_nulls=False)
    return pc.min_element_wise(bounded, pa.scalar(high, array.type), skip_nulls=False)


def _date(array: Any) -> Texts:
    days = array.cast(pa.date32()).cast(pa.int32())
    return _between(days, FIRST_DAY, LAST_DAY).cast(pa.date32()).cast(pa.string())


def _moment(array: Any) -> Texts:
    unit = array.type.unit
    ticks = array.cast(pa.int64())
    if unit != "ns":  # whose range lies within
        low, high = FIRST_SECOND * UNITS[unit], LAST_SECOND * UNITS[unit]
        ticks = _between(ticks, low, high)
    found = _clock_text(ticks.cast(pa.timestamp(unit)), pa.timestamp("s"))
    return _around("", pc.utf8_replace_slice(found, 10, 11, "T"), "Z")


def _time(array: Any) -> Texts:
    return _around("", _clock_text(array, pa.time32("s")), "Z")


def _clock_text(array: Any, whole_seconds: Any) -> Texts:
    """Return Arrow's text of moments or times, without the zeros that end a fraction."""
    if array.type.unit == "s":
        return array.cast(pa.string())
    try:
        return array.cast(whole_seconds).cast(pa.string())
    except pa.ArrowInvalid:  # some have a fraction
        return pc.ascii_rtrim(pc.ascii_rtrim(array.cast(pa.string()), "0"), ".")


def _duration(array: Any) -> Texts:
    scale = UNITS["ns"] // UNITS[array.type.unit]
    return _one_by_one(array.cast(pa.int64()), lambda ticks: iso_duration(0, 0, ticks * scale))


def _interval(array: Any) -> Texts:
    return _one_by_one(array, lambda value: iso_duration(*value))


def _list(array: Any) -> Texts:
    return _only_valid(_around("[", _joined(array, texts(pc.list_flatten(array))), "]"), array)


def _joined(lists: Any, elements: Texts) -> Texts:
    """Return the elements of each list, which are given one list after the other, with commas."""
    lengths = pc.list_value_length(lists).cast(pa.int32()).fill_null(0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pc.binary_join(pa.ListArray.from_arrays(offsets, elements), ",")


def _struct(array: Any) -> Texts:
    names = unique_names([field.name for field in array.type])
    if not names:
        return _only_valid(pa.array(["{}"] * len(array), pa.string()), array)
    return _only_valid(object_texts(names, array.flatten(), "{", "}"), array)


def _map(array: Any) -> Texts:
    entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    lists = array.cast(pa.list_(entry))
    keys, values = pc.list_flatten(lists).flatten()
    quote, names = cells(keys)
    if not quote:  # a member's name is a string
        quoted = _around('"', _escaped(names), '"')
        names = pc.if_else(pc.starts_with(names, '"'), names, quoted)
    members = pc.binary_join_element_wise(quote, names, f"{quote}:", texts(values), "")
    return _only_valid(_around("{", _joined(lists, members), "}"), array)


def _only_valid(found: Texts, array: Any) -> Texts:
    if not array.null_count:
        return found
    return pc.if_else(array.is_valid(), found, pa.scalar(None, pa.string()))


def _extension(array: Any) -> tuple[str, Texts]:
    match array.type.extension_name:
        case "arrow.uuid":
            return _nulls('"', _uuid(array.storage))
        case "arrow.json":
            return "", _one_by_one(array.storage, _json).fill_null(NULL)
        case _:
            return cells(array.storage)


def _uuid(array: Any) -> Texts:
    start, count = 16 * array.offset, len(array)
    digits = bytes(array.buffers()[1])[start : start + 16 * count].hex().encode()
    offsets = pa.array(range(0, 32 * count + 1, 32), pa.int32())
    found = pa.StringArray.from_buffers(count, offsets.buffers()[1], pa.py_buffer(digits))
    parts = [pc.utf8_slice_codeunits(found, start, stop) for start, stop in HEX_UUID]
    return _only_valid(pc.binary_join_element_wise(*parts, "-"), array)


def _json(value: str) -> str:
    try:
        VERIFY(value)
    except msgspec.DecodeError as error:
        raise pa.ArrowInvalid(f"a JSON column holds {shortened(value, 80)}: {error}") from error
    return msgspec.json.format(value, indent=-1) if "\n" in value or "\r" in value else value


def _is(*kinds: str) -> Callable[[Any], bool]:
    tests = [getattr(pa.types, f"is_{kind}") for kind in kinds]
    return lambda kind: any(test(kind) for test in tests)


_QUOTED: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], Texts]], ...]] = (
    (_is("string", "large_string", "string_view"), _escaped),
    (_is("decimal"), _decimal),
    (_is("timestamp"), _moment),
    (_is("date"), _date),
    (_is("time"), _time),
    (_is("binary", "large_binary", "binary_view", "fixed_size_binary"), _bytes),
    (_is("duration"), _duration),
    (_is("interval"), _interval),
)
_BARE: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], Texts]], ...]] = (
    (_is("integer", "boolean", "null"), _string),
    (_is("floating"), _float),
    (_is("map"), _map),
    (_is("list", "large_list", "fixed_size_list", "list_view", "large_list_view"), _list),
    (_is("struct"), _struct),
    (_is("run_end_encoded"), lambda array: texts(pc.run_end_decode(array))),
)
