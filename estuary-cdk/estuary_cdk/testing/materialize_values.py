"""What a materialization promises of names, keys and values, however odd, large or many."""

import asyncio
from dataclasses import replace
from itertools import product
from typing import Any, Final

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import Inference
from estuary_cdk.protocol.materialize import Acknowledged, Flush, Flushed, Load, Store
from estuary_cdk.testing.materialize_runtime import Session
from estuary_cdk.testing.materialize_subject import (
    USERS,
    Promise,
    Subject,
    require_documents,
    user,
)
from estuary_cdk.testing.selection import collection, optional, required

MANY_KEYS: Final = 100_000
BLOCK_KEYS: Final = 5_000
STORE_NEW: Final = b'{"store":{"key":[%d],"values":[],"doc":{"id":%d}}}\n'
STORE_AGAIN: Final = b'{"store":{"key":[%d],"values":[],"doc":{"id":%d},"exists":true}}\n'

HOSTILE_NAMES: Final = (
    "select",
    'quo"te',
    "apos'trophe",
    "back\\slash",
    "back`tick",
    "sp ace",
    "semi;colon--",
    "per%cent%s",
    "question?",
    ":colon",
    "$1",
    "{brace}",
    "[bracket]",
    "dot.ted",
    "a/b",
    "til~de",
    "日本語",
    "UPPER",
    "1digit",
)

VERBATIM: Final = (
    b'{ "id" : 1 ,\t"x":1.0,"y":1e3}',
    b'{"id":2,"n":100000000000000000000000000001,"z":0.1000}',
    b'{"name":"\\u00e9\\/\\ud83d\\ude00","id":3}',
    '{"id":4,"name":"é日本語😀","o":{"b":1,"a":[1.50,-0.0]}}'.encode(),
    b'{"id":5,"dup":1,"dup":2}',
)

VALUES: Final[dict[str, tuple[Inference, tuple[Any, ...]]]] = {
    "integers": (
        optional("integer", "null"),
        (0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 10**30, None),
    ),
    "numbers": (optional("number"), (0, 0.1, -1.5, 1e300, 5e-324, 123456789.25, 10**25)),
    "strings": (
        optional("string"),
        ("", " ", "NULL", "null", "it's", '"', "\\", "a\nb\tc", "😀", "\u202e", "x" * 100_000),
    ),
    "booleans": (optional("boolean", "null"), (True, False, None)),
    "arrays": (optional("array"), ([], [None], [1, "a", {"b": [2**63]}])),
    "objects": (optional("object"), ({}, {"a": {"b": None}}, {"": "'\""})),
    "mixed": (optional("integer", "string", "object"), (1, "1", {"a": 1})),
    "moments": (
        optional("string", format="date-time"),
        ("2024-02-29T23:59:60Z", "2024-01-01t00:00:00.123456789z", "0001-01-01T00:00:00+14:00"),
    ),
    "dates": (optional("string", format="date"), ("2024-02-29", "0001-01-01", "9999-12-31")),
    "bytes": (optional("string", content_encoding="base64"), ("", "AP8=", "aGVsbG8=")),
    "big": (
        optional("integer", "string", format="integer"),
        (1, "2", "123456789012345678901234567890"),
    ),
    "decimals": (
        optional("number", "string", format="number"),
        (1.5, "2.50", "0.12345678901234567890123456789"),
    ),
    "uuids": (optional("string", format="uuid"), ("00000000-0000-0000-0000-000000000000",)),
}


