"""The lines of a preview, byte for byte as flowctl prints them.

Documents have their properties in order, as Flow's own have; numbers keep their spelling. A line of
`applied.actionDescription` has a space after its comma, the others don't. Texts are quoted as
Rust's debug format does, which is JSON but for what can't be printed.
"""

import unicodedata
from typing import Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.errors import DataError, shortened
from estuary_cdk.protocol.flow import UUID_PLACEHOLDER, ConnectorState
from flow_local.recovery.patches import says

_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\0": "\\0",
}
_COMBINING: Final = frozenset({"Mn", "Me"})

_decode = msgspec.json.Decoder(float_hook=lambda text: Raw(text.encode())).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def document_line(collection: str, document: bytes) -> bytes:
    """Return the line of a captured document, whose UUID is the placeholder.

    Raises DataError for a document that isn't an object whose `_meta` is one.
    """
    try:
        value: Any = _decode(document)
        value.setdefault("_meta", {})["uuid"] = UUID_PLACEHOLDER
    except (msgspec.MsgspecError, AttributeError, TypeError) as error:
        raise DataError(
            f"can't preview document {shortened(document)}: it isn't an object whose _meta is one"
        ) from error
    return b"[%b,%b]\n" % (quoted(collection), _encode(value))


def state_lines(update: ConnectorState | None) -> bytes:
    """Return what is printed of a state's update: a line, or two where the state is replaced."""
    if update is None or not says(update):
        return b'["connectorState",{}]\n'
    reset = (
        b"" if update.merge_patch else b'["connectorState",{"updated":null,"mergePatch":true}]\n'
    )
    return reset + b'["connectorState",{"updated":%b,"mergePatch":true}]\n' % bytes(update.updated)


def final_state_line(state: bytes) -> bytes:
    """Return the last line of a run: the whole state that it ended with, properties in order."""
    return b'["connectorState",{"updated":%b}]\n' % _encode(_decode(state))


def applied_line(description: str) -> bytes:
    """Return the line of one Applied."""
    return b'["applied.actionDescription", %b]\n' % quoted(description)


def quoted(text: str) -> bytes:
    """Quote a text as Rust's debug format does."""
    return ('"' + "".join(map(_escaped, text)) + '"').encode()


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable() and unicodedata.category(char) not in _COMBINING:
        return char
    return f"\\u{{{ord(char):x}}}"
