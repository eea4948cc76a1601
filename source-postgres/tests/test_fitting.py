"""However large the values of a row: its document fits, and small values are as they were."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from source_postgres.fitting import DOCUMENT_BYTES_MAX, fitted

MIB = 1 << 20

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
    cut = fitted(given_values, limit)
    assert sum(map(len, cut)) <= limit
    for before, after in zip(given_values, cut, strict=True):
        was, now = msgspec.json.decode(before), msgspec.json.decode(after)
        assert type(now) is type(was)
        if isinstance(was, str):
            assert was.startswith(now)
        elif before != after:
            assert now in ([], {"flow_truncated": True, "original_size": len(before)})
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
    assert first.of(0)[0]["a"].startswith("ä" * MIB)
    assert second.of(0)[1]["_meta"]["before"]["e"] == "small"
    assert first.of(0)[1]["a"] == "x"
    assert "values are cut: their document is too large" in caplog.messages
    assert "a text is cut: it is too long" in caplog.messages
