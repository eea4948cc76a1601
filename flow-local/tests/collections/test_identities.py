import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from estuary_cdk.protocol import packed
from flow_local.collections import identified, identities, identity, packed_of

parts = st.one_of(
    st.integers(),
    st.integers(0, 1 << 20),
    st.text(max_size=4),
    st.sampled_from(["a", "b", '"', "\\", "\0"]),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=2),
)


@given(st.integers(), st.integers())
def test_identities_are_equal_for_equal_integers_of_any_size(left, right):
    one, other = identity((b"%d" % left,)), identity((b"%d" % right,))
    assert (one == other) == (left == right)


def test_huge_integers_that_pack_alike_are_different_keys():
    huge = 10**30
    assert identity((b"%d" % huge,)) != identity((b"%d" % (huge + 1),))


@example([(-(10**18), ""), (10**20, "a\0"), (1, "b")])
@example([("a", 1), ("a", 2)])
@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[parts] * n), max_size=5)))
def test_many_keys_have_the_identities_that_each_has(keys):
    rows = [tuple(map(msgspec.json.encode, key)) for key in keys]
    assert identities(rows) == [identity(row) for row in rows]
    packs = list(map(packed.pack_json, rows))
    assert list(map(packed_of, identities(rows))) == packs
    columns = [list(map(msgspec.Raw, column)) for column in zip(*rows, strict=True)]
    assert not rows or identified(columns) == (identities(rows), packs)


@given(st.lists(st.integers(0, 300), min_size=2) | st.lists(st.text(max_size=3), min_size=2))
def test_identities_sort_as_keys_do(values):
    rows = [(msgspec.json.encode(value),) for value in values]
    by_key = sorted(zip(identities(rows), values, strict=True))
    assert [value for _, value in by_key] == sorted(
        values, key=lambda value: value.encode() if isinstance(value, str) else value
    )
