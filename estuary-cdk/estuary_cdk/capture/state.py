"""The state of a task as the runtime keeps it, and the updates that change it.

    {"bindingStateV1": {"<state key>": {...}}, "<anything of the whole task>": ...}

A binding's state lives under its state key, which changes when the user asks for a backfill: the
binding then starts without state. Updates are merge patches (RFC 7396), so each touches only its
own binding. In a merge patch null means removal: null and absent are the same thing in a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw
from pydantic import BaseModel, ConfigDict, ValidationError

from estuary_cdk.errors import ConfigError, shortened
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.message import present

BINDINGS: Final = "bindingStateV1"

_exact = msgspec.json.Encoder(order="deterministic").encode

StateT = TypeVar("StateT", bound=BaseModel)


class BindingState(BaseModel):
    """Base of a connector's state of one binding: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class NoState(BindingState):
    """The state of a capture that starts from the beginning every time."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch of a binding's state, for states too large to be compared at every turn."""

    value: Mapping[str, Any]


class States(Generic[StateT]):
    """The task's state as last written, and what has to be sent to change it."""

    def __init__(self, raw: Raw, model: type[StateT]) -> None:
        self._model = model
        top = _object(bytes(raw)) if present(raw) else {}
        bindings = top.pop(BINDINGS, None)
        self.task: dict[str, Raw] = top
        self._raw = {} if bindings is None else _object(bytes(bindings))
        self._written: dict[str, Any] = {}

    def of(self, state_key: str) -> StateT | None:
        """Return a binding's state, None if it has none.

        Raises ConfigError for a state that isn't of this connector's making.
        """
        raw = self._raw.get(state_key)
        if raw is None or bytes(raw) == b"null":
            return None
        try:
            return self._model.model_validate_json(bytes(raw))
        except ValidationError as error:
            problem = error.errors()[0]
            place = "/".join(str(part) for part in problem["loc"])
            raise ConfigError(
                f"can't resume {state_key!r}: its state {shortened(bytes(raw), 200)} isn't of this "
                f"connector's making: {place}: {problem['msg']}",
                hint="increase the binding's backfill counter to start over",
            ) from error

    def patch(self, updates: Mapping[str, StateT | Patch | None], task: Mapping[str, Any]) -> bytes:
        """Return the merge patch that makes `updates` so, and take it as written.

        A state replaces the binding's state whatever it was, a Patch is merged into it, None
        removes it.
        """
        changes = {}
        for key, update in updates.items():
            before = self._before(key)
            after, change = _update(before, update)
            self._written[key] = after
            if change != {} or before is None:
                changes[key] = change
        return encode_json({BINDINGS: changes, **task} if changes else dict(task))

    def _before(self, key: str) -> Any:
        if key not in self._written:
            raw = self._raw.get(key)
            self._written[key] = None if raw is None else msgspec.json.decode(raw)
        return self._written[key]


def _update(before: Any, update: BaseModel | Patch | None) -> tuple[Any, Any]:
    """Return the state after an update, and the merge patch that leads there."""
    if isinstance(update, Patch):
        return merged(before, update.value), update.value
    if update is None:
        return None, None
    after = msgspec.json.decode(update.model_dump_json(by_alias=True))
    return after, difference(before, after)


def difference(before: Any, after: Any) -> Any:
    """Return the merge patch that turns one JSON value into another; `{}` for none."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return _without_nulls(after)
    patch: dict[str, Any] = {
        name: None for name in before if before[name] is not None and after.get(name) is None
    }
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if change := difference(old, value):
                patch[name] = change
        elif value is not None and (name not in before or _exact(old) != _exact(value)):
            patch[name] = _without_nulls(value)
    return patch


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value


def merged(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396) and return the result; `target` may be changed in place."""
    if not isinstance(patch, Mapping):
        return patch
    result = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _object(raw: bytes) -> dict[str, Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"can't resume: the state {shortened(raw, 200)} isn't of this connector's making",
            hint="reset the task's state",
        ) from error
