"""Tasks of several shards, bindings that come and go: what a run remembers of the last."""

import msgspec
import pytest

from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.recovery import opened

SHARDED = ("  acme/table:\n", "  acme/table:\n    shards: {count: 2}\n")
DISABLED = ("resource: {table: events}", "resource: {table: events}\n        disable: true")


def test_all_shards_of_a_catalogs_task_run_and_status_counts_them_as_one(project, documents):
    project.write(SHARDED)
    for _ in range(2):
        ended = project.run("run", "--until-idle")
        assert ended.code == 0, ended.err
        assert sorted(project.stored, key=lambda each: each["id"]) == documents
    _, table = project.run("status", "--json").documents
    assert table["task"] == "acme/table"
    assert [binding["backlog_bytes"] for binding in table["bindings"]] == [0]
    project.write()
    joined = project.run("run", "--until-idle")
    assert joined.code == 0, joined.err
    assert sorted(project.stored, key=lambda each: each["id"]) == documents


def test_a_binding_that_rests_is_remembered_and_goes_on_where_it_was(project, documents):
    project.run("run", "--until-idle")
    project.write(DISABLED)
    assert project.run("run", "--until-idle").code == 0
    spec = _applied(project)
    assert spec.bindings == []
    assert [binding.resource_path for binding in spec.inactive_bindings] == [["events"]]
    project.write()
    assert project.run("run", "--until-idle").code == 0
    spec = _applied(project)
    assert [binding.resource_path for binding in spec.bindings] == [["events"]]
    assert spec.inactive_bindings == []
    assert project.stored == documents


@pytest.fixture
def bound(project):
    """Runs the project with bindings of these names, and tells what its connectors were asked."""
    traces = {task: project.path / f"{task}.jsonl" for task in ("capture", "materialization")}
    captured = "      - resource: {name: events}\n        target: acme/events\n"
    materialized = "      - source: acme/events\n        resource: {table: events}\n"
    collection = "  acme/events:\n    schema: {type: object, required: [id], properties: {id: {"
    collection += "type: integer}}}\n    key: [/id]\n"

    def run(*names: str) -> dict[str, dict[str, dict]]:
        for trace in traces.values():
            trace.unlink(missing_ok=True)
        known = ("events", "more")
        project.write(
            (captured, "".join(captured.replace("events", name) for name in names)),
            (materialized, "".join(materialized.replace("events", name) for name in names)),
            ("collections:\n", "collections:\n" + collection.replace("events", "more")),
            ("{path: OUT}", f"{{path: OUT, trace: {traces['materialization']}}}"),
            documents=[{"id": 1}],
            trace=str(traces["capture"]),
        )
        assert set(names) <= set(known)
        ended = project.run("run", "--until-idle")
        assert ended.code == 0, ended.err
        asked = {}
        for task, trace in traces.items():
            lines = [msgspec.json.decode(line) for line in trace.read_bytes().splitlines()]
            asked[task] = {kind: body for line in lines for kind, body in line.items()}
        return asked

    return run


def _told(spec: dict | None) -> tuple[list[str], list[str]] | None:
    """The state keys of a spec's active and inactive bindings."""
    if spec is None:
        return None
    parts = (spec.get(part, []) for part in ("bindings", "inactiveBindings"))
    active, resting = ([binding["stateKey"] for binding in part] for part in parts)
    return active, resting


@pytest.mark.parametrize("task", ["capture", "materialization"])
def test_each_run_is_told_of_the_last_and_of_bindings_that_rest(bound, task):
    last_name, before, version = f"last{task.title()}", None, ""
    for names, expected in [
        (["events"], (["events"], [])),
        (["events", "more"], (["events", "more"], [])),
        (["more"], (["more"], ["events"])),
        (["more"], (["more"], ["events"])),
        (["events", "more"], (["events", "more"], [])),
    ]:
        asked = bound(*names)[task]
        assert _told(asked["validate"].get(last_name)) == before
        assert asked["validate"].get("lastVersion", "") == version
        apply = asked["apply"]
        assert _told(apply.get(last_name)) == before
        assert apply.get("lastVersion", "") == version
        assert _told(apply[task]) == expected
        assert (apply["version"] == version) == (before == expected)
        before, version = expected, apply["version"]


def _applied(project) -> MaterializationSpec:
    with opened(project.path / ".flow-local", writing=False) as database:
        return msgspec.json.decode(database.task("acme/table").spec, type=MaterializationSpec)
