"""Values of every type, written and read back: by columns, and as documents made of them."""

import ipaddress
import itertools
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.errors import DataError
from estuary_cdk.materialize import Binding, Column, CreateTable, Field, Keys, Stores
from estuary_cdk.protocol.flow import Inference, StringInference
from estuary_cdk.testing.sql_endpoint import WHOLE
from materialize_postgres.config import Resource
from materialize_postgres.schema import connect
from materialize_postgres.transactor import open_transactor

counter = itertools.count()


def formatted(name: str, content_encoding: str = "", *types: str, **more: Any) -> Inference:
    string = StringInference(format=name, content_encoding=content_encoding)
    return Inference(types=sorted(types or ("string",)), string=string, exists="MAY", **more)


def plain(*types: str) -> Inference:
    return Inference(types=sorted(types), exists="MAY")


TYPES = {
    "integer": plain("integer"),
    "number": plain("number"),
    "boolean": plain("boolean"),
    "string": plain("string"),
    "array": plain("array"),
    "object": plain("object"),
    "mixed": plain("integer", "string", "object", "array", "boolean"),
    "digits": formatted("integer", "", "integer", "string"),
    "decimal": formatted("number"),
    "either": formatted("number", "", "number", "string"),
    "date": formatted("date"),
    "moment": formatted("date-time"),
    "time": formatted("time"),
    "duration": formatted("duration"),
    "ipv4": formatted("ipv4"),
    "ipv6": formatted("ipv6"),
    "uuid": formatted("uuid"),
    "macaddr": formatted("macaddr"),
    "bytes": formatted("", "base64"),
    "label": Inference(
        types=["string"], string=StringInference(), exists="MAY", enum=[Raw(b'"a"'), Raw(b'"\'"')]
    ),
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["null", "NULL", "\\N", "\\.", 'a"b', "a\\nb", "\\", "\n", "\r\n", "\t", ",", "\u0000", "\x01"]
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
offsets = st.sampled_from(["Z", "z", "+00:00", "-11:59", "+14:00", "+02:30", "+23:59", "-23:59"])
fractions = st.sampled_from(["", ".5", ".123456", ".000001", ".120"])
clocks = st.times().map(lambda each: each.strftime("%H:%M:%S"))
dates = st.dates().map(lambda each: each.isoformat()) | st.just("0000-02-29")
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=12).map(str)
parts = st.integers(0, 999)
durations = st.builds(
    "P{}Y{}M{}DT{}H{}M{}.5S".format, parts, parts, parts, parts, parts, parts
) | st.sampled_from(["P1W", "PT0S", "P1D", "PT36H", "P3Y6M", "PT0.000001S"])

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    "boolean": st.booleans(),
    "string": text,
    "array": st.lists(json, max_size=3),
    "object": st.dictionaries(text, json, max_size=3),
    "mixed": st.integers() | text | st.booleans() | st.lists(json, max_size=2),
    "digits": st.integers() | st.integers().map(str),
    "decimal": decimals | st.sampled_from(["NaN", "1e3", "-0.10"]),
    "either": st.integers() | decimals,
    "date": dates,
    "moment": st.builds("{}T{}{}{}".format, dates, clocks, fractions, offsets),
    "time": st.builds("{}{}{}".format, clocks, fractions, offsets),
    "duration": durations,
    "ipv4": st.ip_addresses(v=4).map(str),
    "ipv6": st.ip_addresses(v=6).map(str),
    "uuid": st.uuids().map(str),
    "macaddr": st.binary(min_size=6, max_size=6).map(lambda each: each.hex(":")),
    "bytes": st.binary(max_size=20).map(lambda each: msgspec.json.encode(each)[1:-1].decode()),
    "label": st.sampled_from(["a", "'"]),
}


