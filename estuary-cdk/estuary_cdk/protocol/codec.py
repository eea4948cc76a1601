"""Bytes to messages and back: the only module that knows how the protocol spells JSON.

Written: one compact line per message, camelCase, default-valued fields left out, opaque JSON byte
for byte (but for line breaks, which JSON allows only between tokens and framing forbids).

Read: also snake_case names with or without their `_json` suffix, nulls as absent, 64-bit numbers as
strings, enums as integers, unknown fields ignored. The few kinds of message that carry documents
(captured, loaded, load, store) are decoded a block at a time; when a line isn't spelled as we
would, it is read again with all the patience above.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, repeat
from operator import attrgetter
from types import UnionType
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError, shortened
from estuary_cdk.protocol import capture, materialize
from estuary_cdk.protocol.message import ABSENT, Message

Run = tuple[type[Message], list[Any]]

_LEVEL: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_LIST: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_key_of: Callable[[Any], Raw] = attrgetter("key")
_ENCODE = msgspec.json.Encoder().encode
_ENCODE_LINES = msgspec.json.Encoder().encode_lines

# Spellings that no rule of the protocol's JSON mapping derives.
_ALIASES = {"schemaJson": "documentSchema", "connectorStatePatches": "statePatches"}
_ENUMS: dict[str, tuple[str, ...]] = {
    "connectorType": ("INVALID", "", "LOCAL", "IMAGE"),
    "type": materialize.CONSTRAINT_NAMES,
    "exists": ("INVALID", "MUST", "MAY", "IMPLICIT", "CANNOT"),
}


def one_line(raw: bytes) -> bytes:
    """Return JSON text without line breaks; the breaks can only stand between tokens."""
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return raw


def encode_json(value: object) -> bytes:
    """Spell a value as compact JSON; integers of any size and `Raw` parts stay exact."""
    return _ENCODE(value)


def texts(raws: Sequence[bytes | Raw]) -> list[bytes]:
    """Return the bytes of each; quick where they are short and have no line breaks."""
    # To join and cut them costs half of what a call for each does.
    cut = b"\n".join(raws).split(b"\n")
    return cut if len(cut) == len(raws) else list(map(bytes, raws))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The messages one side of a protocol may say, by their key in the envelope."""

    messages: dict[str, type[Message]]
    hot: tuple[str, ...]

    def names(self) -> dict[type[Message], str]:
        return {message: name for name, message in self.messages.items()}


CAPTURE_REQUESTS = Vocabulary(capture.REQUESTS, ())
CAPTURE_RESPONSES = Vocabulary(capture.RESPONSES, ("captured",))
MATERIALIZE_REQUESTS = Vocabulary(materialize.REQUESTS, ("load", "store"))
MATERIALIZE_RESPONSES = Vocabulary(materialize.RESPONSES, ("loaded",))


