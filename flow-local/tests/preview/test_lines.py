"""The lines of a preview, byte for byte."""

import pytest
from msgspec import Raw

from estuary_cdk.errors import DataError
from estuary_cdk.protocol.flow import ConnectorState
from flow_local.preview.lines import applied_line, document_line, final_state_line, state_lines

UUID = b"DocUUIDPlaceholder-329Bb50aa48EAa9ef"


def test_a_document_has_its_properties_in_order_and_a_placeholder():
    line = document_line("acme/a", b'{"b":1.0,"a":[{"d":1e3,"c":2}],"_meta":{"op":"c"}}')
    meta = b'{"op":"c","uuid":"' + UUID + b'"}'
    assert line == b'["acme/a",{"_meta":' + meta + b',"a":[{"c":2,"d":1e3}],"b":1.0}]\n'


def test_integers_of_any_size_keep_their_digits():
    number = b"-123456789012345678901234567890"
    assert b'"n":' + number in document_line("acme/a", b'{"n":' + number + b"}")


@pytest.mark.parametrize("document", [b"[]", b'{"_meta":1}', b"{"])
def test_what_is_no_document_is_refused(document):
    with pytest.raises(DataError, match="can't preview document"):
        document_line("acme/a", document)


@pytest.mark.parametrize(
    ("update", "lines"),
    [
        (None, b'["connectorState",{}]\n'),
        (ConnectorState(), b'["connectorState",{}]\n'),
        (
            ConnectorState(updated=Raw(b'{"a": 1}'), merge_patch=True),
            b'["connectorState",{"updated":{"a": 1},"mergePatch":true}]\n',
        ),
        (
            ConnectorState(updated=Raw(b'{"a":1}')),
            b"".join(
                (
                    b'["connectorState",{"updated":null,"mergePatch":true}]\n',
                    b'["connectorState",{"updated":{"a":1},"mergePatch":true}]\n',
                )
            ),
        ),
    ],
)
def test_states_are_told_as_patches(update, lines):
    assert state_lines(update) == lines


def test_the_last_state_is_whole():
    line = final_state_line(b'{"b": 1.0, "a": 1}')
    assert line == b'["connectorState",{"updated":{"a":1,"b":1.0}}]\n'


def test_descriptions_are_quoted_as_rust_does():
    assert applied_line("") == b'["applied.actionDescription", ""]\n'
    text = "a \"b\"\\\n\t'c' é\x00\x1b\u00a0"
    expected = r"""["applied.actionDescription", "a \"b\"\\\n\t'c' é\0\u{1b}\u{a0}"]"""
    assert applied_line(text).decode() == expected + "\n"
