"""The tracked keys follow what is in the collection, through small patches."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.kits.files import tracked_keys
from estuary_cdk.kits.files.tracked_keys import TrackedKeys, document_of, key_of, members


def applied(blocks, patch):
    return {k: v for k, v in (blocks | patch).items() if v is not None}


def all_keys(blocks):
    tracked = TrackedKeys(blocks)
    return set(tracked.vanished())


@given(
    reads=st.lists(
        st.lists(st.lists(st.integers(0, 30).map(b"[%d]".__mod__), max_size=8), max_size=4),
        max_size=5,
    )
)
def test_after_each_read_the_stored_keys_are_those_it_saw(reads):
    blocks = {}
    for read in reads:
        tracked = TrackedKeys(blocks)
        for checkpoint in read:
            for key in checkpoint:
                tracked.see(key)
            blocks = applied(blocks, tracked.patch())
        blocks = applied(blocks, tracked.forget(tracked.vanished()))
        assert all_keys(blocks) == {key for checkpoint in read for key in checkpoint}


def test_a_patch_names_only_new_keys():
    tracked = TrackedKeys({})
    tracked.see(b"[1]")
    first = tracked.patch()
    tracked.see(b"[1]")
    assert tracked.patch() == {}
    tracked.see(b"[2]")
    assert tracked.patch().keys().isdisjoint(first)


def test_many_small_blocks_become_few(monkeypatch):
    monkeypatch.setattr(tracked_keys, "BLOCKS_MAX", 3)
    tracked, blocks = TrackedKeys({}), {}
    for number in range(5):
        tracked.see(b"[%d]" % number)
        blocks = applied(blocks, tracked.patch())
    assert len(blocks) == 5
    blocks = applied(blocks, tracked.compacted())
    assert len(blocks) == 1
    assert len(all_keys(blocks)) == 5


def test_keys_go_to_documents_and_back():
    document = {"a": {"b~/c": 123456789012345678901234567890}, "d": "x", "e": True}
    pointers = ("/a/b~0~1c", "/d", "/e")
    raw = members(msgspec.json.encode(document))
    assert document_of(key_of(raw, pointers), pointers) == document


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("1.0", b"[1]"),
        ("-0", b"[0]"),
        ("1e3", b"[1000]"),
        ("123456789012345678901234567890.0", b"[123456789012345678901234567890]"),
        ('"\\u0061\\/"', b'["a/"]'),
        ('"a/"', b'["a/"]'),
        ("false", b"[false]"),
    ],
)
def test_a_key_is_the_same_however_its_value_is_spelled(written, key):
    assert key_of(members(f'{{"huge":1e999,"k":{written}}}'.encode()), ["/k"]) == key


@pytest.mark.parametrize("value", ["null", "[1]", '{"a":1}', '"x"'])
def test_a_key_that_is_no_scalar_is_named(value):
    with pytest.raises(LookupError, match="/k/a/b"):
        key_of(members(f'{{"k":{{"a":{value}}}}}'.encode()), ["/k/a/b"])