class Codec:
    """Encodes and decodes one vocabulary; stateless, so one serves any number of streams."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._messages = vocabulary.messages
        self._prefixes = {
            message: b'{"%s":' % name.encode() for name, message in vocabulary.messages.items()
        }
        self._envelopes: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            _envelope(tuple(vocabulary.messages.items()), vocabulary.hot)
        )
        self._getters = [(name, attrgetter(name)) for name in vocabulary.hot]
        self._cold = tuple(name for name in self._messages if name not in vocabulary.hot)

    def encode(self, message: Message) -> bytes:
        """Spell one message as one line, its line break included."""
        return one_line(self._prefixes[type(message)] + _ENCODE(message)) + b"}\n"

    def decode(self, line: bytes) -> Message:
        """Read one line.

        Raises RemoteProtocolError for anything but an object with exactly one known message.
        """
        variants = self._variants(line)
        if len(variants) != 1:
            found = " and ".join(sorted(variants)) or "none"
            raise RemoteProtocolError(
                f"can't read message {shortened(line[:200])}: "
                f"expected one of {', '.join(self._messages)}, found {found}"
            )
        [(name, raw)] = variants.items()
        try:
            return cast("Message", _patient(self._messages[name], raw, name))
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError(f"can't read message {name!r}: {error}") from error

    def decode_runs(self, block: bytes) -> list[Run]:
        """Read a block of whole lines as runs of consecutive messages of one kind, in order."""
        try:
            envelopes = self._envelopes.decode_lines(block)
        except msgspec.MsgspecError:
            return _runs([self.decode(line) for line in block.splitlines() if line.strip()])
        # Almost always a whole block of one kind: no need to look at each envelope twice.
        for name, message_of in self._getters:
            messages = list(map(message_of, envelopes))
            # A message is always true, and `all` much quicker than a search for None.
            if messages and all(messages) and _all_complete(messages):
                return [(self._messages[name], messages)]
        return self._sorted_runs(block, envelopes)

    def _sorted_runs(self, block: bytes, envelopes: Sequence[Any]) -> list[Run]:
        messages: list[Message] = []
        lines: list[bytes] = []
        for index, envelope in enumerate(envelopes):
            for _, message_of in self._getters:
                message = message_of(envelope)
                if message is not None and _complete(message):
                    messages.append(message)
                    break
            else:
                message = self._cold_message(envelope)
                if message is None:
                    lines = lines or [line for line in block.split(b"\n") if line.strip()]
                    message = self.decode(lines[index])
                messages.append(message)
        return _runs(messages)

    def _cold_message(self, envelope: Any) -> Message | None:
        found = [
            (name, raw)
            for name in self._cold
            if (raw := getattr(envelope, name)) is not ABSENT and bytes(raw) != b"null"
        ]
        if len(found) != 1:
            return None
        [(name, raw)] = found
        try:
            return cast("Message", _patient(self._messages[name], raw, name))
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError(f"can't read message {name!r}: {error}") from error

    def _variants(self, line: bytes) -> dict[str, Raw]:
        try:
            line.decode()
            level = _LEVEL.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RemoteProtocolError(
                f"can't read message {shortened(line[:200])}: {error}",
                hint="stdout carries the protocol alone: one JSON object per line",
            ) from error
        known = {_camel(name): raw for name, raw in level.items() if bytes(raw) != b"null"}
        return {name: raw for name, raw in known.items() if name in self._messages}


@cache
def _envelope(messages: tuple[tuple[str, type[Message]], ...], hot: tuple[str, ...]) -> type:
    """Make the type that reads any line of a vocabulary; one for the life of the process.

    It must not be freed: msgspec 0.22 loses references to None with every type made at run time.
    """
    typed = [(name, message | None, None) for name, message in messages if name in hot]
    raw = [(name, Raw, ABSENT) for name, _ in messages if name not in hot]
    # Nothing in it leads back to it; to tell the collector of each costs a seventh of reading it.
    return msgspec.defstruct("Envelope", [*typed, *raw], frozen=True, gc=False)


def _all_complete(messages: Sequence[Any]) -> bool:
    if type(messages[0]) not in {materialize.Load, materialize.Store}:
        return True
    return ABSENT not in map(_key_of, messages) or all(map(_complete, messages))


def _complete(message: Any) -> bool:
    """Tell whether a hot message carries its key; if not, it may be spelled in another way."""
    kind = type(message)
    if kind is materialize.Load or kind is materialize.Store:
        return message.key is not ABSENT or message.key_packed != ""
    return True


def _runs(messages: Iterable[Message]) -> list[Run]:
    return [(kind, list(run)) for kind, run in groupby(messages, key=type)]


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    camel = head + "".join(word[:1].upper() + word[1:] for word in tail)
    return _ALIASES.get(camel, camel)


@cache
def _fields(message: type[Message]) -> dict[str, tuple[str, Any]]:
    """Map every accepted spelling of a message's fields to (attribute, type)."""
    hints = get_type_hints(message)
    fields = {}
    for field in msgspec.structs.fields(message):
        hint = hints[field.name]
        fields[field.encode_name] = (field.name, hint)
        fields[f"{field.encode_name}Json"] = (field.name, hint)
    return fields


