import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol.flow import ConnectorState
from flow_local.recovery.patches import merged, patches_of, updated


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(target, patch, result):
    text = merged(msgspec.json.encode(target), msgspec.json.encode(patch))
    assert msgspec.json.decode(text) == result


def reference(target, patch):
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = reference(target.get(name), value)
    return target


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "ü"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_any_patch(target, patch):
    text = merged(msgspec.json.encode(target), msgspec.json.encode(patch))
    assert msgspec.json.decode(text) == reference(target, patch)


def test_numbers_keep_their_spelling():
    state = b'{"a":{"lsn":123456789012345678901234567890,"f":1.0},"b":1e3}'
    patched = merged(state, b'{"a":{"x":2.50},"c":-0}')
    assert patched == (
        b'{"a":{"lsn":123456789012345678901234567890,"f":1.0,"x":2.50},"b":1e3,"c":-0}'
    )


def test_a_replacement_replaces_and_no_update_changes_nothing():
    replacement = ConnectorState(updated=Raw(b'{"b":null}'))
    assert updated(b'{"a":1}', replacement) == b'{"b":null}'
    assert updated(b'{"a":1}', None) == b'{"a":1}'
    assert updated(b'{"a":1}', ConnectorState(merge_patch=True)) == b'{"a":1}'


def test_patches_tell_a_replacement_as_a_reset_and_a_value():
    patch = ConnectorState(updated=Raw(b'{"a":1}'), merge_patch=True)
    whole = ConnectorState(updated=Raw(b'{"b":2}'))
    assert patches_of(patch, None, whole) == b'[{"a":1},null,{"b":2}]'
    assert patches_of(None) == b""


def test_a_malformed_state_is_the_connectors_mistake():
    with pytest.raises(RemoteProtocolError, match="can't update the connector's state"):
        updated(b"{}", ConnectorState(updated=Raw(b'{"a":}'), merge_patch=True))
