"""Length-delimited Protobuf messages, of a type that a descriptor set describes.

Every message has its size in front, as a varint. Fields have the names they have in the `.proto`
file; those that a message leaves out are null, or their default where the language has no way to
leave them out. Integers are numbers whatever their size, enums their names, bytes base64, NaN and
infinities strings; the well-known types have the JSON that Protobuf gives them.
"""

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from estuary_cdk.errors import ConfigError, DataError
from estuary_cdk.kits.files.libraries import library
from estuary_cdk.kits.files.options import ProtobufOptions

MESSAGE_BYTES_MAX: Final = 64 << 20
VARINT_BYTES_MAX: Final = 10
WELL_KNOWN: Final = "google.protobuf."

_encoded_lines = msgspec.json.Encoder().encode_lines


class ProtobufMessages:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    Raises ConfigError for options that describe no message, DataError for what isn't one.
    """

    def __init__(self, file: str, options: ProtobufOptions) -> None:
        message: Any = library("google.protobuf.message", "Protobuf files")
        self._errors = (message.DecodeError, UnicodeDecodeError, ValueError)
        self._file = file
        self._type = _message_type(options)
        self._values = _Values()
        self._buffer = bytearray()
        self._wanted = 0
        self._messages = 0

    def feed(self, block: bytes) -> list[bytes]:
        self._buffer += block
        if len(self._buffer) < self._wanted:
            return []
        found = []
        start = 0
        while (bounds := self._bounds(start)) is not None:
            found.append(self._message(bytes(self._buffer[slice(*bounds)])))
            start = bounds[1]
        del self._buffer[:start]
        return [line[1:] for line in _encoded_lines(found).split(b"\n")[:-1]]

    def finish(self) -> list[bytes]:
        if self._buffer:
            raise self._unreadable("the file ends inside it")
        return []

    def _bounds(self, start: int) -> tuple[int, int] | None:
        size = shift = 0
        for at in range(start, min(start + VARINT_BYTES_MAX, len(self._buffer))):
            size |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            if self._buffer[at] < 0x80:
                break
        else:
            if len(self._buffer) >= start + VARINT_BYTES_MAX:
                raise self._unreadable("no size stands in front of it")
            self._wanted = len(self._buffer) - start + 1
            return None
        if size > MESSAGE_BYTES_MAX:
            raise self._unreadable(f"it has {size} bytes, the limit is {MESSAGE_BYTES_MAX}")
        end = at + 1 + size
        self._wanted = end - start
        return (at + 1, end) if end <= len(self._buffer) else None

    def _message(self, data: bytes) -> dict[str, Any]:
        try:
            value: dict[str, Any] = self._values.of(self._type.FromString(data))
        except self._errors as error:
            raise self._unreadable(str(error)) from error
        self._messages += 1
        return value

    def _unreadable(self, reason: str) -> DataError:
        return DataError(
            f"can't read message {self._messages} of {self._file!r} as "
            f"{self._type.DESCRIPTOR.full_name}: {reason}",
            hint="messages must have their size in front",
            file=self._file,
        )


def _message_type(options: ProtobufOptions) -> Any:
    pools: Any = library("google.protobuf.descriptor_pool", "Protobuf files")
    descriptors: Any = library("google.protobuf.descriptor_pb2", "Protobuf files")
    factory: Any = library("google.protobuf.message_factory", "Protobuf files")
    pool = pools.DescriptorPool()
    try:
        packed = base64.b64decode(options.descriptor_set, validate=True)
        files = descriptors.FileDescriptorSet.FromString(packed)
        for file in files.file:
            pool.Add(file)
        return factory.GetMessageClass(pool.FindMessageTypeByName(options.message))
    except binascii.Error as error:
        raise ConfigError(f"can't use descriptorSet: not base64: {error}") from error
    except KeyError as error:
        raise ConfigError(
            f"can't use message {options.message!r}: the descriptor set has no such message",
            hint="name it with its package, like acme.orders.Order",
        ) from error
    except Exception as error:  # the library raises errors of its parser's own
        raise ConfigError(
            f"can't use descriptorSet: {' '.join(str(error).split())[:300]}",
            hint="make it with protoc --include_imports --descriptor_set_out",
        ) from error


class _Values:
    """Turns messages into members; how is worked out once per type of message."""

    def __init__(self) -> None:
        self._json: Any = library("google.protobuf.json_format", "Protobuf files")
        self._types: dict[str, list[tuple[Any, Callable[[Any], Any]]]] = {}

    def of(self, message: Any) -> Any:
        descriptor = message.DESCRIPTOR
        if descriptor.full_name.startswith(WELL_KNOWN):
            return self._json.MessageToDict(message, preserving_proto_field_name=True)
        fields = self._types.get(descriptor.full_name)
        if fields is None:
            fields = [(field, self._converter(field)) for field in descriptor.fields]
            self._types[descriptor.full_name] = fields
        return {
            field.name: None
            if field.has_presence and not message.HasField(field.name)
            else convert(getattr(message, field.name))
            for field, convert in fields
        }

    def _converter(self, field: Any) -> Callable[[Any], Any]:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            value = self._single(entry.fields_by_name["value"])
            return lambda members: {_key(key): value(members[key]) for key in members}
        single = self._single(field)
        if field.is_repeated:
            return lambda values: [single(value) for value in values]
        return single

    def _single(self, field: Any) -> Callable[[Any], Any]:
        if field.message_type is not None:
            return self.of
        if field.enum_type is not None:
            names = {
                number: value.name for number, value in field.enum_type.values_by_number.items()
            }
            return lambda number: names.get(number, number)
        if field.cpp_type in {field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT}:
            return _float
        return _same


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
