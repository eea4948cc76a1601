"""Messages of any described type become records."""

import base64
import math
from contextlib import suppress

import msgspec
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, protobuf_messages

FIELD = descriptor_pb2.FieldDescriptorProto


def field(number, name, kind, *, label=FIELD.LABEL_OPTIONAL, type_name=None, optional=False):
    made = FIELD(name=name, number=number, type=kind, label=label, type_name=type_name)
    if optional:
        made.proto3_optional = True
        made.oneof_index = 0
    return made


def described():
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="acme", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    enum = file.enum_type.add(name="Color")
    enum.value.add(name="RED", number=0)
    enum.value.add(name="BLUE", number=1)
    row = file.message_type.add(name="Row")
    entry = row.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.extend([field(1, "key", FIELD.TYPE_INT32), field(2, "value", FIELD.TYPE_DOUBLE)])
    row.oneof_decl.add(name="_note")
    many = FIELD.LABEL_REPEATED
    row.field.extend(
        [
            field(1, "id", FIELD.TYPE_UINT64),
            field(2, "note", FIELD.TYPE_STRING, optional=True),
            field(3, "color", FIELD.TYPE_ENUM, type_name=".acme.Color"),
            field(4, "data", FIELD.TYPE_BYTES),
            field(5, "inner", FIELD.TYPE_MESSAGE, type_name=".acme.Row"),
            field(6, "tags", FIELD.TYPE_STRING, label=many),
            field(7, "counts", FIELD.TYPE_MESSAGE, label=many, type_name=".acme.Row.CountsEntry"),
            field(8, "at", FIELD.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp"),
        ]
    )
    return file


def file_set():
    from google.protobuf import timestamp_pb2

    timestamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(timestamp)
    return descriptor_pb2.FileDescriptorSet(file=[timestamp, described()])


SET = file_set()
CONFIG = {
    "descriptorSet": base64.b64encode(SET.SerializeToString()).decode(),
    "message": "acme.Row",
}


def row_type():
    pool = descriptor_pool.DescriptorPool()
    for file in SET.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("acme.Row"))


Row = row_type()


def sized(data):
    size, left = bytearray(), len(data)
    while left > 0x7F:
        size.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(size) + bytes([left]) + data


def delimited(*messages):
    return b"".join(sized(message.SerializeToString()) for message in messages)


def read(content, block=1 << 16, **changes):
    options = {"format": {"type": "protobuf", "config": {**CONFIG, **changes}}}
    reader = FileReader("f.pb", ParserOptions.model_validate(options))
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    found = [records for each in blocks for records in reader.feed(each)]
    found += reader.finish()
    return [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]


FULL = Row(id=2**64 - 1, note="", color=1, data=b"\0\xff", tags=["a", "b"])
FULL.counts[7] = math.nan
FULL.at.FromJsonString("2024-01-01T00:00:00.5Z")
FULL.inner.id = 3
FULL.inner.color = 9
NOTHING = {
    "id": 0, "note": None, "color": "RED", "data": "", "inner": None, "tags": [], "counts": {},
    "at": None,
}  # fmt: skip


@given(st.integers(1, 100))
def test_messages_become_records_however_the_file_is_cut(block):
    assert read(delimited(FULL, Row(), Row(note="x" * 300)), block) == [
        {
            "id": 2**64 - 1, "note": "", "color": "BLUE", "data": "AP8=",
            "inner": {**NOTHING, "id": 3, "color": 9}, "tags": ["a", "b"],
            "counts": {"7": "NaN"}, "at": "2024-01-01T00:00:00.500Z",
        },
        NOTHING,
        {**NOTHING, "note": "x" * 300},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"descriptorSet": "!"}, "can't use descriptorSet: not base64"),
        ({"descriptorSet": base64.b64encode(b"\xff" * 9).decode()}, "can't use descriptorSet"),
        ({"message": "acme.None"}, "has no such message"),
    ],
)
def test_a_description_that_describes_nothing_is_a_mistake_of_the_config(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        read(delimited(FULL), **changes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (delimited(FULL)[:-1], "can't read message 0 of 'f.pb' as acme.Row: the file ends inside"),
        (delimited(FULL) + b"\x02\xff\xff", "can't read message 1 of 'f.pb'"),
        (b"\xff" * 11, "no size stands in front"),
        (b"\xff\xff\xff\xff\x7f", "the limit is"),
    ],
)
def test_what_is_no_message_is_one_clear_error(content, reason):
    with pytest.raises(DataError, match=reason):
        read(content)


@given(st.binary(max_size=60))
def test_any_bytes_give_records_or_one_error(content):
    with suppress(DataError):
        read(content)


def test_messages_nested_too_deep_are_refused():
    deep = b""
    for _ in range(5000):
        deep = b"\x2a" + sized(deep)
    with pytest.raises(DataError, match="can't read message 0"):
        read(sized(deep))


def test_a_message_that_claims_to_be_huge_is_refused(monkeypatch):
    monkeypatch.setattr(protobuf_messages, "MESSAGE_BYTES_MAX", 10)
    with pytest.raises(DataError, match="the limit is 10"):
        read(delimited(FULL))