def _patient(kind: Any, raw: Raw, name: str) -> Any:
    """Read `raw` as `kind` by the protocol's rules for reading, level by level."""
    if kind is Raw:
        return Raw(bytes(raw))
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        [kind] = [option for option in get_args(kind) if option is not type(None)]
        return _patient(kind, raw, name)
    if isinstance(kind, type) and issubclass(kind, Message):
        return _patient_message(kind, raw)
    if origin is list:
        [item] = get_args(kind)
        return [_patient(item, each, name) for each in _LIST.decode(raw)]
    if origin is dict:
        _, item = get_args(kind)
        return {key: _patient(item, each, name) for key, each in _LEVEL.decode(raw).items()}
    if kind is str and name in _ENUMS and re.fullmatch(rb"\d+", bytes(raw)):
        names = _ENUMS[name]
        index = int(bytes(raw))
        return names[index] if index < len(names) else names[0]
    return msgspec.json.decode(raw, type=kind, strict=False)


def _patient_message(kind: type[Message], raw: Raw) -> Message:
    fields = _fields(kind)
    values = {}
    for spelled, value in _LEVEL.decode(raw).items():
        known = fields.get(spelled) or fields.get(_camel(spelled))
        if known is not None and bytes(value) != b"null":
            attribute, hint = known
            values[attribute] = _patient(hint, value, spelled)
    try:
        return kind(**values)
    except TypeError as error:
        raise msgspec.ValidationError(str(error)) from error


# Blocks: many messages of one kind in one go, their documents spliced in as they are.


def _framed(documents: Sequence[bytes], prefix: bytes, suffix: bytes) -> bytes:
    # To search is much quicker than to count, even with a join before it.
    text = b"".join(documents)
    if b"\n" in text or b"\r" in text:
        documents = list(map(one_line, documents))
    return b"".join((prefix, (suffix + prefix).join(documents), suffix))


def captured_block(binding: int, documents: Sequence[bytes]) -> bytes:
    """Spell documents of one binding as `captured` lines; empty for no documents."""
    if not documents:
        return b""
    return _framed(documents, b'{"captured":{"binding":%d,"doc":' % binding, b"}}\n")


_CAPTURED = re.compile(rb'\{"captured":\{(?:"binding":(0|[1-9]\d{0,8}),)?"doc":(\{"_meta":\{"|\{)')
_CAPTURED_END: Final = b"}}}\n"
CUTS_MAX: Final = 16
"""Runs looked for in one block: each costs a look at the rest of it."""


@dataclass(frozen=True, slots=True)
class CapturedLines:
    """What may be documents of one binding: each is `opening`, its own middle, and `}`.

    `lines` are the lines they were cut out of. No middle has a line break.
    """

    binding: int
    opening: bytes
    middles: list[bytes]
    lines: bytes

    def text(self) -> bytes:
        """Return the documents, each as a line."""
        return self.opening + (b"}\n" + self.opening).join(self.middles) + b"}\n"


def cut_captured(block: bytes) -> list[CapturedLines | bytes]:
    """Cut a block of whole lines into runs of `captured` as they are mostly spelt, and other lines.

    The other lines are to be decoded.

    The documents are objects if the text of a run is as many JSON values as the run has middles: a
    brace, a line break and a brace can only stand between values. Whoever takes a run must have
    proved that; if it isn't so, the run's `lines` are to be decoded.
    """
    parts: list[CapturedLines | bytes] = []
    at = done = tries = 0
    while 0 <= at < len(block) and tries < CUTS_MAX:
        match = _CAPTURED.match(block, at)
        tries += match is not None
        found = _captured_lines(block, match) if match else None
        if found is None:
            at = block.find(b"\n", at) + 1 or len(block)
            continue
        if done < at:
            parts.append(block[done:at])
        parts.append(found)
        at = done = at + len(found.lines)
    if done < len(block):
        parts.append(block[done:])
    return parts


def _captured_lines(block: bytes, first: re.Match[bytes]) -> CapturedLines | None:
    prefix, start = first.group(), first.start()
    middles = block[first.end() :].split(_CAPTURED_END + prefix)
    whole = middles[-1].removesuffix(_CAPTURED_END)
    # A search of all at once costs a fifth of counting line breaks.
    if len(whole) < len(middles[-1]) and b"\n" not in b"".join((*middles[:-1], whole)):
        middles[-1] = whole
        lines = block[start:]
    else:  # Another kind of line stands among them, or behind them.
        last = next(n for n, middle in enumerate(middles) if b"\n" in middle)
        line = middles[last].partition(b"\n")[0] + b"\n"
        del middles[last:]
        if line.endswith(_CAPTURED_END):
            middles.append(line[: -len(_CAPTURED_END)])
        if not middles:
            return None
        around = len(prefix) + len(_CAPTURED_END)
        lines = block[start : start + around * len(middles) + sum(map(len, middles))]
    return CapturedLines(int(first.group(1) or 0), first.group(2), middles, lines)


