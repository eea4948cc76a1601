"""Each kind of field: its column, what SQLite keeps of its values, and that they come back."""

import pytest

from estuary_cdk.materialize import Column, Field, Fit, Shard, Stores
from estuary_cdk.protocol.flow import Inference, NumericInference, StringInference
from materialize_sqlite.dialect import SQLITE


def string(**known: str) -> StringInference:
    return StringInference(**known)


BEYOND_64_BITS = NumericInference(has_maximum=True, maximum=2.0**64)
# What the field is, the type of its column, then its JSON value and what is read back.
TYPES = [
    ({"types": ["integer"]}, "INTEGER", b"9223372036854775807", 9223372036854775807),
    ({"types": ["integer"]}, "INTEGER", b"-9223372036854775808", -9223372036854775808),
    ({"types": ["integer"]}, "INTEGER", b"1.0", 1),
    (
        {"types": ["integer"], "numeric": BEYOND_64_BITS},
        "NUMERIC TEXT", b"18446744073709551615", "18446744073709551615",
    ),
    ({"types": ["integer"], "numeric": BEYOND_64_BITS}, "NUMERIC TEXT", b"5", "5"),
    ({"types": ["number"]}, "REAL", b"0.1", 0.1),
    ({"types": ["number"]}, "REAL", b"1", 1.0),
    ({"types": ["number"]}, "REAL", b"1e-300", 1e-300),
    ({"types": ["boolean"]}, "BOOLEAN", b"true", 1),
    ({"types": ["boolean"]}, "BOOLEAN", b"false", 0),
    ({"types": ["string"]}, "TEXT", rb'"a\u0000b\u2603"', "a\x00b☃"),
    ({"types": ["string"]}, "TEXT", b'"0123"', "0123"),
    ({"types": ["string"]}, "TEXT", b'""', ""),
    (
        {"types": ["string"], "string": string(content_encoding="base64")},
        "BLOB", b'"AP8="', b"\x00\xff",
    ),
    ({"types": ["string"], "string": string(format="date")}, "TEXT", b'"2024-02-29"', "2024-02-29"),
    (
        {"types": ["string"], "string": string(format="date-time")},
        "TEXT", b'"2024-02-29T01:02:03.123456789z"', "2024-02-29T01:02:03.123456789z",
    ),
    (
        {"types": ["string"], "string": string(format="time")},
        "TEXT", b'"14:30:00+02:30"', "14:30:00+02:30",
    ),
    (
        {"types": ["integer", "string"], "string": string(format="integer")},
        "NUMERIC TEXT", b'"18446744073709551616"', "18446744073709551616",
    ),
    (
        {"types": ["integer", "string"], "string": string(format="integer")},
        "NUMERIC TEXT", b"18446744073709551616", "18446744073709551616",
    ),
    (
        {"types": ["number", "string"], "string": string(format="number")},
        "NUMERIC TEXT", b'"1.10"', "1.10",
    ),
    (
        {"types": ["number", "string"], "string": string(format="number")},
        "NUMERIC TEXT", b"123456789012345678901234567890.10", "123456789012345678901234567890.10",
    ),
    (
        {"types": ["number", "string"], "string": string(format="number")},
        "NUMERIC TEXT", b'"NaN"', "NaN",
    ),
    ({"types": ["object"]}, "JSON TEXT", b'{"b": 1.0, "a":[1e3]}', '{"b": 1.0, "a":[1e3]}'),
    ({"types": ["array"]}, "JSON TEXT", b"[1.0]", "[1.0]"),
    ({"types": ["array", "integer"]}, "JSON TEXT", b"123456789012345678.0", "123456789012345678.0"),
    ({"types": ["integer", "string"]}, "JSON TEXT", b'"5"', '"5"'),
]  # fmt: skip


def stored(file, field: Field, text: bytes) -> list[tuple[object, ...]]:
    binding = file.binding(values=[field])
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(
            Stores(
                0,
                [b"[1]", b"[2]"],
                [b"[%b]" % text, b"[null]"],
                [b"{}"] * 2,
                [False] * 2,
                [False] * 2,
            )
        )
        transactor.commit(b"{}")
    return file.query("SELECT v FROM t ORDER BY id")


@pytest.mark.parametrize(("inference", "column", "text", "value"), TYPES)
def test_a_value_is_read_back_exactly(file, inference, column, text, value):
    found = stored(file, Field("v", "v", "/v", Inference(**inference)), text)
    assert found == [(value,), (None,)]
    assert type(found[0][0]) is type(value)
    assert file.table("t").columns[1].type == column


def test_a_number_cast_to_a_string_keeps_its_spelling(file):
    config = b'{"castToString":true}'
    field = Field("v", "v", "/v", Inference(types=["number"]), config=config)
    assert stored(file, field, b"1.10")[0] == ("1.10",)


