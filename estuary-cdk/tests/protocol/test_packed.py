"""Packed keys: known vectors, round trips, and the order of the keys."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.protocol.packed import pack, pack_json, packed_json, unpack

VECTORS = {
    b"[1]": "FQE=",
    b"[0]": "FA==",
    b"[-1]": "E/4=",
    b"[255]": "Ff8=",
    b"[256]": "FgEA",
    b"[-255]": "EwA=",
    b"[-256]": "Ev7/",
    b"[9223372036854775807]": "HH//////////",
    b"[18446744073709551615]": "HP//////////",
    b"[-9223372036854775808]": "DH//////////",
    b'["hello"]': "AmhlbGxvAA==",
    b'["a\\u0000b"]': "AmEA/2IA",
    b"[true,false,null]": "JyYA",
    b"[1.5]": "Ib/4AAAAAAAA",
    b"[-1.5]": "IUAH////////",
    b'[42,"hi",null,{"a":[1]}]': "FSoCaGkAAAF7ImEiOlsxXX0A",
}
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=6)
    | st.text(alphabet='\x00ÿa\\"', max_size=4)
)


@pytest.mark.parametrize(("json", "packed"), VECTORS.items())
def test_known_tuples_pack_to_known_bytes(json, packed) -> None:
    items = [bytes(raw) for raw in msgspec.json.decode(json, type=list[Raw])]
    assert base64.b64encode(pack_json(items)).decode() == packed


@given(st.lists(scalars))
def test_unpacking_returns_what_was_packed(key) -> None:
    assert unpack(pack(key)) == key
    assert pack_json([msgspec.json.encode(value) for value in key]) == pack(key)


def rank(value: object) -> tuple[int, object]:
    if value is None:
        return (0, 0)
    if isinstance(value, str):
        return (2, value.encode())
    return (5 if isinstance(value, bool) else 3, value)


@given(st.lists(scalars, max_size=4), st.lists(scalars, max_size=4))
def test_packed_bytes_sort_as_the_keys_do(left, right) -> None:
    assert (pack(left) < pack(right)) == (list(map(rank, left)) < list(map(rank, right)))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_fractions_sort_by_value(left, right) -> None:
    if not left.is_integer() and not right.is_integer():
        assert (pack([left]) < pack([right])) == (left < right)


def test_a_number_without_fraction_packs_like_the_integer() -> None:
    assert packed_json(b"1.0") == packed_json(b"1e0") == packed_json(b"1")


def test_unknown_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="0xfe"):
        unpack(b"\xfe")
