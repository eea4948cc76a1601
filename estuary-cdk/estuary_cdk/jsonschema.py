"""The schema of a config, as Flow's forms and runtime want it: inlined, ordered, annotated.

Flow's forms follow no `$ref`, show properties by `order`, offer a union by its `discriminator`
(a property with a different `const` and `default` in each variant) and know a nullable value only
as `type: [T, "null"]`. What pydantic writes is brought to that form here.
"""

from typing import Any, Final

from pydantic import BaseModel

from estuary_cdk.config import EndpointConfig
from estuary_cdk.protocol.codec import encode_json

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def config_schema(model: type[BaseModel]) -> bytes:
    """Return the JSON schema of a config model; the same bytes at every call."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})
    formed: dict[str, Any] = _formed(schema, definitions)
    formed.pop("additionalProperties", None)
    if not issubclass(model, EndpointConfig):
        formed["additionalProperties"] = False
    formed.setdefault("title", model.__name__)
    return encode_json({"$schema": DIALECT, **formed})


def _formed(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_formed(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        return _formed({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    if "allOf" in schema and len(schema["allOf"]) == 1:
        [only] = schema["allOf"]
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return _formed({**only, **rest}, definitions)
    formed = {
        key: _formed(value, definitions)
        for key, value in schema.items()
        if key not in {"properties", "discriminator", "default"}
    }
    if "default" in schema and schema["default"] is not None:
        formed["default"] = schema["default"]
    if "properties" in schema:
        formed["properties"] = _properties(schema["properties"], definitions)
        formed.setdefault("type", "object")
    if "discriminator" in schema:
        formed["discriminator"] = {"propertyName": schema["discriminator"]["propertyName"]}
        formed.setdefault("type", "object")
    return _nullable(formed)


def _properties(properties: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Form each property; the order of declaration is the order of the form."""
    formed = {}
    for position, (name, schema) in enumerate(properties.items()):
        form = _formed(schema, definitions)
        if "const" in form:
            # Forms need a variant's tag as its default too, and its type.
            form = {"type": "string", "default": form["const"], **form}
        form.setdefault("order", position)
        formed[name] = form
    return formed


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Spell `T or null` as a list of types where that says the same."""
    options = schema.get("anyOf")
    if not options or {"type": "null"} not in options:
        return schema
    others = [option for option in options if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(others) != 1:
        return schema
    [only] = others
    if only.get("type") in {"string", "integer", "number"}:
        return {**only, **rest, "type": [only["type"], "null"]}
    return {**only, **rest}
