"""Every name belongs to exactly one shard, for good."""

from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.capture.sharding import key_hash, owns
from estuary_cdk.protocol.flow import FULL_RANGE, KEY_END_MAX, RangeSpec


def test_hashes_never_change():
    assert [key_hash(name) for name in ("", "calls", "acme/users", "ü")] == [
        309448485,
        1886807502,
        3529081496,
        3761014132,
    ]


@given(st.text(), st.integers(0, KEY_END_MAX - 1))
def test_of_two_shards_one_owns_a_name(name, cut):
    low, high = RangeSpec(key_end=cut), RangeSpec(key_begin=cut + 1, key_end=KEY_END_MAX)
    if low != RangeSpec():
        assert owns(low, name) != owns(high, name)
    assert owns(FULL_RANGE, name)


def test_no_range_is_the_full_range():
    assert owns(RangeSpec(), "calls")
