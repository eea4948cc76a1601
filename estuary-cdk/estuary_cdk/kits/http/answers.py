"""JSON answers: what is cut out of them and what they become.

Asked for as `bytes`, a value is its exact JSON: numbers keep their spelling, whatever their size.
Asked for as a pydantic model, it is validated; as anything else, it is what msgspec makes of it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from estuary_cdk.errors import DataError

T = TypeVar("T")

_NULL = b"null"


def parsed(body: bytes, model: type[T], place: str) -> T:
    """Return `body` as `model`; DataError names `place` and the spot, never the value."""
    try:
        if model is bytes:
            return cast("T", bytes(msgspec.json.decode(body, type=msgspec.Raw)))
        if _is_pydantic(model):
            return cast("T", _adapter(cast("Any", model)).validate_json(body))
        return msgspec.json.decode(body, type=model)
    except (msgspec.MsgspecError, ValidationError) as error:
        raise DataError(f"can't use the answer of {place}: {_reason(error)}") from error


def items_parsed(raw: Sequence[bytes], model: type[T], place: str) -> list[T]:
    """Return each of `raw` as `model`, in order; all are judged at once."""
    if model is bytes:
        return cast("list[T]", list(raw))
    return parsed(b"[%b]" % b",".join(raw), list[model], place)  # type: ignore[valid-type]


def value_at(body: bytes, path: str, place: str) -> bytes | None:
    """Return the exact JSON at `path`, or None where it is absent or null.

    `path` is dotted ("records.cursor"), or a JSON pointer when it begins with a slash; "" is the
    whole body.
    """
    value = body
    for key in _keys(path):
        try:
            members = msgspec.json.decode(value, type=dict[str, msgspec.Raw] | None)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"can't use the answer of {place}: looking for {path!r}: {_reason(error)}"
            ) from error
        if members is None or key not in members:
            return None
        value = bytes(members[key])
    return None if value.strip() == _NULL else value


def items_at(body: bytes, path: str, place: str) -> list[bytes]:
    """Return the exact JSON of each item of the list at `path`; none where it is absent or null."""
    value = value_at(body, path, place)
    if value is None:
        return []
    try:
        return [bytes(item) for item in msgspec.json.decode(value, type=list[msgspec.Raw])]
    except msgspec.MsgspecError as error:
        raise DataError(
            f"can't use the answer of {place}: at {path!r}: {_reason(error)}"
        ) from error


def scalar_at(body: bytes, path: str, place: str) -> str | None:
    """Return the string, number or boolean at `path` as text, numbers as spelled; None if none."""
    value = value_at(body, path, place)
    if value is None:
        return None
    if value[:1] in {b"{", b"["}:
        raise DataError(f"can't use the answer of {place}: {path!r} isn't a plain value")
    return msgspec.json.decode(value, type=str) if value[:1] == b'"' else value.decode()


def _keys(path: str) -> list[str]:
    if path.startswith("/"):
        return [key.replace("~1", "/").replace("~0", "~") for key in path[1:].split("/")]
    return path.split(".") if path else []


def _is_pydantic(model: Any) -> bool:
    kind = model.__args__[0] if getattr(model, "__origin__", None) is list else model
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@lru_cache(maxsize=256)
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        spot = "".join(f"/{part}" for part in first["loc"])
        return f"{first['msg'].lower()} at {spot!r}"
    return str(error).lower()
