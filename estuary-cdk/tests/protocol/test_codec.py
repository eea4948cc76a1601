"""Messages keep every byte that matters, and what others write is understood."""

import binascii
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol import capture, flow, materialize
from estuary_cdk.protocol.codec import (
    CAPTURE_REQUESTS,
    CAPTURE_RESPONSES,
    MATERIALIZE_REQUESTS,
    MATERIALIZE_RESPONSES,
    CapturedLines,
    Codec,
    Stores,
    captured_block,
    cut_captured,
    load_line,
    loaded_block,
    store_block,
    store_heads,
    store_line,
    store_lines,
    texts,
)
from estuary_cdk.protocol.message import ABSENT, Message

VOCABULARIES = [CAPTURE_REQUESTS, CAPTURE_RESPONSES, MATERIALIZE_REQUESTS, MATERIALIZE_RESPONSES]
SPELLINGS = [
    b"1.0", b"1e3", b"-0.0", b"123456789012345678901234567890", b"18446744073709551615",
    b'"a\\u0000b"', b'"\\/"', b'{"b": 1, "a": [1.50, null], "b": 2}', b"[ ]", b"true",
]  # fmt: skip
raws = st.sampled_from([Raw(spelling) for spelling in SPELLINGS])


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Any value of a message, default-valued fields among them."""
    return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})


def is_there(value: object) -> bool:
    return value is not ABSENT


def values(hint: Any) -> st.SearchStrategy[Any]:
    if hint is Raw:
        return raws | st.just(ABSENT)
    if get_origin(hint) is list:
        return st.lists(values(get_args(hint)[0]).filter(is_there), max_size=2)
    if get_origin(hint) is dict:
        return st.dictionaries(
            st.text(max_size=3), values(get_args(hint)[1]).filter(is_there), max_size=2
        )
    options = [option for option in get_args(hint) if option is not type(None)]
    if options:
        return st.none() | values(options[0])
    if isinstance(hint, type) and issubclass(hint, Message):
        return st.deferred(lambda: messages(hint))
    return {
        int: st.integers(0, 2**32 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: st.text(max_size=5),
    }[hint]


def required(kind: type[Message]) -> list[str]:
    return [f.name for f in msgspec.structs.fields(kind) if f.default is msgspec.NODEFAULT]


ANY = st.sampled_from(VOCABULARIES).flatmap(
    lambda vocabulary: st.tuples(
        st.just(vocabulary),
        st.sampled_from(list(vocabulary.messages.values())).flatmap(messages),
    )
)


def complete(message: Message) -> bool:
    needed = [getattr(message, name) for name in required(type(message))]
    if isinstance(message, materialize.Load | materialize.Store):
        needed.append(message.key)
    return ABSENT not in needed


@settings(max_examples=50)
@given(ANY.filter(lambda pair: complete(pair[1])))
def test_a_message_survives_the_wire(pair) -> None:
    vocabulary, message = pair
    codec = Codec(vocabulary)
    line = codec.encode(message)
    assert line.count(b"\n") == 1
    assert codec.decode(line) == message
    assert codec.encode(codec.decode(line)) == line
    assert codec.decode_runs(line) == [(type(message), [message])]


@settings(max_examples=50)
@given(ANY.filter(lambda pair: complete(pair[1])))
def test_snake_case_and_nulls_read_like_our_own_spelling(pair) -> None:
    vocabulary, message = pair
    codec = Codec(vocabulary)
    kind = type(message)
    names = {f.encode_name: f.name for f in msgspec.structs.fields(kind)}
    [(variant, body)] = msgspec.json.decode(codec.encode(message), type=dict[str, Raw]).items()
    parts = msgspec.json.decode(body, type=dict[str, Raw])
    snake = {names[name]: raw for name, raw in parts.items()}
    absent = {name: None for name in names if name not in parts}
    spelled = {variant: {**snake, **absent}, "$internal": "aGk=", "unknownToUs": None}
    others = {name: None for name in vocabulary.messages if name != variant}
    assert codec.decode(msgspec.json.encode({**others, **spelled})) == message


def test_defaults_are_left_out_and_names_are_camel_case() -> None:
    codec = Codec(CAPTURE_REQUESTS)
    opened = capture.Open(
        capture=capture.CaptureSpec(name="a/b", bindings=[capture.CaptureBinding(state_key="k")]),
        range=flow.RangeSpec(key_end=7),
        state=Raw(b'{"n": 1.0}'),
    )
    assert codec.encode(opened) == (
        b'{"open":{"capture":{"name":"a/b","bindings":[{"stateKey":"k"}]},'
        b'"range":{"keyEnd":7},"state":{"n": 1.0}}}\n'
    )
    assert Codec(CAPTURE_RESPONSES).encode(capture.Opened()) == b'{"opened":{}}\n'


def test_missing_fields_have_their_defaults() -> None:
    codec = Codec(CAPTURE_RESPONSES)
    assert codec.decode(b'{"captured":{"doc":{}}}') == capture.Captured(doc=Raw(b"{}"))
    state = codec.decode(b'{"checkpoint":{"state":{"updated":{}}}}')
    assert state == capture.Checkpoint(state=flow.ConnectorState(updated=Raw(b"{}")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            b'{"sourcedSchema":{"binding":0,"schema_json":{"a":1}}}',
            capture.SourcedSchema(document_schema=Raw(b'{"a":1}')),
        ),
        (
            b'{"captured":{"binding":"3","doc_json":{}}}',
            capture.Captured(doc=Raw(b"{}"), binding=3),
        ),
        (
            b'{"captured":{"binding":null,"doc":[1.0]}}',
            capture.Captured(doc=Raw(b"[1.0]")),
        ),
    ],
)
def test_other_spellings_are_understood_one_by_one_and_in_blocks(line, message) -> None:
    codec = Codec(CAPTURE_RESPONSES)
    assert codec.decode(line) == message
    plain = captured_block(1, [b"{}"])
    expected = [capture.Captured(doc=Raw(b"{}"), binding=1), message]
    found = [m for _, run in codec.decode_runs(plain + line + b"\n") for m in run]
    assert found == expected


def test_enums_are_read_as_integers_and_64_bit_numbers_as_text() -> None:
    codec = Codec(MATERIALIZE_REQUESTS)
    opened = codec.decode(
        b'{"open":{"materialization":{"name":"m","connectorType":3,"bindings":null},'
        b'"range":{"key_end":"4294967295"}}}'
    )
    assert isinstance(opened, materialize.Open)
    assert opened.materialization.connector_type == "IMAGE"
    assert opened.range.key_end == 2**32 - 1
    validated = Codec(MATERIALIZE_RESPONSES).decode(
        b'{"validated":{"bindings":[{"constraints":{"f":{"type":6,"reason":"r"}}}]}}'
    )
    assert isinstance(validated, materialize.Validated)
    assert validated.bindings[0].constraints["f"].type == "INCOMPATIBLE"


def test_state_patches_are_known_by_their_older_name() -> None:
    message = Codec(MATERIALIZE_REQUESTS).decode(
        b'{"acknowledge":{"connectorStatePatches":[{"a":1}\t,null]}}'
    )
    assert message == materialize.Acknowledge(state_patches=Raw(b'[{"a":1}\t,null]'))


@given(st.lists(st.integers(0, 3)))
def test_runs_keep_order_and_hold_one_kind_each(choices) -> None:
    codec = Codec(CAPTURE_RESPONSES)
    kinds = [
        capture.Captured(doc=Raw(b'{"n":1}')),
        capture.Captured(doc=Raw(b"{}"), binding=2),
        capture.Checkpoint(),
        capture.SourcedSchema(document_schema=Raw(b"{}")),
    ]
    sent = [kinds[choice] for choice in choices]
    runs = codec.decode_runs(b"".join(map(codec.encode, sent)))
    assert [message for _, run in runs for message in run] == sent
    assert all(type(message) is kind for kind, run in runs for message in run)
    assert all(a[0] is not b[0] for a, b in pairwise(runs))


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b'{"a":',
        b'{"open":{},"spec":{}}',
        b'{"open":{}}',
        b'{"spec":7}',
        b"\xff",
        b"hi",
    ],
)
def test_nonsense_is_refused_with_a_reason(line) -> None:
    codec = Codec(CAPTURE_REQUESTS)
    with pytest.raises(RemoteProtocolError, match="can't read message"):
        codec.decode(line)
    with pytest.raises(RemoteProtocolError, match="can't read message"):
        codec.decode_runs(line + b"\n")


documents = st.lists(
    st.sampled_from([b'{"n":%s}' % s for s in SPELLINGS] + [b'{"a":\n1,\r\n"b":"\\n"}']), min_size=1
)


@given(documents, st.integers(0, 9))
def test_blocks_of_documents_decode_to_the_documents(docs, binding) -> None:
    flat = [doc.replace(b"\n", b" ").replace(b"\r", b" ") for doc in docs]
    [(kind, captured)] = Codec(CAPTURE_RESPONSES).decode_runs(captured_block(binding, docs))
    assert kind is capture.Captured
    assert [(m.binding, bytes(m.doc)) for m in captured] == [(binding, doc) for doc in flat]
    [(kind, loaded)] = Codec(MATERIALIZE_RESPONSES).decode_runs(loaded_block(binding, docs))
    assert kind is materialize.Loaded
    assert [(m.binding, bytes(m.doc)) for m in loaded] == [(binding, doc) for doc in flat]


def test_empty_blocks_are_nothing() -> None:
    assert captured_block(0, []) == loaded_block(0, []) == b""
    assert Codec(CAPTURE_RESPONSES).decode_runs(b"\n") == []


@pytest.mark.parametrize("document", [b'{"n":1.0}', None])
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("delete", [True, False])
def test_loads_and_stores_spelled_in_bulk_decode_to_what_they_say(document, exists, delete) -> None:
    line = store_line(3, b"[1e3]", b"FQE=", b'["x"]', document, exists=exists, delete=delete)
    block = load_line(3, b"[1e3]", b"FQE=") + line
    [(_, loads), (_, stores)] = Codec(MATERIALIZE_REQUESTS).decode_runs(block)
    assert loads == [materialize.Load(binding=3, key=Raw(b"[1e3]"), key_packed="FQE=")]
    assert stores == [
        materialize.Store(
            binding=3,
            key=Raw(b"[1e3]"),
            key_packed="FQE=",
            values=Raw(b'["x"]'),
            doc=ABSENT if document is None else Raw(document),
            exists=exists,
            delete=delete,
        )
    ]


@pytest.mark.parametrize("kind", [bytes, Raw])
@pytest.mark.parametrize("values", [[], [b'["x",1.0]', b'[null,"}}"]']])
@pytest.mark.parametrize("documents", [[b'{"n":1e3}', b'{"n":"}}"}'], None])
def test_stores_spelled_column_by_column_are_the_lines_of_each(kind, values, documents) -> None:
    keys, packs = [b'["a",1.0]', b'["b",2e1]'], [b"\x02a\x00\x15\x01", b"\x02b\x00\x15\x14"]
    columns = Stores(
        keys=turned(kind, keys),
        packed=packs,
        values=turned(kind, values),
        documents=documents,
    )
    lines = store_lines(3, columns)

    def line(place: int, mark: int) -> bytes:
        return store_line(
            3,
            keys[place],
            binascii.b2a_base64(packs[place], newline=False),
            values[place] if values else b"[]",
            None if documents is None else documents[place],
            exists=mark in {1, 3},
            delete=mark in {2, 3},
        )

    assert lines == line(0, 0) + line(1, 0)
    for marks in ([0, 1], [2, 3]):
        assert store_block(store_heads(lines), marks) == line(0, marks[0]) + line(1, marks[1])


def turned(kind: type, arrays: list[bytes]) -> list[list[Any]]:
    rows = [map(bytes, msgspec.json.decode(array, type=list[Raw])) for array in arrays]
    return [list(map(kind, column)) for column in zip(*rows, strict=True)]


@given(st.lists(st.sampled_from([b"", b"1", b"\n", b"[1,\n2]", b'"a"'])))
def test_texts_are_the_bytes_of_each(values: list[bytes]) -> None:
    assert texts(list(map(Raw, values))) == texts(values) == values


lines = st.one_of(
    st.builds(captured_block, st.integers(0, 2), documents),
    st.builds(captured_block, st.just(0), st.lists(st.just(b'{"_meta":{"op":"c"}}'), min_size=1)),
    st.sampled_from(
        [
            b'{"checkpoint":{"state":{"updated":{"a":{}}}}}\n',
            b'{"captured":{"doc":{},"binding":1}}\n',
            b'{"captured":{"doc":{"a":1}}}\n' * 2,
            b'{"captured":{"binding":0,"doc":[{}]}}\n',
            b'{"captured":{"binding":0,"doc":{"a":1},"x":{"b":{}}}}\n',
            b'{"captured":{"binding":01,"doc":{}}}\n',
            b"\n",
            b"Traceback (most recent call last):\n",
        ]
    ),
)


@given(st.lists(lines, max_size=30))
def test_cut_blocks_are_whole_and_in_order(parts) -> None:
    block = b"".join(parts)
    cut = cut_captured(block)
    spelt = [each if isinstance(each, bytes) else each.lines for each in cut]
    assert b"".join(spelt) == block
    assert all(each.endswith(b"\n") for each in spelt)
    for each in cut:
        if isinstance(each, CapturedLines):
            found = each.text().splitlines()
            assert found == [each.opening + middle + b"}" for middle in each.middles]
            bare = each.lines.replace(b'"binding":0,', b"")
            assert bare == captured_block(each.binding, found).replace(b'"binding":0,', b"")


@given(st.integers(0, 2), documents, documents)
def test_what_the_kit_spells_is_cut_up_to_its_checkpoint(binding, before, after) -> None:
    checkpoint = b'{"checkpoint":{}}\n'
    first, second = captured_block(binding, before), captured_block(binding + 1, after)
    cut = cut_captured(first + checkpoint + second)
    assert [getattr(each, "lines", each) for each in cut] == [first, checkpoint, second]
    assert [getattr(each, "binding", None) for each in cut] == [binding, None, binding + 1]


def test_a_block_of_changing_kinds_is_not_looked_through_for_ever() -> None:
    block = (captured_block(0, [b"{}"]) + b'{"checkpoint":{}}\n') * 20_000
    *cut, rest = cut_captured(block)
    assert len(cut) < 100
    assert len(rest) > len(block) * 0.99
