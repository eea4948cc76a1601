"""Schemas in several files become one."""

import msgspec
import pytest

from flow_local.catalog import Diagnostics, load


@pytest.fixture
def schema(tmp_path):
    """Write files, load the catalog whose schema is `a.yaml`, return the schema."""

    def schema(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        flow = "collections: {acme/a: {schema: a.yaml, key: [/id]}}"
        (tmp_path / "flow.yaml").write_text(flow)
        return msgspec.json.decode(
            load(tmp_path / "flow.yaml", {}).collections["acme/a"].write_schema
        )

    return schema


def test_a_file_is_added_under_defs_and_referred_to(schema):
    found = schema(
        {
            "a.yaml": (
                "{type: object, required: [id], properties: {id: {$ref: 'ids/id.yaml#/$defs/n'}}}"
            ),
            "ids/id.yaml": "{$id: x, $defs: {n: {$ref: '#/$defs/m'}, m: {type: integer}}}",
        }
    )
    assert found["properties"]["id"] == {"$ref": "#/$defs/id.yaml/$defs/n"}
    assert found["$defs"]["id.yaml"] == {
        "$defs": {"n": {"$ref": "#/$defs/id.yaml/$defs/m"}, "m": {"type": "integer"}}
    }


def test_files_may_refer_to_each_other(schema):
    found = schema(
        {
            "a.yaml": (
                "{type: object, required: [id], "
                "properties: {id: {type: string}, b: {$ref: b.yaml}}}"
            ),
            "b.yaml": "{properties: {c: {$ref: c.yaml}}}",
            "c.yaml": "{properties: {b: {$ref: b.yaml}}}",
        }
    )
    assert found["$defs"]["c.yaml"]["properties"]["b"] == {"$ref": "#/$defs/b.yaml"}


def test_files_of_one_name_are_kept_apart(schema):
    found = schema(
        {
            "a.yaml": (
                "{type: object, required: [id], $defs: {b.yaml: {}}, "
                "properties: {id: {$ref: x/b.yaml}, y: {$ref: y/b.yaml}}}"
            ),
            "x/b.yaml": "{type: integer}",
            "y/b.yaml": "{type: string}",
        }
    )
    assert found["properties"]["y"] == {"$ref": "#/$defs/b.yaml__"}
    assert found["$defs"]["b.yaml__"] == {"type": "string"}


@pytest.mark.parametrize("reference", ["#/$defs/x", "#"])
def test_other_references_stay(schema, reference):
    text = f"{{type: object, properties: {{id: {{type: string}}, x: {{$ref: '{reference}'}}}}, "
    found = schema({"a.yaml": text + "required: [id], $defs: {x: {}}}"})
    assert found["properties"]["x"] == {"$ref": reference}


def test_data_is_no_reference(schema):
    text = (
        "{type: object, properties: {id: {type: string}}, required: [id], default: {$ref: b.yaml}}"
    )
    assert schema({"a.yaml": text})["default"] == {"$ref": "b.yaml"}


def test_a_missing_file_is_named_where_it_is_referred_to(schema):
    text = "type: object\nproperties:\n  id:\n    $ref: none.yaml\nrequired: [id]\n"
    with pytest.raises(Diagnostics) as caught:
        schema({"a.yaml": text})
    assert "a.yaml:4: can't read" in caught.value.render()
