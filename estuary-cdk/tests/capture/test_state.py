"""State updates are merge patches that lead from what was written to what is wanted."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from pydantic import Field

from estuary_cdk.capture.state import BindingState, Patch, States, difference, merged
from estuary_cdk.errors import ConfigError

scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=4)
    ),
    max_leaves=10,
)
objects = st.dictionaries(st.text("abc", max_size=2), values, max_size=4)


class State(BindingState):
    seen: dict[str, int] = Field(default_factory=dict)
    position: str | None = None


def exact(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


@given(objects, objects)
def test_a_difference_leads_from_one_state_to_the_other(before, after):
    patch = difference(before, after)
    assert exact(merged(msgspec.json.decode(exact(before)), patch)) == exact(after)


@given(objects)
def test_the_difference_of_equals_is_nothing(value):
    assert difference(value, msgspec.json.decode(exact(value))) == {}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), max_size=6))
def test_whatever_states_follow_each_other_the_reduced_state_is_the_last(history):
    states = States(Raw(b"{}"), State)
    reduced: dict = {}
    for seen in history:
        patch = states.patch({"key": State(seen=seen)}, {})
        reduced = merged(reduced, msgspec.json.decode(patch))
    resumed = States(Raw(exact(reduced)), State).of("key")
    assert resumed == (State(seen=history[-1]) if history else None)


def test_an_update_touches_only_what_changed():
    raw = Raw(b'{"bindingStateV1":{"a":{"seen":{"x":1,"y":2},"position":"p"},"b":{}}}')
    states = States(raw, State)
    patch = states.patch({"a": State(seen={"y": 2, "z": 3})}, {})
    assert msgspec.json.decode(patch) == {
        "bindingStateV1": {"a": {"seen": {"x": None, "z": 3}, "position": None}}
    }
    assert states.patch({"a": State(seen={"y": 2, "z": 3})}, {}) == b"{}"


def test_a_patch_is_sent_as_it_is_and_remembered():
    states = States(Raw(b'{"bindingStateV1":{"a":{"seen":{"x":1}}}}'), State)
    assert states.patch({"a": Patch({"seen": {"y": 2}})}, {}) == (
        b'{"bindingStateV1":{"a":{"seen":{"y":2}}}}'
    )
    assert states.patch({"a": State(seen={"x": 1, "y": 2})}, {}) == b"{}"


def test_none_removes_a_bindings_state_and_a_later_one_starts_afresh():
    states = States(Raw(b'{"bindingStateV1":{"a":{"seen":{"x":1}}}}'), State)
    assert states.patch({"a": None}, {}) == b'{"bindingStateV1":{"a":null}}'
    assert states.patch({"a": State()}, {}) == b'{"bindingStateV1":{"a":{"seen":{}}}}'


def test_the_tasks_own_state_lives_beside_its_bindings():
    states = States(Raw(b'{"cursor":"0/1F","bindingStateV1":{}}'), State)
    assert bytes(states.task["cursor"]) == b'"0/1F"'
    assert states.patch({}, {"cursor": "0/20"}) == b'{"cursor":"0/20"}'


@pytest.mark.parametrize("raw", [b"[]", b'{"bindingStateV1":3}'])
def test_a_state_that_is_no_object_is_refused(raw):
    with pytest.raises(ConfigError, match="can't resume"):
        States(Raw(raw), State)
