import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol.capture import Captured
from estuary_cdk.protocol.codec import captured_block
from flow_local.connectors import CAPTURE, CapturedBatch
from flow_local.schema.proving import prover
from flow_local.tasks.blocks import Blocks

SCHEMA = msgspec.json.encode(
    {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": ["integer", "string"]}, "n": {"type": "number"}},
    }
)
BLOCKS = Blocks([prover(SCHEMA, ["/id"]), prover(b'{"uniqueItems":true}', ["/id"])])
CHECKPOINT = b'{"checkpoint":{"state":{"updated":{"a":{"b":1}}}}}\n'
START = b'{"captured":{"binding":0,"doc":{'
ODD = [
    # One document or none or several for the eye of a cutter, but not for a decoder.
    START + b'"id":1},"x":{"b":2}}}\n',
    START + b'"id":1},"doc":{"id":2}}}\n',
    START + b'"id":1}},"captured":{"binding":1,"doc":{}}}\n',
    START + b'"id":1}},"captured":null,"checkpoint":{"state":{}}}\n',
    START + b'"id":1}}}{"captured":{"binding":0,"doc":{"id":2}}}\n',
    START + b'"id":1}{"id":2}}}\n',
    START + b'"id":3}}\n',
    START + b"}}}\n",
    START + b'"id":1}}}\r\n',
    START + b'"id":1}}} \n',
    START + b' "id" : 1.0 }}}\n',
    b'{"captured":{"binding":"0","doc":{"id":1}}}\n',
    b'{"captured":{"binding":0,"doc": {"id":1} }}\n',
    b'{"captured":{"binding":0,"doc_json":{"id":1}}}\n',
    b'{"captured":{"binding":0,"doc":[{"id":1}]}}\n',
    b'{"captured":{"doc":{"id":1}}}\n',
    # Broken.
    START + b'"id":1}\n',
    START + b'"id":1,\n',
    b'"n":2}}}\n',
    START + b'"id":"}\n',
    b'{"}}}\n',
    START + b'"id":[1\n',
    START + b'"id":"\xff"}}}\n',
    b"Traceback (most recent call last):\n",
    b"\n",
]
documents = st.sampled_from(
    [
        b'{"id":%s}' % each
        for each in (b"1", b"2.0", b'"a"', b"null", b"{}", b"99999999999999999999")
    ]
    + [b'{"_meta":{"op":"c"},"id":1}', b'{"_meta":{},"id":1}', b'{"id":1,"n":1e999}', b"{}"]
    + ['{"id":"é"}'.encode(), b'{"id":"\\ud800"}', b'{"id":1,"x":"\xff"}']
)
blocks = st.builds(
    b"".join,
    st.lists(
        st.builds(captured_block, st.integers(0, 2), st.lists(documents, max_size=4))
        | st.just(CHECKPOINT)
        | st.sampled_from(ODD),
        max_size=6,
    ),
)


def said(decode, block):
    """What a decoder makes of a block: documents and other messages in order, or its failure."""
    found: list = []
    try:
        for kind, messages in decode(block):
            for message in messages:
                if kind is CapturedBatch:
                    found += [(message.binding, each) for each in message.documents.documents()]
                elif kind is Captured:
                    found.append((message.binding, bytes(message.doc)))
                else:
                    found.append(message)
    except RemoteProtocolError as error:
        return [str(error)]
    return found


@given(blocks)
def test_blocks_say_what_they_do_when_decoded(block):
    assert said(BLOCKS.runs, block) == said(CAPTURE.responses.decode_runs, block)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("more", [captured_block(0, [b'{"id":1}', b'{"id":2}']), CHECKPOINT, b""])
def test_odd_lines_among_others_say_what_they_do_when_decoded(odd, more):
    for block in (more + odd, odd + more, more + odd + more, odd + odd + more):
        assert said(BLOCKS.runs, block) == said(CAPTURE.responses.decode_runs, block)


def test_a_connector_that_leaves_binding_0_out_is_as_quick():
    line = b'{"captured":{"doc":{"id":%d}}}\n'
    [(kind, [message])] = BLOCKS.runs(line % 1 + line % 2)
    assert kind is CapturedBatch
    assert message.binding == 0
    assert message.documents.documents() == [b'{"id":1}', b'{"id":2}']


def test_nearly_all_documents_are_not_taken_apart():
    block = captured_block(0, [b'{"_meta":{"op":"c"},"id":%d}' % n for n in range(100)])
    (kind, [message]), _, (after, [rest]) = BLOCKS.runs(block + CHECKPOINT + block)
    assert kind is after is CapturedBatch
    assert message.documents == rest.documents
    assert message.documents.parts == list(range(100))
    assert message.documents.is_plain


@pytest.mark.parametrize(
    "document",
    [b'{"id":null}', b'{"id":1,"n":"x"}', b'{"id":1,"x":"\xff"}', b'{"n":1}', b'{"id":}'],
)
def test_an_invalid_document_is_left_to_those_who_can_tell_why(document):
    block = captured_block(0, [b'{"id":1}', document, b'{"id":2}'])
    try:
        kinds = [kind for kind, _ in BLOCKS.runs(block)]
    except RemoteProtocolError:
        return
    assert kinds == [Captured]