def loaded_block(binding: int, documents: Sequence[bytes]) -> bytes:
    """Spell documents of one binding as `loaded` lines; empty for no documents."""
    if not documents:
        return b""
    return _framed(documents, b'{"loaded":{"binding":%d,"doc":' % binding, b"}}\n")


def load_line(binding: int, key: bytes, key_packed: bytes) -> bytes:
    """Spell one `load`: `key` is JSON array text, `key_packed` base64 text."""
    return b'{"load":{"binding":%d,"key":%b,"keyPacked":"%b"}}\n' % (binding, key, key_packed)


def store_line(  # noqa: PLR0913 - the message has this many parts
    binding: int,
    key: bytes,
    key_packed: bytes,
    values: bytes,
    document: bytes | None,
    *,
    exists: bool,
    delete: bool,
) -> bytes:
    """Spell one `store`: `key` and `values` are JSON array texts, `key_packed` base64 text."""
    return b'{"store":{"binding":%d,"key":%b,"keyPacked":"%b","values":%b%b%b%b}}\n' % (
        binding,
        key,
        key_packed,
        values,
        b"" if document is None else b',"doc":' + document,
        b',"exists":true' if exists else b"",
        b',"delete":true' if delete else b"",
    )


@dataclass(frozen=True, slots=True)
class Stores:
    """Stores of one binding, at least one, column by column, to be spelt.

    `keys` and `values` hold a column of JSON texts for each field, each either of bytes or of Raw
    alone, `packed` the packed keys; `documents` is None where the binding has none. Nothing in
    them has line breaks.
    """

    keys: Sequence[Sequence[bytes | Raw]]
    packed: Sequence[bytes]
    values: Sequence[Sequence[bytes | Raw]]
    documents: Sequence[bytes] | None


class _StoreText(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    binding: int
    key: tuple[Raw, ...]
    key_packed: bytes
    values: tuple[Raw, ...]
    doc: Raw | msgspec.UnsetType = msgspec.UNSET


class _StoreLine(msgspec.Struct, gc=False):
    store: _StoreText


_END = b"}}\n"
_ENDS = (_END, b',"exists":true}}\n', b',"delete":true}}\n', b',"exists":true,"delete":true}}\n')


def store_lines(binding: int, stores: Stores) -> bytes:
    """Spell stores of documents that neither exist nor are deleted, each as a line."""
    count = len(stores.packed)
    # Turned columns, written by the encoder: half of what joining the pieces of lines costs.
    parts: list[Iterable[Any]] = [
        repeat(binding, count),
        _turned(stores.keys, count),
        stores.packed,  # bytes become base64
        _turned(stores.values, count),
    ]
    if stores.documents is not None:
        parts.append(map(Raw, stores.documents))
    return _ENCODE_LINES(list(map(_StoreLine, map(_StoreText, *parts))))


def _turned(columns: Sequence[Sequence[bytes | Raw]], count: int) -> Iterable[tuple[Raw, ...]]:
    if not columns:
        return repeat((), count)
    return zip(*map(_raw, columns), strict=True)


def _raw(column: Sequence[bytes | Raw]) -> Sequence[Raw]:
    # The encoder would take bytes for something to be spelt in base64.
    if isinstance(column[0], Raw):
        return cast("Sequence[Raw]", column)
    return list(map(Raw, column))


def store_heads(lines: bytes) -> list[bytes]:
    """Cut `store_lines` into stores that `store_block` ends in one way or another."""
    return lines.split(_END)[:-1]


def store_block(heads: Sequence[bytes], marks: Sequence[int]) -> bytes:
    """End stores, each with its mark: 0, or 1 for exists, plus 2 for delete; `store_line`s."""
    pieces: list[bytes] = [b""] * (2 * len(heads))
    pieces[::2] = heads
    pieces[1::2] = map(_ENDS.__getitem__, marks)
    return b"".join(pieces)
