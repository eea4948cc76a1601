"""Every connector's Spec response, held against config_schema_guidelines.md rule by rule."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

CONNECTORS = sorted(point.name for point in entry_points(group="estuary_cdk.connectors"))
SCALARS = {"string", "integer", "number"}
SECRET_WORDS = ("password", "token", "secret", "private_key", "privatekey", "access_key", "api_key")
# Named like a secret, but shown on purpose: where a secret is found, not the secret.
NOT_SECRET = {"token_url", "tokenurl", "client_id", "key", "headers", "aws_access_key_id"}


def spec(connector: str) -> bytes:
    command = Path(sys.executable).with_name(connector)
    asked = subprocess.run(
        [command], input=b'{"spec":{}}\n', capture_output=True, timeout=60, check=False
    )
    assert asked.returncode == 0, asked.stderr.decode()
    return asked.stdout


first_spec = cache(spec)


@pytest.fixture(scope="module", params=CONNECTORS)
def described(request) -> tuple[str, dict[str, Any]]:
    response = msgspec.json.decode(first_spec(request.param))
    return request.param, response["spec"]


def objects(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside a schema, with its place."""
    yield place, schema
    for name, each in schema.get("properties", {}).items():
        yield from objects(each, f"{place}/{name}")
    for index, each in enumerate(schema.get("oneOf", [])):
        yield from objects(each, f"{place}/{each.get('title', index)}")
    if isinstance(schema.get("items"), dict):
        yield from objects(schema["items"], f"{place}/-")


def properties(schema: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for place, each in objects(schema):
        for name, prop in each.get("properties", {}).items():
            yield f"{place}/{name}", name, prop


def both(described: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [described[1]["configSchema"], described[1]["resourceConfigSchema"]]


def test_there_are_connectors_to_check() -> None:
    assert {
        "source-http",
        "materialize-sqlite",
        "materialize-postgres",
        "materialize-bigquery",
    } <= set(CONNECTORS)


def test_properties_are_titled_and_described(described) -> None:
    for schema in both(described):
        for place, name, prop in properties(schema):
            tag = "const" in prop
            assert prop.get("title"), f"{place}: title"
            description = prop.get("description", "")
            assert tag or description.endswith("."), f"{place}: description {description!r}"
            assert "<" not in description.replace("<name>", ""), place
            assert name == name.strip()


def test_properties_have_a_type(described) -> None:
    for schema in both(described):
        for place, _, prop in properties(schema):
            assert {"type", "const", "oneOf"} & set(prop), place
            assert "enum" not in prop or "type" in prop, place
            if isinstance(prop.get("type"), list):
                kind, null = prop["type"]
                assert kind in SCALARS, place
                assert null == "null", place
            assert "anyOf" not in prop, place


def test_properties_are_ordered(described) -> None:
    for schema in both(described):
        for place, each in objects(schema):
            orders = [prop.get("order") for prop in each.get("properties", {}).values()]
            assert None not in orders, place
            assert len(set(orders)) == len(orders), place


def test_booleans_have_defaults(described) -> None:
    for schema in both(described):
        for place, _, prop in properties(schema):
            if prop.get("type") == "boolean":
                assert isinstance(prop.get("default"), bool), place


def test_secrets_are_marked_strings_without_defaults(described) -> None:
    for schema in both(described):
        for place, name, prop in properties(schema):
            if prop.get("secret"):
                assert prop["type"] in ("string", ["string", "null"]), place
                assert "default" not in prop, place
            elif any(word in name.lower() for word in SECRET_WORDS):
                assert name.lower() in NOT_SECRET or prop.get("type") in {"object", "boolean"}, (
                    place
                )


def test_schemas_are_inlined_and_closed(described) -> None:
    for index, schema in enumerate(both(described)):
        text = msgspec.json.encode(schema)
        for keyword in (b'"$ref"', b'"$defs"', b'"allOf"'):
            assert keyword not in text
        for place, each in objects(schema):
            open_root = index == 0 and place == ""
            if each.get("type") == "object" and "oneOf" not in each and not open_root:
                assert each.get("additionalProperties") is False, place or "/"
        if index == 0:
            assert schema.get("additionalProperties", True) is True
        assert schema["type"] == "object"


def test_variants_are_told_apart_by_a_tag(described) -> None:
    for schema in both(described):
        for place, each in objects(schema):
            if "oneOf" not in each or "const" in each["oneOf"][0]:
                continue
            tag = each["discriminator"]["propertyName"]
            values = []
            for variant in each["oneOf"]:
                prop = variant["properties"][tag]
                assert prop["type"] == "string", place
                assert prop["const"] == prop["default"], place
                values.append(prop["const"])
            assert len(set(values)) == len(values), place


def test_expert_settings_stand_together_with_defaults(described) -> None:
    for schema in both(described):
        advanced = schema.get("properties", {}).get("advanced")
        if advanced is not None:
            assert advanced["advanced"] is True
            assert not advanced.get("required")
        for place, name, _ in properties(schema):
            assert name != "feature_flags", place


def test_resource_configs_say_what_the_collection_fills_in(described) -> None:
    name, response = described
    props = response["resourceConfigSchema"]["properties"]
    for mark, counts in {
        "x-collection-name": {1} if name.startswith("materialize-") else {0, 1},
        "x-schema-name": {0, 1},
        "x-delta-updates": {0, 1},
    }.items():
        assert sum(prop.get(mark) is True for prop in props.values()) in counts, mark
    for pointer in response.get("resourcePathPointers", []):
        assert pointer.removeprefix("/") in props
        assert pointer.removeprefix("/") in response["resourceConfigSchema"]["required"]
    if name.startswith("source-"):
        assert response["resourcePathPointers"]


def test_the_spec_names_protocol_and_documentation(described) -> None:
    _, response = described
    assert response["protocol"] == 3032023
    assert response["documentationUrl"].startswith("https://")


@pytest.mark.parametrize("connector", CONNECTORS)
def test_the_spec_is_the_same_at_every_call(connector) -> None:
    assert spec(connector) == first_spec(connector)
