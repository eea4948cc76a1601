"""JSON merge patches (RFC 7396) on JSON text: what a patch leaves alone keeps its exact bytes."""

from typing import Final

import msgspec

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol.flow import ConnectorState
from estuary_cdk.protocol.message import present

EMPTY: Final = b"{}"

_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def merged(target: bytes, patch: bytes) -> bytes:
    """Return `target` patched; both are JSON text, an empty `target` stands for nothing."""
    if not _is_object(patch):
        return patch
    result = _properties(target) if _is_object(target) else {}
    for name, value in _properties(patch).items():
        if bytes(value) == b"null":
            result.pop(name, None)
        elif _is_object(value):
            below = bytes(result.get(name, msgspec.Raw(b"")))
            result[name] = msgspec.Raw(merged(below, bytes(value)))
        else:
            result[name] = value
    return _encode(result)


def _is_object(value: bytes | msgspec.Raw) -> bool:
    return bytes(value).lstrip()[:1] == b"{"


def updated(state: bytes, update: ConnectorState | None) -> bytes:
    """Return a connector's state after an update; raises RemoteProtocolError for a bad one."""
    if update is None or not says(update):
        return state
    value = bytes(update.updated)
    try:
        return merged(state, value) if update.merge_patch else value
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"can't update the connector's state: {error}") from error


def says(update: ConnectorState) -> bool:
    """Tell whether an update is one; a patch may be `null`, a replacement may not."""
    return present(update.updated) or (update.merge_patch and bytes(update.updated) == b"null")


def patches_of(*updates: ConnectorState | None) -> bytes:
    """Spell updates as an array of patches; a replacement is the patch `null`, then the value."""
    patches: list[bytes] = []
    for update in updates:
        if update is not None and says(update):
            patches += [] if update.merge_patch else [b"null"]
            patches.append(bytes(update.updated))
    return b"[" + b",".join(patches) + b"]" if patches else b""