async def returns_documents_verbatim(subject: Subject) -> None:
    """A loaded document has every byte of the stored one: spaces, order, spelling of numbers."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "verbatim"))
    documents = [(0, document) for document in VERBATIM]
    async with runtime.session(spec) as session:
        await session.transaction(documents)
        await session.transaction(documents)
        assert sorted(session.loaded.values()) == sorted(VERBATIM)
    require_documents(subject, "verbatim", documents)


async def takes_extreme_values(subject: Subject) -> None:
    """Every type takes its smallest, largest and oddest values, in a column and as a document."""
    runtime = subject.runtime()
    fields = {"id": required("integer"), **{name: kind for name, (kind, _) in VALUES.items()}}
    model = subject.model(collection("acme/values", ["/id"], fields), "extremes")
    spec = await subject.ready(runtime, model)
    documents: list[tuple[int, bytes]] = []
    for name, (_, values) in VALUES.items():
        for value in values:
            documents.append((0, encode_json({"id": len(documents), name: value})))
    async with runtime.session(spec) as session:
        await session.transaction(documents)
        await session.transaction(documents)
        assert len(session.loaded) == len(documents)
    require_documents(subject, "extremes", documents)
    _require_integers(subject)


def _require_integers(subject: Subject) -> None:
    """Raise AssertionError unless integers are exact in their column, be it as text."""
    _, integers = VALUES["integers"]
    found = {row["id"]: row["integers"] for row in subject.rows("extremes")}
    for key, value in enumerate(integers):
        exact = found[key] is None if value is None else str(found[key]) == str(value)
        assert exact, f"stored {value} as {found[key]!r}"


async def tells_keys_apart(subject: Subject) -> None:
    """Keys of several parts are told apart by every bit of every part."""
    runtime = subject.runtime()
    kinds = {"s": required("string"), "i": required("integer"), "b": required("boolean")}
    model = subject.model(collection("acme/keys", ["/s", "/i", "/b"], kinds), "keys")
    spec = await subject.ready(runtime, model)
    strings = ["", "a", "A", "a ", " a", "é", "e\u0301", "'", '"', "😀", "1", "null"]
    integers = [0, 1, -1, 2**63 - 1, -(2**63)]
    keys = list(product(strings, integers, [True, False]))
    first = [(0, encode_json({"s": s, "i": i, "b": b})) for s, i, b in keys]
    second = [(0, encode_json({"s": s, "i": i, "b": b, "again": True})) for s, i, b in keys]
    async with runtime.session(spec) as session:
        await session.bulk(first)
    require_documents(subject, "keys", first)
    async with runtime.session(spec) as session:
        await session.bulk(second)
        assert len(session.loaded) == len(keys)
    require_documents(subject, "keys", second)


async def takes_hostile_names(subject: Subject) -> None:
    """Tables and fields may be called anything."""
    runtime = subject.runtime()
    fields = {"id": required("integer"), **dict.fromkeys(HOSTILE_NAMES, optional("string"))}
    fields = {**fields, "ID": optional("string")}
    spec = collection("acme/hostile", ["/id"], fields)
    models = [subject.model(spec, f"{name} {i}") for i, name in enumerate(HOSTILE_NAMES)]
    built = await subject.ready(runtime, *models)
    values = {name: f"value of {name}" for name in HOSTILE_NAMES}
    document = encode_json({"id": 1, **values, "ID": "x"})
    async with runtime.session(built) as session:
        await session.transaction([(i, document) for i in range(len(models))])
        await session.transaction([(i, document) for i in range(len(models))])
        assert len(session.loaded) == len(models)
    for i, name in enumerate(HOSTILE_NAMES):
        table = f"{name} {i}"
        require_documents(subject, table, [(0, document)])
        [row] = subject.rows(table)
        texts = {each for each in row.values() if isinstance(each, str)}
        assert set(values.values()) <= texts, f"a column of {table!r} is wrong"
    assert await runtime.apply(built) == []


async def takes_many_keys(subject: Subject) -> None:
    """Loads and loaded documents by the hundred thousand don't make both sides wait."""
    runtime = subject.runtime()
    everything = frozenset(each.field for each in USERS.projections)
    model = replace(subject.model(USERS, "many"), exclude=everything)
    spec = await subject.ready(runtime, model)
    async with runtime.session(spec) as session:
        for expected in (0, MANY_KEYS):
            found = await _loaded_count(session)
            assert found == expected, f"{found} of {expected} documents were loaded"
            for keys in _blocks_of_keys():
                lines = _lines(STORE_NEW if expected == 0 else STORE_AGAIN, keys, 2)
                await session.peer.send_block(Store, len(keys), lines)
            await session.commit(b"{}")


async def _loaded_count(session: Session) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(_send_loads(session))
        await session.peer.expect(Acknowledged)
    await session.peer.send(Flush())
    count = 0
    while True:
        kind, run = await session.peer.receive()
        if kind is Flushed:
            return count
        count += len(run)


async def _send_loads(session: Session) -> None:
    for keys in _blocks_of_keys():
        await session.peer.send_block(Load, len(keys), _lines(b'{"load":{"key":[%d]}}\n', keys, 1))


def _blocks_of_keys() -> list[range]:
    return [range(start, start + BLOCK_KEYS) for start in range(0, MANY_KEYS, BLOCK_KEYS)]


def _lines(template: bytes, keys: range, times: int) -> bytes:
    """Return a line per key, which stands in the template so many times."""
    return b"".join([template % ((key,) * times) for key in keys])


async def reads_packed_keys(subject: Subject) -> None:
    """A runtime that sends keys and values packed, and nothing else, gets the same rows."""
    runtime = subject.runtime(packed_only=True)
    kinds = {
        "s": required("string"),
        "i": required("integer"),
        "n": optional("number"),
        "o": optional("object"),
    }
    model = subject.model(collection("acme/packed", ["/s", "/i"], kinds), "packed")
    spec = await subject.ready(runtime, model)
    documents = [
        (0, b'{"s":"a\'b","i":-5,"n":1.5,"o":{"x":[1]}}'),
        (0, b'{"s":"","i":18446744073709551615}'),
    ]
    async with runtime.session(spec) as session:
        await session.transaction(documents)
        await session.transaction(documents)
        assert len(session.loaded) == len(documents)
    require_documents(subject, "packed", documents)
    assert {str(row["i"]): row["s"] for row in subject.rows("packed")} == {
        "-5": "a'b",
        "18446744073709551615": "",
    }


async def opens_with_nothing_to_do(subject: Subject) -> None:
    """A session without a transaction opens, acknowledges and ends."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "idle"))
    async with runtime.session(spec):
        pass
    async with runtime.session(spec) as session:
        await session.transaction([user(1)])
    require_documents(subject, "idle", [user(1)])


VALUE_PROMISES: Final[tuple[Promise, ...]] = (
    returns_documents_verbatim,
    takes_extreme_values,
    tells_keys_apart,
    takes_hostile_names,
    takes_many_keys,
    reads_packed_keys,
    opens_with_nothing_to_do,
)
