"""The bindings of a request as the connector sees them: parsed, resolved, told apart."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from estuary_cdk.capture.pull import Binding
from estuary_cdk.capture.state import States
from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.capture import CaptureBinding, ValidateBinding
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import CollectionSpec

ConfigT = TypeVar("ConfigT", bound=BaseModel)
ResourceT = TypeVar("ResourceT", bound=BaseModel)

_NOTHING: Final = CollectionSpec()


def resource_path(resource: BaseModel, pointers: Sequence[str]) -> tuple[str, ...]:
    """Return the values at `pointers`, leaving out those that are absent, null or empty."""
    config = resource.model_dump(mode="json", by_alias=True)
    values = [_at(config, pointer) for pointer in pointers]
    return tuple(
        value if isinstance(value, str) else encode_json(value).decode()
        for value in values
        if value not in (None, "")
    )


def _at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, dict) else None
    return value


def specified(
    config: tuple[type[ConfigT], bytes],
    resources: tuple[type[ResourceT], Sequence[str]],
    bindings: Sequence[CaptureBinding | ValidateBinding],
    linked: Sequence[CollectionSpec],
    states: States[Any] | None = None,
) -> tuple[ConfigT, tuple[Binding[ResourceT, Any], ...]]:
    """Read a request's config and bindings; `resources` is their model and path pointers.

    Raises one ConfigError that names everything wrong with all of them.
    """
    problems: list[ConfigError] = []
    parsed = None
    try:
        parsed = parse(config[0], config[1], "endpoint config")
    except ConfigError as error:
        problems.append(error)
    known: list[Binding[ResourceT, Any]] = []
    for index, binding in enumerate(bindings):
        try:
            known.append(_binding(index, binding, resources, linked, states))
        except ConfigError as error:
            problems.append(error)
    problems += _ambiguous(known)
    if parsed is None or problems:
        raise problems[0] if len(problems) == 1 else _together(problems)
    return parsed, tuple(known)


def _binding(
    index: int,
    binding: CaptureBinding | ValidateBinding,
    resources: tuple[type[ResourceT], Sequence[str]],
    linked: Sequence[CollectionSpec],
    states: States[Any] | None,
) -> Binding[ResourceT, Any]:
    model, pointers = resources
    collection = _collection(binding, linked)
    what = f"resource config of binding {index} ({collection.name})"
    resource = parse(model, bytes(binding.resource_config), what)
    path = resource_path(resource, pointers)
    if not path:
        raise ConfigError(f"can't use {what}: {' and '.join(pointers)} must not be empty")
    key = binding.state_key if isinstance(binding, CaptureBinding) else ""
    state = states.of(key) if states else None
    return Binding(index, resource, path, collection, binding.backfill, key, state)


def _collection(
    binding: CaptureBinding | ValidateBinding, linked: Sequence[CollectionSpec]
) -> CollectionSpec:
    if binding.collection is not None:
        return binding.collection
    if binding.collection_index < len(linked):
        return linked[binding.collection_index]
    return _NOTHING


def _ambiguous(bindings: Iterable[Binding[Any, Any]]) -> Iterator[ConfigError]:
    first: dict[tuple[str, ...], Binding[Any, Any]] = {}
    for binding in bindings:
        other = first.setdefault(binding.resource_path, binding)
        if other is not binding:
            yield ConfigError(
                f"can't use bindings {other.index} and {binding.index} together: "
                f"both are {binding.name!r}"
            )


def _together(problems: Sequence[ConfigError]) -> ConfigError:
    return ConfigError("; ".join(map(str, problems)), problems=[str(each) for each in problems])
