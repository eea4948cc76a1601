"""Rows in binary form: the server makes of them what it makes of text, and the rest is text."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.kits.sql import TargetColumn
from estuary_cdk.kits.sql.csv_rows import csv_rows
from materialize_postgres import statements
from materialize_postgres.binary_rows import NotPlainError, binary_rows
from materialize_postgres.dialect import (
    BIGINT,
    BYTEA,
    DATE,
    DOUBLE,
    JSON,
    JSONB,
    NUMERIC,
    POSTGRES,
    TEXT,
    TIMESTAMPTZ,
    TIMETZ,
    enumerated,
)
from materialize_postgres.session import HEADER, session

LABELS = ("a", "it's", "☃")
TYPES = {
    "integer": BIGINT,
    "number": DOUBLE,
    "text": TEXT,
    "label": enumerated(LABELS),
    "decimal": NUMERIC,
    "day": DATE,
    "moment": TIMESTAMPTZ,
    "uid": POSTGRES.types.formats["uuid"],
    "raw": BYTEA,
    "data": JSONB,
}
KEYS = [TargetColumn("id", BIGINT)]
VALUES = [TargetColumn(name, each) for name, each in TYPES.items()]
COLUMNS = (*KEYS, *VALUES, TargetColumn("flow_document", JSON))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["null", "\\N", "a\nb", '"', "x" * 5000, ""]
)
plain = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?", fullmatch=True)
moments = st.datetimes().map(lambda each: each.isoformat() + "Z") | st.sampled_from(
    [
        "2024-01-01T00:00:00.123456789+14:00",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+01:00",
    ]
)
CELLS: dict[str, st.SearchStrategy[bytes]] = {
    "integer": st.integers(-(2**63), 2**63 - 1).map(msgspec.json.encode),
    "number": st.floats(allow_nan=False, allow_infinity=False).map(msgspec.json.encode),
    "text": text.map(msgspec.json.encode),
    "label": st.sampled_from(LABELS).map(msgspec.json.encode),
    "decimal": plain.map(str.encode) | plain.map(msgspec.json.encode),
    "day": st.dates().map(msgspec.json.encode),
    "moment": moments.map(msgspec.json.encode),
    "uid": st.uuids().map(msgspec.json.encode),
    "raw": st.binary(max_size=12).map(msgspec.json.encode),
    "data": st.recursive(
        st.none() | st.booleans() | plain.map(float) | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    ).map(msgspec.json.encode),
}
rows_of_cells = st.lists(
    st.fixed_dictionaries({name: st.just(b"null") | cell for name, cell in CELLS.items()}),
    min_size=1,
    max_size=12,
)

binary = binary_rows(KEYS, VALUES, document=True)
csv = csv_rows("t", (*KEYS, *VALUES))


def created(database) -> None:
    told = ", ".join(f'"{each.name}" {each.type.sql}' for each in COLUMNS)
    told = told.replace(VALUES[3].type.sql, "label")
    labels = ", ".join("'" + each.replace("'", "''") + "'" for each in LABELS)
    database.run(
        f"create type label as enum ({labels})",
        f"create table as_text ({told})",
        f"create table as_binary ({told})",
    )


def arrays(found: list[dict[str, bytes]]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    keys = [b"[%d]" % number for number in range(len(found))]
    values = [b"[" + b",".join(cells[name] for name in TYPES) + b"]" for cells in found]
    documents = [b'{"id": %d, "text":%b}' % (n, each["text"]) for n, each in enumerate(found)]
    return keys, values, documents


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=rows_of_cells)
def test_the_server_reads_the_same_of_both_forms(database, found):
    if not database.run("select 1 from pg_class where relname = 'as_text'"):
        created(database)
    keys, values, documents = arrays(found)
    both = [b"%b,%b" % (key[:-1], value[1:]) for key, value in zip(keys, values, strict=True)]
    try:
        block = binary(keys, values, documents)
    except NotPlainError:
        # Only what no text of the server can have needs patience here.
        assert any(b"\\u0000" in each for each in values)
        return
    with session(database.config()) as opened:
        opened.execute("truncate as_text, as_binary")
        opened.copy(statements.copy("as_text", COLUMNS, statements.CSV), csv(both, documents))
        opened.copy(statements.copy("as_binary", COLUMNS, statements.BINARY), block, HEADER)
        opened.end_copy()
    names = ", ".join(f'"{each.name}"::text' for each in COLUMNS)
    as_text, as_binary = (
        database.run(f"select {names} from {table} order by id")
        for table in ("as_text", "as_binary")
    )
    assert as_binary == as_text
    assert len(as_binary) == len(found)


PATIENT = [
    (NUMERIC, b'"1e3"'), (NUMERIC, b'"NaN"'), (NUMERIC, b"1E400"), (NUMERIC, b'"1.2.3"'),
    (NUMERIC, b'"null"'), (NUMERIC, b'""'), (NUMERIC, b'"."'), (NUMERIC, b'"-"'),
    (NUMERIC, b'"1_0"'), (NUMERIC, b'" 1"'), (NUMERIC, b'"1-2"'), (NUMERIC, b'"+1"'),
    (BIGINT, b"9223372036854775808"), (BIGINT, b"1.5"), (DOUBLE, b"1e400"),
    (TEXT, b'"a\\u0000b"'), (TEXT, b'"\\ud800"'), (TEXT, b"1"),
    (DATE, b'"0000-01-01"'), (DATE, b'"2024-02-30"'),
    (TIMESTAMPTZ, b'"2016-12-31T23:59:60Z"'), (TIMESTAMPTZ, b'"2024-01-01T00:00:00"'),
    (TYPES["uid"], b'"a0eebc999c0b4ef8bb6d6bb9bd380a11"'),
    (TYPES["uid"], b'"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1}"'),
    (TYPES["uid"], b'"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380axx"'),
    (TYPES["uid"], b'"a0eebc9-99c0b-4ef8-bb6d-6bb9bd380a11"'),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "cell"), PATIENT)
def test_what_needs_patience_goes_as_text(kind: Any, cell: bytes):
    rows = binary_rows(KEYS, [TargetColumn("v", kind)], document=False)
    assert rows([b"[1]"], [b"[null]"], None)
    with pytest.raises(NotPlainError):
        rows([b"[1]", b"[2]"], [b"[null]", b"[" + cell + b"]"], None)


def test_a_type_that_has_no_encoder_makes_all_rows_text():
    assert binary_rows(KEYS, [TargetColumn("v", TIMETZ)], document=False) is None
    assert binary_rows(KEYS, [TargetColumn("v", POSTGRES.types.as_text)], document=False) is None


def test_forms_may_change_in_the_middle_of_a_transaction(database):
    binding = database.binding(values=[database.field("v", "integer", "null", "string")])
    database.create(binding)
    with database.opened(binding) as transactor:
        for exists in (False, True):
            for key, value in enumerate([1, "plain", "a\u0000b", {"deep": [1.5]}, None]):
                transactor.store(database.stores((key, value), exists=exists))
            transactor.commit(b"{}")
        assert len(database.loaded(transactor, *range(5), 2**70)) == 5
    assert database.run("select v::text from t order by id") == [
        ("1",), ('"plain"',), ('"a\ufffdb"',), ('{"deep": [1.5]}',), (None,),
    ]  # fmt: skip


def test_a_column_that_somebody_retyped_takes_text(database):
    binding = database.binding(values=[database.field("v", "integer")])
    database.create(binding)
    database.run("alter table t alter v type integer")
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, 7)))
        transactor.commit(b"{}")
    assert database.run("select v from t") == [(7,)]
