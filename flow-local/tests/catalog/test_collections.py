"""Keys and schemas of collections are judged through the ways schemas are composed."""

import pytest

COLLECTION = "collections:\n  acme/a:\n    key: [/id]\n"
ID = "properties: {id: {type: integer}}, required: [id]"


@pytest.fixture
def mistakes(rendered, tmp_path):
    """Return the mistakes of a collection, beside one that is certain."""

    def mistakes(text):
        lines = rendered({"flow.yaml": f"{COLLECTION}{text}certain: mistake\n"}).splitlines()
        return [line for line in lines if "certain" not in line]

    return mistakes


@pytest.mark.parametrize(
    "schema",
    [
        f"{{type: object, {ID}}}",
        f"{{allOf: [{{type: object}}, {{{ID}}}]}}",
        f"{{$ref: '#/$defs/row', $defs: {{row: {{type: object, {ID}}}}}}}",
        f"{{type: object, oneOf: [{{{ID}}}, {{{ID}}}]}}",
        "{type: object, properties: {id: {type: [integer, 'null'], default: 0}}}",
    ],
)
def test_a_sound_key_is_found_wherever_the_schema_declares_it(mistakes, schema):
    assert mistakes(f"    schema: {schema}\n") == []


def test_a_read_schema_to_be_inferred_is_not_judged(mistakes):
    read = "{allOf: [{$ref: 'flow://relaxed-write-schema'}, {$ref: 'flow://inferred-schema'}]}"
    write = f"{{type: object, {ID}}}"
    assert mistakes(f"    writeSchema: {write}\n    readSchema: {read}\n") == []


def test_a_read_schema_may_be_the_write_schema(mistakes):
    read = "{$ref: 'flow://write-schema'}"
    write = "{type: object, properties: {id: {type: [integer, 'null']}}, required: [id]}"
    found = mistakes(f"    writeSchema: {write}\n    readSchema: {read}\n")
    assert len(found) == 1
    assert "it may be null" in found[0]


def test_a_reference_that_leads_nowhere_is_a_mistake(mistakes):
    (line,) = mistakes("    schema: {type: object, properties: {id: {$ref: '#/$defs/x'}}}\n")
    assert line.startswith("flow.yaml:4: can't use 'schema' of collection 'acme/a': ")
    assert "leads nowhere" in line
