"""Files are put in the place of references, and only where a reference may stand."""

import msgspec
import pytest

from flow_local.catalog import Diagnostics, load

SCHEMA = "{type: object, properties: {id: {$ref: id.yaml}}, required: [id]}"


@pytest.fixture
def catalog(tmp_path):
    """Write files and load the first."""

    def catalog(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return load(tmp_path / next(iter(files)), {"V": "v"})

    return catalog


def collection(schemas, more=""):
    return f"collections: {{acme/a: {{{schemas}, key: [/id]{more}}}}}\n"


def test_every_schema_may_be_a_file_that_refers_to_files(catalog):
    loaded = catalog(
        {
            "flow.yaml": collection("writeSchema: x/a.yaml, readSchema: x/a.yaml"),
            "x/a.yaml": SCHEMA,
            "x/id.yaml": "{type: integer}",
        }
    ).collections["acme/a"]
    assert msgspec.json.decode(loaded.write_schema)["$defs"] == {"id.yaml": {"type": "integer"}}
    assert loaded.read_schema == loaded.write_schema


def test_texts_of_derivations_may_be_files(catalog):
    derive = (
        ", derive: {using: {sqlite: {migrations: [m.sql, 'create table x (y)']}}, "
        "transforms: [{name: t, source: acme/a, lambda: l.sql}, {lambda: 'select 1;'}]}"
    )
    schema = "schema: {type: object, properties: {id: {type: string}}, required: [id]}"
    files = {
        "flow.yaml": collection(schema, derive),
        "m.sql": "create table t (a);",
        "l.sql": "select $id;",
    }
    found = catalog(files).collections["acme/a"].derive
    assert msgspec.json.decode(found) == {
        "using": {"sqlite": {"migrations": ["create table t (a);", "create table x (y)"]}},
        "transforms": [
            {"name": "t", "source": "acme/a", "lambda": "select $id;"},
            {"lambda": "select 1;"},
        ],
    }


def test_a_config_file_is_filled_in_at_any_depth(catalog):
    endpoint = "{local: {command: [x], config: sub/config.json}}"
    loaded = catalog(
        {
            "flow.yaml": f"captures: {{acme/c: {{endpoint: {endpoint}}}}}",
            "sub/config.json": '{"a": [["${env:V}"], {"b": "${env:V}"}], "file": "config.yaml"}',
        }
    )
    config = loaded.captures["acme/c"].endpoint.config
    assert config == b'{"a":[["v"],{"b":"v"}],"file":"config.yaml"}'


def test_a_byte_order_mark_is_not_text(catalog):
    assert catalog({"flow.json": '\ufeff{"captures": {}}'}).captures == {}


def test_bindings_of_one_resource_path_are_the_same_resource(catalog):
    bindings = "\n".join(
        f"      - {{resource: {{n: {n}, _meta: {{path: [a]}}}}, target: acme/a}}" for n in (1, 2)
    )
    endpoint = "endpoint: {local: {command: [x], config: {}}}"
    schema = "schema: {type: object, properties: {id: {type: string}}, required: [id]}"
    text = f"captures:\n  acme/c:\n    {endpoint}\n    bindings:\n{bindings}\n"
    with pytest.raises(Diagnostics) as caught:
        catalog({"flow.yaml": text + collection(schema)})
    assert "binds the same resource" in caught.value.render()


def test_mistakes_are_told_in_the_order_of_files_and_lines(catalog):
    with pytest.raises(Diagnostics) as caught:
        catalog(
            {
                "flow.yaml": "import: [b.yaml, a.yaml]\ncollections: {x: {}}\ncaptures: {y: {}}\n",
                "b.yaml": "z: 1\n",
                "a.yaml": "z: 1\n",
            }
        )
    places = [line.split(": ")[0].rpartition("/")[2] for line in caught.value.render().splitlines()]
    assert places == ["a.yaml:1", "b.yaml:1", "flow.yaml:2", "flow.yaml:2", "flow.yaml:3"]
