"""What users configure: models of endpoint and resource configs, and how their settings are told.

    class Config(EndpointConfig):
        address: str = setting(title="Address", description="Host and port of the server.")
        password: Secret = setting(title="Password", description="Its password.")

    class Resource(ResourceConfig):
        table: str = setting(title="Table", description="Table to write.", collection_name=True)

A key the model doesn't know is an error that names it, at any depth. The schema of an endpoint
config alone lets the root have more, because encryption adds a `sops` stanza there.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SecretStr, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticUndefined

from estuary_cdk.errors import ConfigError, shortened
from estuary_cdk.logs import get_logger

log = get_logger(__name__)

ModelT = TypeVar("ModelT", bound=BaseModel)

FEATURE_FLAGS: Final = "feature_flags"
_BOOKKEEPING: Final = {"_meta", "sops"}


class Settings(BaseModel):
    """A group of settings inside a config."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class EndpointConfig(Settings):
    """The config of a whole task."""


class ResourceConfig(Settings):
    """The config of one binding."""


class Secret(SecretStr):
    """Text that never shows in a log, an error or a `repr`; `get_secret_value()` reveals it."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "secret": True}


def setting(  # noqa: PLR0913 - each is an annotation of Flow's config forms
    default: Any = PydanticUndefined,
    *,
    title: str,
    description: str = "",
    default_factory: Any = None,
    alias: str | None = None,
    advanced: bool = False,
    multiline: bool = False,
    order: int | None = None,
    discriminator: str | None = None,
    collection_name: bool = False,
    schema_name: bool = False,
    delta_updates: bool = False,
    pattern: str | None = None,
    format: str | None = None,  # noqa: A002 - the keyword's name in JSON schema
    ge: float | None = None,
    le: float | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Any:
    """Declare a setting of a config and how Flow's forms show it.

    Required unless it has a default. `order` follows the order of declaration when left out;
    `discriminator` names the property that tells the variants of a union apart;
    `collection_name`, `schema_name` and `delta_updates` are filled from the collection bound;
    `annotations` are keywords of the schema that only some settings have.
    """
    marks = {
        "advanced": advanced,
        "multiline": multiline,
        "x-collection-name": collection_name,
        "x-schema-name": schema_name,
        "x-delta-updates": delta_updates,
    }
    extra: dict[str, Any] = {name: True for name, marked in marks.items() if marked}
    extra |= annotations or {}
    if order is not None:
        extra["order"] = order
    if format is not None:
        extra["format"] = format
    constraints = {"pattern": pattern, "ge": ge, "le": le, "alias": alias}
    keywords: dict[str, Any] = {k: v for k, v in constraints.items() if v is not None}
    if default_factory is not None:
        keywords["default_factory"] = default_factory
    else:
        keywords["default"] = default
    if discriminator is not None:
        keywords["discriminator"] = discriminator
    return Field(title=title, description=description or None, json_schema_extra=extra, **keywords)


def parse(model: type[ModelT], raw: bytes, what: str) -> ModelT:
    """Read a config as its model.

    Raises ConfigError that lists everything wrong with it, each with its place; `what` names the
    config in the message ("endpoint config", "resource config of binding 2"). Values of secrets
    don't show.
    """
    try:
        value = msgspec.json.decode(raw or b"{}")
    except msgspec.DecodeError as error:
        raise ConfigError(f"can't read {what}: it isn't JSON: {error}") from error
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if key not in _BOOKKEEPING}
        _drop_feature_flags(model, value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = list(_problems(model, error.errors()))
        raise ConfigError(f"can't use {what}: {'; '.join(problems)}", problems=problems) from None


def _drop_feature_flags(model: type[BaseModel], value: dict[str, Any]) -> None:
    """Accept the flag string of an old spec: none of its behaviours is a flag here."""
    advanced = value.get("advanced")
    if isinstance(advanced, dict) and advanced.get(FEATURE_FLAGS) is not None:
        known = model.model_fields.get("advanced")
        nested = known.annotation if known else None
        if isinstance(nested, type) and FEATURE_FLAGS in getattr(nested, "model_fields", {}):
            return
        log.warning("feature flags are ignored", flags=advanced[FEATURE_FLAGS])
        rest = {key: each for key, each in advanced.items() if key != FEATURE_FLAGS}
        if rest or known:
            value["advanced"] = rest
        else:
            del value["advanced"]


def _problems(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> Iterator[str]:
    for error in errors:
        place = "/" + "/".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            name = str(error["loc"][-1])
            near = difflib.get_close_matches(name, _known_names(model), n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            yield f"{place}: unknown key{hint}"
        elif error["type"] == "missing":
            yield f"{place}: required, but missing"
        else:
            yield f"{place}: {_reason(error)}"


def _reason(error: ErrorDetails) -> str:
    message = error["msg"][:1].lower() + error["msg"][1:]
    if isinstance(error["input"], str | int | float | bool | None) and "secret" not in str(
        error["loc"]
    ):
        given = error["input"]
        # A scalar of the wrong type is shown to help; text may be a secret put in another place.
        return message if isinstance(given, str) else f"{message}, found {shortened(given, 100)}"
    return message


def _known_names(model: type[BaseModel]) -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(field.alias or name)
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            names += _known_names(nested)
    return names


def dump(config: BaseModel) -> dict[str, Any]:
    """Return a config as JSON values with its secrets masked, for people to read."""
    return config.model_dump(mode="json", by_alias=True)
