"""A catalog is loaded with all it says, and bundled without losing any of it."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_local.catalog import (
    CatalogError,
    Diagnostics,
    Ingest,
    LocalEndpoint,
    Location,
    Verify,
    bundle,
    load,
)

CATALOG = """\
import: [shared/flow.yaml]
captures:
  acme/cap:
    endpoint:
      local:
        command: [source-http, --fast]
        env: {TZ: UTC}
        config: config.yaml
    interval: 1h 30m
    autoDiscover: {addNewBindings: true}
    redactSalt: c2FsdA==
    shards: {count: 2, minTxnDuration: 1s, flags: {enable-runtime-v2: "true"}}
    bindings:
      - {resource: {name: users, n: 1.0, _meta: {path: [users]}}, target: acme/users, backfill: 3}
      - {resource: {name: other}, target: acme/users, disable: true}
materializations:
  acme/mat:
    onIncompatibleSchemaChange: abort
    source: {capture: acme/cap, targetNaming: withSchema, fieldsRecommended: 2}
    endpoint: {connector: {image: "materialize-sqlite:v1", config: {password: "${env:PASSWORD}"}}}
    bindings:
      - resource: {table: users}
        priority: 7
        source:
          name: acme/users
          partitions: {include: {region: [eu, 1.50]}}
          notBefore: 2024-01-31T00:00:00Z
        fields: {groupBy: [id], require: {n: {x: 1}, m: null}, exclude: [k], recommended: false}
tests:
  acme/test:
    - ingest: {collection: acme/users, documents: documents.json}
    - verify: {collection: acme/users, documents: [{id: 1}], description: one row}
"""
FILES = {
    "flow.yaml": CATALOG,
    "config.yaml": "{user: '${env:USER}', limit: 1e3}",
    "documents.json": '[{"id": 1, "n": 123456789012345678901234567890}]',
    "shared/flow.yaml": """\
import: [../flow.yaml, flow.yaml]
collections:
  acme/users:
    schema: users.schema.yaml
    key: [/id]
    projections: {region: {location: /region, partition: true}, alias: /id}
    journals: {fragments: {}}
  acme/gone:
    delete: true
""",
    "shared/users.schema.yaml": """\
type: object
properties:
  id: {type: integer, maximum: 123456789012345678901234567890}
  region: {type: string}