@st.composite
def schemas_and_documents(draw: st.DrawFn) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Draw the fields of a collection, and documents that have some of them."""
    names = draw(st.just(tuple(TYPES)) | st.sets(st.sampled_from(sorted(TYPES)), min_size=1))
    cells = {name: VALUES[name] for name in TYPES if name in names}
    found = draw(st.lists(st.fixed_dictionaries({}, optional=cells), min_size=1, max_size=12))
    return tuple(cells), found


def binding(table: str, *, whole: bool, names: Sequence[str] = tuple(TYPES)) -> Binding[Any]:
    key = Field("id", "id", "/id", Inference(types=["integer"], exists="MUST"), is_key=True)
    root = Field("flow_document", "flow_document", "", Inference(types=["object"], exists="MUST"))
    return Binding(
        index=0,
        resource=Resource(table=table),
        path=("public", table),
        collection="acme/values",
        keys=(key,),
        values=tuple(Field(name, name, f"/{name}", TYPES[name]) for name in names),
        document=root if whole else None,
        delta_updates=False,
        backfill=0,
        state_key="values",
    )


def stores(found: list[dict[str, Any]], bound: Binding[Any]) -> Stores:
    return Stores(
        0,
        [b"[%d]" % number for number in range(len(found))],
        [msgspec.json.encode([each.get(f.name) for f in bound.values]) for each in found],
        None if bound.document is None else [document(n, each) for n, each in enumerate(found)],
        [False] * len(found),
        [False] * len(found),
    )


def document(number: int, found: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"id": number, **found})


def written_and_read(
    database, found: list[dict[str, Any]], *, whole: bool, names: Sequence[str] = tuple(TYPES)
) -> list[bytes]:
    """Store documents in a new table, store them again as updates, and load them."""
    bound = binding(f"t{next(counter)}", whole=whole, names=names)
    config = database.config(advanced={"no_flow_document": not whole})
    with connect(config) as destination:
        destination.prepare([bound.path])
        types = destination.rules.column_type
        columns = tuple(Column(f.column, str(types(f)), f.nullable) for f in bound.fields)
        destination.apply(CreateTable(bound, columns))
    with open_transactor(config, [bound], WHOLE) as transactor:
        transactor.fence()
        batch = stores(found, bound)
        transactor.store(batch)
        transactor.commit(b"{}")
        transactor.store(again(batch))
        transactor.commit(b"{}")
        transactor.stage(Keys(0, batch.keys))
        return [each for loaded in transactor.loaded() for each in loaded.documents]


def again(batch: Stores) -> Stores:
    return Stores(
        batch.binding, batch.keys, batch.values, batch.documents, [True] * len(batch), batch.deletes
    )


def canonical(name: str, value: Any) -> Any:
    """Return what is equal for values that mean the same."""
    if isinstance(value, str):
        value = value.replace("\u0000", "\ufffd")
    if name in {"decimal", "digits", "either"}:
        kind = type(value) if name != "decimal" else str
        return kind is str, str(Decimal(str(value)).normalize())
    if name == "number":
        return float(value)
    if name == "moment":
        return instant(value)
    if name == "time":
        return zoned(value)
    if name == "duration":
        return duration(value)
    if name in {"ipv4", "ipv6"}:
        return ipaddress.ip_address(value)
    return generic(value)


def generic(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return Decimal(repr(value)).normalize()
    if isinstance(value, str):
        return value.replace("\u0000", "\ufffd")
    if isinstance(value, list):
        return [generic(each) for each in value]
    return {generic(name): generic(each) for name, each in value.items()}


def instant(spelled: str) -> tuple[int, datetime, str]:
    found = re.fullmatch(r"(\d{4})(-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?(.*)", spelled)
    year, date, clock, fraction, zone = found.groups()
    # Four hundred years later the calendar is the same, and datetime knows it.
    shift = -400 if int(year) > 9000 else 400
    zone = "+00:00" if zone in "zZ" else zone
    moment = datetime.fromisoformat(f"{int(year) + shift:04}{date}T{clock}{zone}").astimezone(UTC)
    return moment.year - shift, moment.replace(year=2000), (fraction or ".").rstrip("0")


def zoned(spelled: str) -> tuple[Any, ...]:
    clock, fraction, zone = re.fullmatch(r"(\d\d:\d\d:\d\d)(\.\d+)?(.*)", spelled).groups()
    zone = "+00:00" if zone in "zZ" else zone
    if int(zone[1:3]) > 14:  # PostgreSQL has no room for it
        size = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))
        local = datetime.fromisoformat(f"2000-01-01T{clock}")
        clock = f"{local - (size if zone[0] == '+' else -size):%H:%M:%S}"
        zone = "+00:00"
    return clock, (fraction or ".").rstrip("0"), zone


def duration(spelled: str) -> tuple[int, int, Decimal]:
    number = r"(?:(-?[\d.]+){})?".format
    date = "P" + "".join(map(number, "YMWD"))
    clock = "(?:T" + "".join(map(number, "HMS")) + ")?"
    years, months, weeks, days, hours, minutes, seconds = (
        Decimal(each or 0) for each in re.fullmatch(date + clock, spelled).groups()
    )
    return years * 12 + months, weeks * 7 + days, hours * 3600 + minutes * 60 + seconds


def meaning(found: dict[str, Any]) -> dict[str, Any]:
    return {name: canonical(name, value) for name, value in found.items() if value is not None}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=schemas_and_documents())
def test_a_document_made_of_columns_equals_the_stored_one(database, drawn):
    names, found = drawn
    read = written_and_read(database, found, whole=False, names=names)
    by_key = {each.pop("id"): each for each in map(msgspec.json.decode, read)}
    assert len(by_key) == len(found)
    for number, stored in enumerate(found):
        assert meaning(by_key[number]) == meaning(stored)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=schemas_and_documents())
def test_a_whole_document_comes_back_byte_for_byte(database, drawn):
    names, found = drawn
    read = written_and_read(database, found, whole=True, names=names)
    assert sorted(read) == sorted(document(*each) for each in enumerate(found))


CASES = [
    ("moment", "0000-01-01T00:00:00+23:59", "0002-12-31 00:01:00+00 BC"),
    ("moment", "0000-06-01T12:00:00Z", "0001-06-01 12:00:00+00 BC"),
    ("moment", "9999-12-31T23:59:59-23:59", "10000-01-01 23:58:59+00"),
    ("moment", "2016-12-31t23:59:60z", "2017-01-01 00:00:00+00"),
    ("moment", "2016-12-31T23:59:60.5Z", "2017-01-01 00:00:00+00"),
    ("moment", "2024-01-01T00:00:00.123456789Z", "2024-01-01 00:00:00.123457+00"),
    ("moment", "2024-01-01 00:00:00Z", "2024-01-01 00:00:00+00"),
    ("date", "0000-02-29", "0001-02-29 BC"),
    ("time", "14:30:00+02:30", "14:30:00+02:30"),
    ("time", "14:30:00", "14:30:00+00"),
    ("time", "23:59:60Z", "24:00:00+00"),
    ("time", "12:00:00+23:00", "13:00:00+00"),
    ("ipv4", "10.0.0.1", "10.0.0.1"),
    ("ipv6", "2001:DB8::1", "2001:db8::1"),
    ("duration", "P1W", "7 days"),
    ("duration", "P1Y2M3DT4H5M6.789S", "1 year 2 mons 3 days 04:05:06.789"),
    ("decimal", "123456789012345678901234567890.10", "123456789012345678901234567890.10"),
    ("decimal", "NaN", "NaN"),
    ("decimal", "-Infinity", "-Infinity"),
    ("decimal", "1E+3", "1000"),
    ("either", 1.5, "1.5"),
    ("integer", 2**63, "9223372036854775808"),
    ("integer", -(10**40), str(-(10**40))),
    ("number", 5e-324, "5e-324"),
    ("number", 1.7976931348623157e308, "1.7976931348623157e+308"),
    ("string", "a\u0000b", "a\ufffdb"),
    ("object", {"a\u0000": "b\u0000"}, '{"a\ufffd": "b\ufffd"}'),
    ("bytes", "AP8=", "\\x00ff"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("macaddr", "08-00-2B-01-02-03", "08:00:2b:01:02:03"),
]


@pytest.mark.parametrize(("name", "value", "expected"), CASES)
def test_a_column_keeps_the_value(name, value, expected, database):
    if "Infinity" in expected and database.cluster.version < 14:
        with pytest.raises(DataError, match="set castToString"):
            written_and_read(database, [{name: value}], whole=True)
        return
    written_and_read(database, [{name: value}], whole=True)
    [(table,)] = database.run("select relname from pg_class where relname ~ '^t[0-9]+$'")
    form = f"host({name})" if name.startswith("ip") else f"{name}::text"
    assert database.run(f"select {form} from {table}") == [(expected,)]


RAW = [
    (b'"\\ud800"', '"\ufffd"'),
    (b'{"\\udc00":"\\ud83d\\ude00 \\\\ud800"}', '{"\ufffd": "\U0001f600 \\\\ud800"}'),
    (b"1e400", "1" + "0" * 400),
    (b"100000000000000000000000.10", "100000000000000000000000.10"),
]


@pytest.mark.parametrize(("value", "expected"), RAW)
def test_what_no_text_can_hold_is_replaced_and_numbers_stay_exact(value, expected, database):
    bound = binding("t", whole=True)
    values = [value if name == "mixed" else b"null" for name in TYPES]
    row = Stores(
        0, [b"[1]"], [b"[" + b",".join(values) + b"]"], [b'{"id":1,"mixed":%b}' % value],
        [False], [False],
    )  # fmt: skip
    database.create(bound)
    with database.opened(bound) as transactor:
        transactor.store(row)
        transactor.commit(b"{}")
        assert database.loaded(transactor, 1) == row.documents
    assert database.run("select mixed::text from t") == [(expected,)]


def test_a_number_beyond_a_double_makes_its_column_numeric_and_keeps_the_others(database):
    bound = binding("t", whole=True)
    database.create(bound)

    def row(key: int, number: bytes) -> Stores:
        values = [number if name == "number" else b"null" for name in TYPES]
        text = b"[" + b",".join(values) + b"]"
        return Stores(0, [b"[%d]" % key], [text], [b'{"id":%d}' % key], [False], [False])

    with database.opened(bound) as transactor:
        transactor.store(row(1, b"0.1"))
        transactor.store(row(2, b"1e400"))
        transactor.store(row(3, b"5e-324"))
        transactor.commit(b"{}")
    found = database.run("select number::text from t order by id")
    assert [Decimal(each) for (each,) in found] == [
        Decimal("0.1"),
        Decimal("1e400"),
        Decimal("5e-324"),
    ]
    assert not math.isinf(float(found[0][0]))


def test_what_a_column_cant_hold_is_named(database):
    bound = binding("t", whole=True)
    database.create(bound)
    values = [b'"yesterday"' if name == "date" else b"null" for name in TYPES]
    row = Stores(
        0, [b"[1]"], [b"[" + b",".join(values) + b"]"], [b'{"id":1}'], [False], [False]
    )  # fmt: skip
    with database.opened(bound) as transactor, pytest.raises(DataError, match="yesterday"):
        transactor.store(row)


def test_a_uuid_key_spelled_in_another_way_is_refused(database):
    key = Field("id", "id", "/id", formatted("uuid"), is_key=True)
    bound = database.binding(keys=[key])
    database.create(bound)
    upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    with database.opened(bound) as transactor:
        transactor.store(database.stores((upper.lower(), "v")))
        transactor.commit(b"{}")
        with pytest.raises(DataError, match="ignoreStringFormat"):
            transactor.store(database.stores((upper, "v")))
