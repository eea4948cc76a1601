"""However large the values of a row: its document fits, and small values are as they were."""

from base64 import b64decode

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from source_postgres.fitting import DOCUMENT_BYTES_MAX, fitted

MIB = 1 << 20


@given(st.binary(min_size=900, max_size=3000), st.integers(300, 800))
def test_base64_that_is_cut_is_base64_that_ends_with_its_size(data, limit):
    [first] = fitted([msgspec.json.encode(data)], limit, [True])
    [again] = fitted([first], limit - 100, [True])
    for cut in (first, again):
        kept, _, mark = msgspec.json.decode(cut, type=bytes).rpartition(b" [flow_truncated")
        assert data.startswith(kept)
        assert mark == b": original_size=%d]" % len(data)


values = st.lists(
    st.one_of(
        st.text(max_size=120),
        st.text(alphabet='\x00\n😀é\\"', max_size=120),
        st.lists(st.integers(), max_size=100),
        st.dictionaries(st.text(max_size=9), st.text(max_size=50), max_size=20),
        st.integers(),
        st.none(),
    ).map(msgspec.json.encode),
    min_size=1,
    max_size=8,
)


@given(values, st.integers(600, 1500))
def test_what_is_cut_fits_and_is_of_the_same_kind(given_values, limit):
    cut = fitted(given_values, limit, [False] * len(given_values))
    assert sum(map(len, cut)) <= limit
    for before, after in zip(given_values, cut, strict=True):
        was, now = msgspec.json.decode(before), msgspec.json.decode(after)
        assert type(now) is type(was)
        size = len(was.encode()) if isinstance(was, str) else len(before)
        mark = f"[flow_truncated: original_size={size}]"
        if before != after and isinstance(was, str):
            assert was.startswith(now.removesuffix(f" {mark}"))
            assert now.endswith(mark)
        elif before != after:
            assert now in ([], [mark], {"flow_truncated": True, "original_size": len(before)})
        if len(before) <= limit // len(given_values):
            assert after == before


async def test_rows_larger_than_a_document_are_captured_cut(source, caplog):
    source.run(
        "create table t (id int primary key, a text, b bytea, c jsonb, d text[], e text)",
        "alter table t replica identity full",
    )
    large = (
        "insert into t select %d, repeat('ä', {0}), decode(repeat('ab', {0}), 'hex'), "
        "to_jsonb(repeat('j', {0})), array[repeat('r', {0})], 'small'"
    ).format(5 * MIB)
    source.run(large % 1, "insert into t values (2, 'x', 'y', '1', '{z}', 'small')")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run(large % 3, "update t set e = 'changed' where id = 1", "delete from t where id = 3")
    second = await source.caught_up(built, first.state)
    assert [(doc["_meta"]["op"], doc["id"], doc["e"]) for doc in second.of(0)] == [
        ("c", 3, "small"),
        ("u", 1, "changed"),
        ("d", 3, "small"),
    ]
    for _, raw in first.documents + second.documents:
        assert len(raw) <= DOCUMENT_BYTES_MAX
    for row in (first.of(0)[0], second.of(0)[1]["_meta"]["before"]):
        assert row["a"].startswith("ä" * 9999)
        assert row["a"].endswith(f" [flow_truncated: original_size={10 * MIB}]")
    kept = b64decode(first.of(0)[0]["b"], validate=True)
    assert kept.endswith(b" [flow_truncated: original_size=%d]" % (5 * MIB))
    assert second.of(0)[1]["_meta"]["before"]["e"] == "small"
    assert first.of(0)[1]["a"] == "x"
    assert "values are cut: their document is too large" in caplog.messages
    assert "a text is cut: it is too long" in caplog.messages
