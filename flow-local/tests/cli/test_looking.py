"""Commands that look, and change nothing: help, validate, spec, discover, preview, read, status."""

import os
import subprocess
import sys

import pytest
import typer.main

from flow_local.cli.main import app

PLACEHOLDER = "DocUUIDPlaceholder-329Bb50aa48EAa9ef"


def test_without_arguments_there_is_help_with_the_demo_first(used):
    ended = used.call()
    commands = ended.out.partition("Commands:\n")[2].split("\n")
    assert commands[0].split()[0] == "demo"
    assert {"run", "discover", "spec", "validate", "preview"} < {
        line.split()[0] for line in commands if line.strip()
    }


def commands(group, path=()):
    """The path of every command, groups included, hidden ones too."""
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("command", list(commands(typer.main.get_group(app))), ids=" ".join)
def test_the_help_of_every_command_shows_examples(used, command):
    ended = used.call(*command, "--help")
    assert ended.code == 0
    assert f"flow-local {' '.join(command)}" in ended.out.partition("Examples:\n")[2]


def test_validate_says_why_each_field_is_taken_or_not(used):
    used.write(("name: {type: string}", "name: {type: string}\n        secret: {type: string}"))
    before = used.digest()
    ended = used.call("validate")
    assert (ended.code, ended.err) == (0, "")
    rows = {line.split()[0]: line for line in ended.out.splitlines() if line.strip()}
    assert rows["events"].split() == ["events", "acme/events", "/id"]
    assert rows["id"].split() == ["id", "integer", "key", "selected", "key"]
    assert "rejected  the connector can't materialize it: secrets aren't stored" in rows["secret"]
    assert used.digest() == before


def test_validate_fails_where_a_wanted_field_can_not_be_had(used):
    used.write(
        ("name: {type: string}", "name: {type: string}\n        secret: {type: string}"),
        ("resource: {table: events}", "resource: {table: events}\n        fields: FIELDS"),
        ("FIELDS", "{recommended: true, require: {secret: {}}}"),
    )
    ended = used.call("validate")
    assert ended.code == 2
    assert ended.sentence == (
        "flow.yaml:25: can't build 'acme/table': field 'secret' of 'events': required by the "
        "catalog, but the connector can't materialize it: secrets aren't stored "
        "(change the binding's fields, or raise its backfill counter)"
    )
    assert "acme/events" in ended.out


def test_spec_is_a_line_of_json_per_task(used):
    used.write()
    source, table = used.call("spec").documents
    assert source["documentationUrl"] == "https://example.com"
    assert source["resourcePathPointers"] == ["/name"]
    assert table["protocol"] == 3032023
    [named] = used.call("spec", "--name", "acme/table").documents
    assert named == table


def test_discover_shows_what_there_is(used):
    used.write(resources=["events", "orders"])
    shown = used.call("discover")
    assert (shown.code, shown.err) == (0, "")
    assert "orders" in shown.out
    [events, orders] = used.call("discover", "--json").documents
    assert orders["recommendedName"] == "orders"
    assert orders["key"] == ["/id"]
    assert events["documentSchema"]["required"] == ["id"]


def test_discover_writes_what_is_new(project):
    project.write(resources=["events", "orders"])
    ended = project.call("discover", "--write")
    assert ended.out.splitlines()[:2] == [
        "acme/source: wrote flow.yaml",
        "  added 1: acme/orders",
    ]
    assert "target: acme/orders" in (project.path / "flow.yaml").read_text()
    again = project.call("discover", "--write")
    assert again.out.splitlines()[0] == "acme/source: nothing new for flow.yaml"


def test_preview_prints_documents_and_states_and_stores_nothing(project):
    ended = project.call("preview", "--output-state", "--output-apply")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        r'["applied.actionDescription", "made \"things\" ready"]',
        *(
            f'["acme/events",{{"_meta":{{"uuid":"{PLACEHOLDER}"}},"id":{id_},"name":"{name}"}}]'
            for id_, name in [(1, "one"), (2, "two"), (3, "three")]
        ),
        '["connectorState",{"updated":{"done":true},"mergePatch":true}]',
        '["connectorState",{"updated":{"done":true}}]',
    ]
    assert [path.name for path in project.path.iterdir()] == ["flow.yaml"]


def test_preview_goes_through_sessions_with_the_state_of_the_one_before(used):
    used.write(again=[{"id": 7}, {"id": 7, "name": "late"}], endless=True)
    ended = used.call("preview", "--sessions", "1,2", "--initial-state", '{"first":1}')
    documents = [document for _, document in ended.documents]
    assert [document["id"] for document in documents] == [7, 7, 1]
    assert [document.get("name") for document in documents] == ["late", "late", None]


def test_preview_ends_when_nothing_comes_for_a_while(used):
    used.write(documents=[{"id": 1}], quiet=True)
    ended = used.call("preview", "--timeout", "1")
    assert ended.code == 0
    assert len(ended.documents) == 1


def test_preview_refuses_a_document_that_violates_its_schema(used):
    used.write(documents=[{"id": "one"}])
    ended = used.call("preview")
    assert (ended.code, ended.out) == (1, "")
    assert "can't capture a document into collection 'acme/events': at /id" in ended.sentence


def test_read_prints_documents_up_to_a_limit(used):
    assert [each["id"] for each in used.call("read", "acme/events").documents] == [1, 2, 3]
    assert len(used.call("read", "acme/events", "--limit", "2").documents) == 2
    assert used.call("read", "acme/events", "--limit", "0").out == ""


def test_read_ends_quietly_when_nobody_listens_any_more(used):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as nobody:  # noqa: PTH123 - a descriptor isn't a path
        ended = subprocess.run(
            [sys.executable, "-m", "flow_local.cli.main", "read", "acme/events"],
            cwd=used.path,
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_status_tells_what_is_committed_and_what_waits(used):
    used.write()
    [source, table] = used.call("status", "--json").documents
    assert source["task"] == "acme/source"
    assert source["kind"] == "capture"
    assert table["kind"] == "materialization"
    [binding] = table["bindings"]
    assert binding["collection"] == "acme/events"
    assert binding["resource"] == "events"
    assert binding["committed_bytes"] > 0
    assert binding["backlog_bytes"] == 0
    shown = used.call("status").out
    assert "acme/table" in shown


def test_status_of_a_project_that_never_ran(project):
    assert project.call("status").out.splitlines() == [
        "Nothing has run in .flow-local yet.",
        "acme/source has not run yet.",
        "acme/table has not run yet.",
    ]
