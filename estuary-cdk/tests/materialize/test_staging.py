"""Staged work in the connector's state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from estuary_cdk.errors import ContractError, RemoteProtocolError
from estuary_cdk.materialize import Shard
from estuary_cdk.materialize.staging import (
    Entry,
    Ledger,
    cleared,
    overlapping,
    patched,
    patches_of,
    pending,
    recorded,
)
from estuary_cdk.testing.materialize_runtime import patched as merged

WHOLE = Shard("acme/task", 0, 0xFFFFFFFF)
LOW, HIGH = Shard("acme/task", 0, 0x7FFFFFFF), Shard("acme/task", 0x80000000, 0xFFFFFFFF)
LEDGER = Ledger(WHOLE, ("users", "orders.v1"))

entries = st.dictionaries(
    st.builds(Entry, st.sampled_from(["a", "b"]), st.sampled_from(["r1", "r2"])),
    st.text().map(str.encode),
)


def test_work_is_named_by_state_key_and_range():
    state = recorded(LEDGER.entries({1: b'{"files":[1.0]}'}))
    assert state.merge_patch
    assert bytes(state.updated) == (
        rb'{"orders.v1":{"staged":{"00000000-ffffffff":"{\"files\":[1.0]}"}}}'
    )


@given(st.lists(st.one_of(entries, st.sets(st.sampled_from([Entry("a", "r1"), Entry("b", "r2")])))))
def test_the_state_tells_what_was_recorded_and_not_cleared(updates):
    state, expected = {}, {}
    for update in updates:
        if isinstance(update, dict):
            patch, expected = recorded(update), {**expected, **update}
        else:
            patch = cleared(update)
            expected = {entry: work for entry, work in expected.items() if entry not in update}
        if patch is not None:
            state = merged(state, json.decode(patch.updated))
    assert pending(json.encode(state)) == expected


def test_nothing_to_say_is_no_update():
    assert recorded({}) is None
    assert cleared([]) is None


@pytest.mark.parametrize("state", [b"", b"null", b"{}", b'{"users":{"cursor":5}}', b'{"users":1}'])
def test_a_state_without_staged_work_has_none(state):
    assert pending(state) == {}


def test_patches_apply_in_order_and_null_forgets_all():
    first = {Entry("a", "r"): b"1"}
    patches = patches_of(b'[{"b":{"staged":{"r":"2"}}}\t,null,\t{"c":{"staged":{"r":"3"}}}]')
    assert patched(first, patches) == {Entry("c", "r"): b"3"}


@pytest.mark.parametrize("patch", [b'{"a":null}', b'{"a":{"staged":null}}'])
def test_a_state_key_can_be_forgotten_at_once(patch):
    before = {Entry("a", "r"): b"1", Entry("b", "r"): b"2"}
    assert patched(before, [patch]) == {Entry("b", "r"): b"2"}


def test_patches_that_arent_a_list_are_refused():
    with pytest.raises(RemoteProtocolError, match="state patches"):
        patches_of(b"{}")


def test_a_shard_takes_over_what_overlaps_its_range():
    whole, low, high = (Ledger(shard, ("t",)).entries({0: b"x"}) for shard in (WHOLE, LOW, HIGH))
    assert overlapping({**whole, **low, **high}, LOW) == {**whole, **low}
    assert overlapping({**low, **high}, WHOLE) == {**low, **high}
    assert overlapping({Entry("t", "strange"): b"x"}, WHOLE) == {}


def test_each_range_is_a_batch_of_its_own_and_unbound_keys_are_left():
    own = LEDGER.entries({0: b"a", 1: b"b"})
    parent = {Entry("users", "00000000-0000ffff"): b"c", Entry("gone", "00000000-ffffffff"): b"d"}
    assert LEDGER.batches({**own, **parent}) == [{0: b"a", 1: b"b"}, {0: b"c"}]
    assert Entry("gone", "00000000-ffffffff") not in LEDGER.known({**own, **parent})


def test_staged_work_of_unknown_bindings_is_refused():
    with pytest.raises(ContractError, match="no binding 2"):
        LEDGER.entries({2: b"x"})


def test_staged_work_is_text():
    with pytest.raises(ContractError, match="UTF-8"):
        LEDGER.entries({0: b"\xff"})