required: [id]
""",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "flow.yaml"


@pytest.fixture
def catalog(path):
    return load(path, {"USER": "me", "PASSWORD": "p: {x"})


def test_a_capture_is_read(catalog, path):
    capture = catalog.captures["acme/cap"]
    assert capture.endpoint == LocalEndpoint(
        command=("source-http", "--fast"),
        config=b'{"user":"me","limit":1e3}',
        env={"TZ": "UTC"},
        protobuf=False,
        location=Location(str(path), 5, 7),
    )
    assert capture.interval == timedelta(minutes=90)
    assert capture.auto_discover
    assert capture.auto_discover.add_new_bindings
    assert capture.redact_salt == b"salt"
    assert capture.shards.count == 2
    assert capture.shards.transaction_min == timedelta(seconds=1)
    assert capture.shards.flags == {"enable-runtime-v2": "true"}


def test_bookkeeping_is_taken_out_of_a_resource(catalog, path):
    first, second = catalog.captures["acme/cap"].bindings
    assert (first.resource, first.resource_path) == (b'{"name":"users","n":1.0}', ("users",))
    assert (first.target, first.backfill, first.disable) == ("acme/users", 3, False)
    assert (second.resource_path, second.disable) == (None, True)
    assert second.location == Location(str(path), 15, 9)


def test_a_collection_is_read_from_an_import_and_a_schema_file(catalog):
    collection = catalog.collections["acme/users"]
    assert collection.write_schema == (
        b'{"type":"object","properties":{"id":{"type":"integer",'
        b'"maximum":123456789012345678901234567890},"region":{"type":"string"}},"required":["id"]}'
    )
    assert collection.read_schema == collection.write_schema
    assert collection.key == ("/id",)
    assert [(p.field, p.pointer, p.partition) for p in collection.projections] == [
        ("region", "/region", True),
        ("alias", "/id", False),
    ]


def test_a_materialization_is_read(catalog):
    task = catalog.materializations["acme/mat"]
    assert task.endpoint.config == b'{"password":"p: {x"}'
    assert task.on_incompatible_schema_change == "abort"
    assert task.source
    assert (task.source.capture, task.source.fields_recommended) == ("acme/cap", 2)
    (binding,) = task.bindings
    assert binding.priority == 7
    assert binding.source.partitions
    assert binding.source.partitions.include == {"region": (b'"eu"', b"1.50")}
    assert binding.source.not_before == datetime(2024, 1, 31, tzinfo=UTC)
    assert binding.fields.group_by == ("id",)
    assert binding.fields.require == {"n": b'{"x":1}', "m": b"{}"}
    assert binding.fields.exclude == ("k",)
    assert binding.fields.recommended_depth == 0


def test_a_test_is_read(catalog):
    ingest, verify = catalog.tests["acme/test"].steps
    assert isinstance(ingest, Ingest)
    assert ingest.documents == (b'{"id":1,"n":123456789012345678901234567890}',)
    assert isinstance(verify, Verify)
    assert (verify.documents, verify.description) == ((b'{"id":1}',), "one row")


def test_what_is_marked_deleted_is_left_out(catalog):
    assert list(catalog.collections) == ["acme/users"]


def test_a_pointer_leads_to_the_line_of_any_file(catalog, path):
    place = catalog.locate("/collections/acme~1users/schema/properties/id/nothing")
    assert place == Location(str(path.parent / "shared/users.schema.yaml"), 3, 3)


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(path):
    text = CATALOG.replace("interval: 1h 30m", "interval: x").replace("priority: 7", "prio: 7")
    path.write_text(text.replace("verify: {collection: acme/users", "verify: {collection: x"))
    with pytest.raises(Diagnostics) as caught:
        load(path, {"USER": "me"})
    errors = caught.value.exceptions
    assert [e.location.line for e in errors if isinstance(e, CatalogError)] == [9, 20, 23, 32]
    assert len(caught.value.render().splitlines()) == 4


def test_an_unreadable_import_does_not_make_its_collections_missing(path):
    (path.parent / "shared/flow.yaml").write_text("collections: [\n")
    with pytest.raises(Diagnostics) as caught:
        load(path, {"USER": "me", "PASSWORD": ""})
    assert len(caught.value.exceptions) == 1


def test_a_hook_judges_schemas(path):
    def judge(schema):
        return [("/properties/id", "no ids please")] if b'"id"' in schema else []

    with pytest.raises(Diagnostics) as caught:
        load(path, {"USER": "me", "PASSWORD": ""}, check_schema=judge)
    assert caught.value.render().endswith("at /properties/id: no ids please")
    assert "users.schema.yaml:3:" in caught.value.render()


def test_a_bundle_holds_no_secret_and_names_no_file(catalog):
    text = bundle(catalog)
    assert b"p: {x" not in text
    assert b"${env:PASSWORD}" in text
    assert b".yaml" not in text


def test_a_bundle_of_a_bundle_is_the_same_catalog(catalog, tmp_path):
    text = bundle(catalog)
    again = tmp_path / "bundle.json"
    again.write_bytes(text)
    loaded = load(again, {"USER": "me", "PASSWORD": "p: {x"})
    assert bundle(loaded) == text
    assert [b.resource for b in loaded.captures["acme/cap"].bindings] == [
        b.resource for b in catalog.captures["acme/cap"].bindings
    ]
    assert loaded.collections["acme/users"].key == ("/id",)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), VALUES), st.sampled_from(["flow.json", "flow.yaml"]))
def test_any_resource_survives_loading_and_bundling(value, name):
    resource = {key: member for key, member in value.items() if key != "_meta"}
    endpoint = {"local": {"command": ["x"], "config": {}}}
    binding = {"resource": resource, "target": "c"}
    schema = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    text = msgspec.json.encode(
        {
            "captures": {"a": {"endpoint": endpoint, "bindings": [binding]}},
            "collections": {"c": {"schema": schema, "key": ["/id"]}},
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, name)
        path.write_bytes(text)
        catalog = load(path, {})
    assert catalog.captures["a"].bindings[0].resource == msgspec.json.encode(resource)
    assert bundle(catalog) == text


def test_a_missing_catalog_says_how_to_get_one(tmp_path):
    with pytest.raises(Diagnostics) as caught:
        load(tmp_path / "flow.yaml", {})
    assert "there is no such file" in caught.value.render()
    assert "flow-local init" in caught.value.render()


def test_a_repr_shows_no_secret(catalog):
    assert "p: {x" not in repr(catalog)
