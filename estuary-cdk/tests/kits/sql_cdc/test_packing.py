"""Packed keys sort as their values do, and can be taken apart again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.kits.sql_cdc.packing import packed, unpacked

INTEGERS = st.integers(-(2**63), 2**63 - 1)
PARTS = st.none() | INTEGERS | st.binary() | st.text() | st.booleans()


@given(st.lists(PARTS))
def test_a_tuple_comes_back_as_it_went(parts):
    assert unpacked(packed(parts)) == parts


@given(st.tuples(INTEGERS, st.binary()), st.tuples(INTEGERS, st.binary()))
def test_tuples_sort_by_their_bytes(one, other):
    assert (packed(one) < packed(other)) == (one < other)


def test_the_encoding_is_foundationdbs():
    assert packed((0, 1, -1, 256)) == b"\x14\x15\x01\x13\xfe\x16\x01\x00"
    assert packed((b"a\0", "é", None)) == b"\x01a\x00\xff\x00\x02\xc3\xa9\x00\x00"


@pytest.mark.parametrize("data", [b"\x16\x01", b"\xff", b"\x02abc"])
def test_what_is_no_tuple_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        unpacked(data)
