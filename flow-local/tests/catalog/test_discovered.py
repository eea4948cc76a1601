"""Discoveries are merged into the user's file, and nothing of the file is lost."""

import difflib
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from flow_local.catalog import DiscoveredBinding, Merged, load, write_discovered

SCHEMA = b'{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}'
WIDER = b'{"type":"object","properties":{"id":{"type":"integer"},"name":{}},"required":["id"]}'
INFERRED = SCHEMA[:-1] + b',"x-infer-schema":true}'

START = """\
# My catalog.
captures:
  acme/cap:   # the capture
    endpoint: {local: {command: [source-http], config: {}}}
    interval: 5m   # often
# the end
"""
FULL = """\
captures:
  acme/cap:
    endpoint: {local: {command: [source-http], config: {}}}
    bindings:
      # the users
      - resource: {name: 'users', fast: yes}   # keep
        target: acme/people
      # no more

    interval: 5m

# What we keep.
collections:
  acme/people:   # important
    key: [ /id ]
    # from the connector
    writeSchema:   # do not edit
      type: object
      properties:
        id: {type: integer}
      required: [id]
    # ours
    readSchema: {$ref: 'flow://inferred-schema'}
  # the last
"""


def found(name, **changes):
    resource = msgspec.json.encode({"name": name})
    given = {"document_schema": SCHEMA, "key": ("/id",), **changes}
    return DiscoveredBinding(name, resource, **given)


@pytest.fixture
def merge(tmp_path):
    """Write a catalog, merge a discovery into it, return its new text and what was done."""

    def merge(text, *bindings, name="flow.yaml", **options):
        path = tmp_path / name
        path.write_bytes(text.encode())
        options = {"path_pointers": ["/name"], **options}
        merged = write_discovered(path, "acme/cap", bindings, **options)
        load(path, {})
        return path.read_bytes().decode(), merged

    return merge


def test_a_first_discovery_adds_bindings_and_collections(merge):
    text, merged = merge(START, found("users"), found("orders", disable=True))
    assert text == (
        """\
# My catalog.
captures:
  acme/cap:   # the capture
    endpoint: {local: {command: [source-http], config: {}}}
    interval: 5m   # often
    bindings:
      - resource:
          name: users
        target: acme/users
      - resource:
          name: orders
        target: acme/orders
        disable: true
# the end
collections:
  acme/users:
    schema:
      type: object
      properties:
        id:
          type: integer
      required: [id]
    key: [/id]
  acme/orders:
    schema:
      type: object
      properties:
        id:
          type: integer
      required: [id]
    key: [/id]
"""
    )
    assert merged.added == ("acme/users", "acme/orders")


def test_a_second_discovery_changes_nothing(merge, tmp_path):
    text, _ = merge(START, found("users"))
    before = (tmp_path / "flow.yaml").stat().st_ino
    merged = write_discovered(
        tmp_path / "flow.yaml", "acme/cap", [found("users")], path_pointers=["/name"]
    )
    assert merged == Merged(file=str(tmp_path / "flow.yaml"))
    assert (tmp_path / "flow.yaml").stat().st_ino == before
    assert (tmp_path / "flow.yaml").read_text() == text


def test_every_other_line_stays_as_it_is(merge):
    text, _ = merge(FULL, found("users"), found("orders"))
    lines = text.splitlines()
    changes = [line[0] for line in difflib.ndiff(FULL.splitlines(), lines)]
    assert set(changes) == {" ", "+"}
    assert lines[lines.index("        target: acme/people") + 1] == "      # no more"
    assert lines[lines.index("      # no more") + 1] == "      - resource:"
    assert lines[lines.index("  # the last") + 1] == "  acme/orders:"


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.booleans())), st.booleans())
def test_no_comment_is_lost_or_changed(comments, has_end):
    lines = FULL.splitlines()
    for number, (at, indent, is_blank) in enumerate(comments):
        lines.insert(at, "" if is_blank else f"{' ' * indent}# comment {number}")
    text = "\n".join(lines) + "\n" * has_end
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "flow.yaml")
        path.write_text(text)
        write_discovered(
            path, "acme/cap", [found("users"), found("orders")], path_pointers=["/name"]
        )
        catalog = load(path, {})
        changed = path.read_text()
    assert {line[0] for line in difflib.ndiff(text.splitlines(), changed.splitlines())} == {
        " ",
        "+",
    }
    assert [b.target for b in catalog.captures["acme/cap"].bindings] == [
        "acme/people",
        "acme/orders",
    ]
    assert set(catalog.collections) == {"acme/people", "acme/orders"}


def test_a_known_binding_keeps_its_resource_and_target(merge):
    text, merged = merge(FULL, found("users"))
    assert text == FULL
    assert merged.added == merged.differing == ()


def test_a_write_schema_follows_the_connector(merge):
    text, merged = merge(FULL, found("users", document_schema=WIDER))
    assert merged.updated == ("acme/people",)
    assert text == FULL.replace(
        """\
        id: {type: integer}
""",
        """\
        id:
          type: integer
        name: {}
""",
    )


def test_the_only_schema_is_the_users(merge):
    text, _ = merge(START, found("users"))
    again, merged = merge(text, found("users", document_schema=WIDER))
    assert merged.differing == ("acme/users",)
    assert again == text


def test_another_key_is_told_and_not_written(merge):
    text, merged = merge(FULL, found("users", key=("/name",), document_schema=WIDER))
    assert merged.differing == ("acme/people",)
    assert text == FULL


def test_a_fallback_key_does_not_differ(merge):
    assert merge(FULL, found("users", key=("/name",), is_fallback_key=True))[1].differing == ()