@pytest.mark.parametrize(
    ("kind", "column", "small", "large", "found"),
    [
        ("integer", "NUMERIC TEXT", b"7", b"18446744073709551615", ("7", "18446744073709551615")),
        ("integer", "NUMERIC TEXT", b"-1", b"-9223372036854775809", ("-1", "-9223372036854775809")),
        ("number", "NUMERIC TEXT", b"1.5", b"-1e400", ("1.5", "-1e400")),
    ],
)
def test_a_number_beyond_its_column_widens_the_column(file, kind, column, small, large, found):
    binding = file.binding(values=[Field("v", "v", "/v", Inference(types=[kind]))])
    file.create(binding)
    file.query("CREATE INDEX mine ON t (v)")
    file.query("CREATE VIEW seen AS SELECT v FROM t")

    def batch(key: int, text: bytes) -> Stores:
        return Stores(0, [b"[%d]" % key], [b"[%b]" % text], [b"{}"], [False], [False])

    with file.opened(binding) as transactor:
        transactor.store(batch(1, small))
        transactor.commit(b"{}")
        transactor.store(batch(2, large))
        assert file.table("t").columns[1].type != column
        transactor.commit(b"{}")
        transactor.store(batch(3, small))
        transactor.commit(b"{}")
    assert file.query("SELECT v FROM t ORDER BY id") == [(each,) for each in (*found, found[0])]
    existing = file.table("t").columns[1]
    assert existing.type == column
    wanted = Column("v", str(SQLITE.rules().column_type(binding.values[0])), nullable=True)
    assert SQLITE.rules().fit(existing, wanted, binding.values[0]) is Fit.COMPATIBLE
    with file.opened(binding) as transactor:
        transactor.store(batch(4, large))
        transactor.commit(b"{}")
    assert file.query("SELECT v FROM t WHERE id = 4") == [(found[1],)]
    assert file.query("SELECT name FROM sqlite_master WHERE name = 'mine'") == [("mine",)]
    assert len(file.query("SELECT * FROM seen")) == 4


def test_shards_may_widen_the_same_column_one_after_the_other(file):
    binding = file.binding(values=[Field("v", "v", "/v", Inference(types=["integer"]))])
    file.create(binding)
    large = [b"[%d]" % (2**64)]
    shards = [Shard("acme/task", 0, 0), Shard("acme/task", 1, 1)]
    one, other = (file.opened(binding, shard=shard) for shard in shards)
    with one as first, other as second:
        first.store(Stores(0, [b"[1]"], large, [b"{}"], [False], [False]))
        first.commit(b"{}")
        second.store(Stores(0, [b"[2]"], [b"[5]"], [b"{}"], [False], [False]))
        second.store(Stores(0, [b"[3]"], large, [b"{}"], [False], [False]))
        second.commit(b"{}")
    assert file.query("SELECT v FROM t ORDER BY id") == [(str(2**64),), ("5",), (str(2**64),)]


def test_a_key_beyond_its_column_widens_it_and_is_found_again(file):
    binding = file.binding()
    file.create(binding)
    large = 2**64 - 1
    with file.opened(binding) as transactor:
        transactor.store(file.stores((1, "one")))
        transactor.commit(b"{}")
        assert file.loaded(transactor, 1, large) == [b'{"id":1,"v":"one"}']
        transactor.store(file.stores((large, "large"), (2, "two")))
        transactor.store(file.stores((1, "ONE"), exists=True))
        transactor.commit(b"{}")
        assert len(file.loaded(transactor, 1, 2, large)) == 3
    rows = [("1", "ONE"), (str(large), "large"), ("2", "two")]
    assert file.query("SELECT id, v FROM t ORDER BY id") == rows
    assert file.query("SELECT name FROM pragma_table_info('t') WHERE pk") == [("id",)]


def test_a_binary_key_keeps_its_spelling(file):
    inference = Inference(types=["string"], string=string(content_encoding="base64"))
    binding = file.binding(keys=[Field("id", "id", "/id", inference, is_key=True)])
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores(("AP8=", "x"), ("AP8", "y")))
        transactor.commit(b"{}")
    assert file.query("SELECT id, v FROM t ORDER BY v") == [("AP8=", "x"), ("AP8", "y")]


def test_a_long_integer_may_be_a_key(file):
    inference = Inference(types=["integer"], numeric=BEYOND_64_BITS)
    binding = file.binding(keys=[Field("id", "id", "/id", inference, is_key=True)])
    file.create(binding)
    with file.opened(binding) as transactor:
        transactor.store(file.stores((2**64 - 1, "x"), (7, "y")))
        transactor.commit(b"{}")
        assert file.loaded(transactor, 2**64 - 1) == [b'{"id":18446744073709551615,"v":"x"}']
    assert file.query("SELECT id FROM t ORDER BY id") == [("18446744073709551615",), ("7",)]
