"""Tasks of several shards, bindings that come and go: what a run remembers of the last."""

import msgspec

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
    assert joined.code == 2
    assert joined.sentence == (
        "can't run 'acme/table' as 1 shard: it has run as 2 shards, and these can be cut in parts "
        "but not joined (set its shards' count to 2, or a multiple of that)"
    )


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


def _applied(project) -> MaterializationSpec:
    with opened(project.path / ".flow-local", writing=False) as database:
        return msgspec.json.decode(database.task("acme/table").spec, type=MaterializationSpec)
