"""Messages of the stream, made up: every order of changes, and bytes that no server writes."""

from collections.abc import Iterator
from contextlib import suppress
from struct import pack
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.sql_cdc.database import Followed
from estuary_cdk.kits.sql_cdc.tables import Column, Table
from source_postgres import beside, changes, pgoutput
from source_postgres.column_types import BUILTIN
from source_postgres.documents import Origin
from source_postgres.pgoutput import Decoder
from source_postgres.tuples import UNCHANGED
from source_postgres.values import NULL

OIDS = {23: BUILTIN["int4"], 25: BUILTIN["text"]}
LAYOUT = (0, 8)
RAW = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])


def table(name: str, oid: int) -> Table:
    columns = {each: SimpleNamespace(generated=False) for each in ("id", "v", "w")}
    return Table(
        id=("public", name),
        columns=tuple(Column(each, "text", {}) for each in columns),
        key=("id",),
        identity=str(oid),
        details=SimpleNamespace(columns=columns),
    )


TABLES = [table("a", 1), table("b", 2)]


def looked_up(_, types, key, fields):
    return [b"found" if field == UNCHANGED else field for field in fields]


def decoder(*, key: bool = False) -> Decoder:
    made = Decoder(OIDS.__getitem__, looked_up, Origin(), 0, id)
    made.follow({each.id: Followed(each, ("id",) if key else None) for each in TABLES})
    return made


def row(fields: list[bytes]) -> bytes:
    letters = {NULL: b"n", UNCHANGED: b"u"}
    return pack(">H", len(fields)) + b"".join(
        letters.get(field) or b"t" + pack(">I", len(field)) + field for field in fields
    )


def related(oid: int, name: str) -> bytes:
    columns = [(1, b"id", 23), (0, b"v", 25), (0, b"w", 25)]
    return b"R" + pack(">I", oid) + b"public\0" + name.encode() + b"\0d" + pack(">H", 3) + b"".join(
        bytes([key]) + column + b"\0" + pack(">Ii", kind, -1) for key, column, kind in columns
    )  # fmt: skip


def stream(transactions) -> list[bytes]:
    """Messages of transactions, each with its LSN."""
    lsn = 100
    messages = []
    for told in transactions:
        end = lsn + len(told) + 2
        said = [b"B" + pack(">QqI", end, 0, 7)]
        for oid, change in told:
            said.append(change[:1] + pack(">I", oid) + change[1:])
        said.append(b"C\0" + pack(">QQq", end, end + 1, 0))
        for data in said:
            messages.append(pack(">Q", lsn) + data)
            lsn += 1
    return [pack(">Q", 0) + related(1, "a"), pack(">Q", 0) + related(2, "b"), *messages]


VALUE = st.one_of(st.text("tnu", max_size=3).map(str.encode), st.just(NULL), st.just(UNCHANGED))
ID = st.integers(0, 9).map(lambda each: b"%d" % each)
NEW = st.tuples(ID, VALUE, VALUE).map(lambda fields: b"N" + row(list(fields)))
CHANGE = st.one_of(
    NEW.map(lambda new: b"I" + new),
    NEW.map(lambda new: b"U" + new),
    ID.map(lambda key: b"DK" + row([key, NULL, NULL])),
    st.tuples(ID, NEW).map(lambda both: b"U" + b"O" + row([both[0], b"x", b"y"]) + both[1]),
    st.tuples(ID, NEW).map(lambda both: b"U" + b"K" + row([both[0], NULL, NULL]) + both[1]),
)
STREAM = st.lists(
    st.lists(st.tuples(st.sampled_from([1, 2]), CHANGE), max_size=8), min_size=1, max_size=5
).map(stream)


def outcome(messages: list[bytes], step: int, *, key: bool = False, helper=None) -> dict:
    """Documents and keys of each table, however the messages are cut."""
    found: dict = {}
    made = decoder(key=key)
    made.helper = helper
    for first in range(0, len(messages), step):
        for batch in made.decode(messages[first : first + step], *LAYOUT):
            for each in batch.changes:
                documents, keys = found.setdefault(each.table, ([], []))
                lines = each.block.splitlines()
                assert len(lines) == each.rows
                documents += [bytes(RAW.decode(line)["captured"]["doc"]) for line in lines]
                keys += each.keys or ()
    return found


@given(STREAM, st.integers(1, 40))
def test_changes_decoded_together_are_those_decoded_one_by_one(messages, step):
    one_by_one = outcome(messages, 1, key=True)
    assert outcome(messages, step, key=True) == one_by_one
    for documents, keys in one_by_one.values():
        assert len(documents) == len(keys)
        lsns = [msgspec.json.decode(each)["_meta"]["source"]["loc"][1] for each in documents]
        assert lsns == sorted(lsns)


@pytest.fixture(scope="module", name="helper")
def another_process() -> Iterator[beside.ReaderProcess]:
    process = beside.launched()
    try:
        assert process.answer()
        process._ready = True
        yield process
    finally:
        process.end()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=STREAM)
def test_changes_decoded_with_help_are_those_decoded_alone(monkeypatch, helper, messages):
    alone = outcome(messages, len(messages), key=True)
    monkeypatch.setattr(pgoutput, "DECODE_BYTES", 60)
    monkeypatch.setattr(changes, "SHARED_MIN", 1)
    monkeypatch.setattr(changes, "ASKED_TASKS", 1)
    assert outcome(messages, len(messages), key=True, helper=helper) == alone


def test_a_helper_says_what_no_server_writes(monkeypatch):
    monkeypatch.setattr(pgoutput, "DECODE_BYTES", 60)
    monkeypatch.setattr(changes, "SHARED_MIN", 1)
    monkeypatch.setattr(changes, "ASKED_TASKS", 1)
    process = beside.launched()
    good, bad = b"IN" + row([b"1", b"x", NULL]), b"IN" + pack(">H", 1) + b"z"
    try:
        process._ready = process.answer()
        with pytest.raises(DataError, match="unknown kind of field 122") as raised:
            outcome(stream([[(1, good)], [(1, good)], [(1, bad)]]), 99, helper=process)
    finally:
        process.end()
    assert "in helped" in raised.value.__notes__[0]


@given(STREAM, st.data())
def test_bytes_that_no_server_writes_are_one_clear_error(messages, data):
    broken = [bytearray(message) for message in messages]
    for _ in range(data.draw(st.integers(1, 4))):
        message = data.draw(st.sampled_from(broken))
        if data.draw(st.booleans()):
            at = data.draw(st.integers(8, len(message) - 1))
            message[at] = data.draw(st.integers(0, 255))
        else:
            del message[data.draw(st.integers(9, max(9, len(message)))) :]
    with suppress(DataError):
        decoder(key=True).decode([bytes(message) for message in broken], *LAYOUT)


def test_changes_of_two_tables_go_to_each_in_order():
    new = b"IN" + row([b"1", b"x", NULL])
    gone = b"DK" + row([b"1", NULL, NULL])
    found = outcome(stream([[(1, new), (2, new), (1, gone)], [(2, gone)]]), 100)
    operations = {
        table: [msgspec.json.decode(each)["_meta"]["op"] for each in documents]
        for table, (documents, _) in found.items()
    }
    assert operations == {("public", "a"): ["c", "d"], ("public", "b"): ["c", "d"]}