def test_a_vanished_binding_is_told_and_kept(merge):
    text, merged = merge(FULL)
    assert merged.vanished == ("users",)
    assert text == FULL


def test_a_schema_to_be_inferred_gets_a_read_schema(merge, tmp_path):
    merge(START, found("users", document_schema=INFERRED))
    collection = load(tmp_path / "flow.yaml", {}).collections["acme/users"]
    assert collection.write_schema == INFERRED
    assert msgspec.json.decode(collection.read_schema) == {
        "allOf": [{"$ref": "flow://relaxed-write-schema"}, {"$ref": "flow://inferred-schema"}]
    }


def test_a_binding_without_key_is_left_out(merge):
    text, merged = merge(START, found("users", key=()))
    assert merged.unkeyed == ("users",)
    assert text == START


def test_names_are_made_fit_and_distinct(merge):
    names = ["my table!", "my table?", "cap", "cap/x", "people", "people/all"]
    _, merged = merge(FULL, *(found(name) for name in names))
    assert merged.added == (
        "acme/my_table_",
        "acme/my_table__2",
        "acme/cap_2",
        "acme/cap_x",
        "acme/people_2",
        "acme/people_all",
    )


def test_a_collection_that_waits_unused_is_taken_again(merge):
    text, _ = merge(START, found("users"))
    start = text.index("    bindings:")
    without = text[:start] + text[text.index("# the end") :]
    again, merged = merge(without, found("users"))
    assert merged.added == ("acme/users",)
    assert again == text


def test_a_prefix_can_be_given(merge):
    assert merge(START, found("users"), prefix="other/place")[1].added == ("other/place/users",)


def test_without_path_pointers_the_path_is_kept_in_the_file(merge, tmp_path):
    text, _ = merge(START, found("users", resource_path=("users",)), path_pointers=[])
    assert "path: [users]" in text
    assert merge(text, found("users", resource_path=("users",)), path_pointers=[])[0] == text


@pytest.mark.parametrize("bindings", ["[]", "", "null", "[]   # none yet"])
def test_empty_bindings_are_filled(merge, tmp_path, bindings):
    text = START.replace("interval: 5m", f"interval: 5m\n    bindings: {bindings}\n    disable: 1")
    text = text.replace("    disable: 1", "   ")
    changed, _ = merge(text, found("users"))
    assert len(load(tmp_path / "flow.yaml", {}).captures["acme/cap"].bindings) == 1
    assert ("# none yet" in changed) == ("# none yet" in bindings)


def test_flow_style_is_extended_in_flow_style(merge):
    binding = "{resource: {name: a}, target: acme/a}"
    text = f"""\
captures:
  {{acme/cap: {{endpoint: {{local: {{command: [x], config: {{}}}}}}, bindings: [{binding}]}}}}
collections: {{acme/a: {{schema: {SCHEMA.decode()}, key: [/id]}}}}
"""
    changed, _ = merge(text, found("a"), found("b"))
    assert f"[{binding}, {{resource: {{name: b}}, target: acme/b}}]" in changed
    assert len(changed.splitlines()) == 3


def test_line_ends_and_a_missing_last_one_are_kept(merge):
    text, _ = merge(START.replace("\n", "\r\n").removesuffix("\r\n"), found("users"))
    assert "\n" not in text.replace("\r\n", "")
    assert "# the end\r\ncollections:\r\n" in text


def test_a_json_catalog_stays_json_and_keeps_its_numbers(merge):
    text = (
        '{"captures": {"acme/cap": {"endpoint": '
        '{"local": {"command": ["x"], "config": {"n": 1.0e3}}}}}}'
    )
    changed, merged = merge(text, found("users"), name="flow.json")
    assert merged.added == ("acme/users",)
    assert '"n": 1.0e3' in changed


def test_what_an_alias_shares_is_not_changed(merge, tmp_path):
    text = FULL.replace("bindings:", "bindings: &all") + ("materializations: {}\n")
    other = "  acme/two:\n    endpoint: {local: {command: [x], config: {}}}\n    bindings: *all\n"
    text = text.replace("\n# What", f"\n{other}\n# What")
    with pytest.raises(ConfigError, match="other parts of it would change"):
        merge(text, found("users"), found("orders"))
    assert (tmp_path / "flow.yaml").read_text() == text


def test_the_file_that_defines_the_capture_is_the_one_changed(tmp_path):
    (tmp_path / "flow.yaml").write_text("import: [sub.yaml]\n")
    (tmp_path / "sub.yaml").write_text(START)
    merged = write_discovered(tmp_path / "flow.yaml", "acme/cap", [found("users")])
    assert merged.file == str(tmp_path / "sub.yaml")
    assert (tmp_path / "flow.yaml").read_text() == "import: [sub.yaml]\n"
    assert "acme/users" in (tmp_path / "sub.yaml").read_text()


def test_a_link_and_the_mode_of_a_file_are_kept(tmp_path):
    (tmp_path / "real.yaml").write_text(START)
    (tmp_path / "real.yaml").chmod(0o640)
    (tmp_path / "flow.yaml").symlink_to("real.yaml")
    write_discovered(tmp_path / "flow.yaml", "acme/cap", [found("users")])
    assert (tmp_path / "flow.yaml").is_symlink()
    assert stat.S_IMODE((tmp_path / "real.yaml").stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.yaml", "real.yaml"]


def test_an_unknown_capture_is_refused(tmp_path):
    (tmp_path / "flow.yaml").write_text(START)
    with pytest.raises(ConfigError, match="has no capture 'acme/none'"):
        write_discovered(tmp_path / "flow.yaml", "acme/none", [])
