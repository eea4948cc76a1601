"""`preview`, line by line, with connectors that aren't ours."""

import contextlib
import re
import signal
import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S

ODD = Path(__file__).parents[3] / "tests/foreign/odd_connector.py"
CATALOG = """\
captures:
  acme/odd:
    endpoint:
      local:
        command: [PYTHON, ODD, capture]
        config: {count: 3}
    bindings:
      - resource: {name: things}
        target: acme/things
collections:
  acme/things:
    schema:
      type: object
      properties:
        id: {type: integer}
        name: {type: string}
        size: {type: number}
      required: [id]
      reduce: {strategy: merge}
    key: [/id]
  acme/others:
    schema: {type: object, properties: {id: {type: integer}}, required: [id]}
    key: [/id]
materializations:
  acme/table:
    endpoint:
      local:
        command: [PYTHON, ODD, materialize]
        config: {path: rows.json}
    bindings:
      - {source: acme/things, resource: {name: things}}
      - {source: acme/things, resource: {name: again}}
"""
UUID = "DocUUIDPlaceholder-329Bb50aa48EAa9ef"
APPLIED = r'["applied.actionDescription", "made \"it\"\n\tréady\u{1b}"]'
AGAIN = '["applied.actionDescription", ""]'
EMPTY_FIRST = [
    {"commit": True},
    ["acme/things", {"id": 2, "name": "b"}],
    ["acme/others", {"id": 9}],
    ["acme/things", {"id": 1, "name": "a"}],
    {"commit": True},
    ["acme/things", {"id": 1, "size": 1.5}],
]


def thing(number: int) -> str:
    return (
        f'["acme/things",{{"_meta":{{"uuid":"{UUID}"}},"id":{number},'
        f'"name":"number {number}","size":1.0}}]'
    )


def nought() -> str:
    return f'["acme/things",{{"_meta":{{"uuid":"{UUID}"}},"id":0,"name":""}}]'


def state(number: int) -> str:
    return f'["connectorState",{{"updated":{{"at": {number}}},"mergePatch":true}}]'


def existed(*marks: bool) -> str:
    shown = ", ".join(str(mark).lower() for mark in marks)
    return f'["connectorState",{{"updated":{{"existed": [{shown}]}},"mergePatch":true}}]'


@pytest.fixture
def odd(project):
    catalog = CATALOG.replace("ODD", str(ODD))
    (project.path / "flow.yaml").write_text(catalog.replace("PYTHON", sys.executable))
    return project


def write_fixture(project, lines=EMPTY_FIRST) -> None:
    text = b"\n".join(map(msgspec.json.encode, lines))
    (project.path / "fixture.jsonl").write_bytes(text)


def rows(project) -> dict:
    """The documents that the odd connector has, by the first value of their keys."""
    kept = msgspec.json.decode((project.path / "rows.json").read_bytes())["rows"]
    return {row["key"][0]: row["doc"] for row in kept.values()}


def materialize(project, *arguments):
    return project.call(
        *("preview", "--name", "acme/table", "--fixture", "fixture.jsonl"),
        *("--output-apply", "--output-state", *arguments),
    )


def test_a_foreign_capture_prints_its_documents_in_the_order_of_their_keys(odd):
    ended = odd.call("preview", "--name", "acme/odd", "--output-state", "--output-apply")
    assert (ended.code, ended.out.splitlines()) == (
        0,
        [
            APPLIED,
            *(nought(), thing(1), state(1)),
            *(nought(), thing(2), state(2)),
            *(nought(), thing(3), state(3)),
            '["connectorState",{"updated":{"at":3}}]',
        ],
    )


def test_sessions_go_on_from_the_state_of_the_one_before(odd):
    ended = odd.call(
        *("preview", "--name", "acme/odd", "--sessions", "1,1", "--output-state"),
        *("--initial-state", '{"at":1}'),
    )
    assert ended.out.splitlines() == [
        *(nought(), thing(2), state(2)),
        *(nought(), thing(3), state(3)),
        '["connectorState",{"updated":{"at":3}}]',
    ]


def test_a_delay_makes_one_transaction_of_many_checkpoints(odd):
    odd.write(documents=[{"id": 1}], again=[{"id": 1}], endless=True)
    ended = odd.call("preview", "--name", "acme/source", "--sessions", "1", "--delay", "500ms")
    ids = [document["id"] for _, document in ended.documents]
    assert len(ids) > 3
    assert ids == sorted(set(ids))


def test_a_materialization_prints_its_states_and_is_drained(odd):
    write_fixture(odd)
    ended = materialize(odd)
    assert (ended.code, ended.out.splitlines()) == (
        0,
        [
            APPLIED,
            existed(),
            existed(False, False, False, False),
            existed(True, True),
            AGAIN,
            '["connectorState",{"updated":{"existed":[true,true]}}]',
        ],
    )
    stored = rows(odd)[1]
    assert {k: v for k, v in stored.items() if k != "_meta"} == {"id": 1, "name": "a", "size": 1.5}


def test_the_sqlite_destination_has_what_the_fixture_says(odd):
    catalog = (odd.path / "flow.yaml").read_text()
    text = catalog.replace("path: rows.json", "path: rows.db").replace("{name: ", "{table: ")
    command = f"[{sys.executable}, {ODD}, materialize]"
    head, _, tail = text.rpartition(command)
    (odd.path / "flow.yaml").write_text(f"{head}[materialize-sqlite]{tail}")
    write_fixture(odd)
    ended = materialize(odd)
    assert ended.code == 0, ended.err
    first, *states, again, last = ended.out.splitlines()
    assert first.startswith('["applied.actionDescription", "CREATE TABLE ')
    assert states == ['["connectorState",{}]'] * 3
    assert (again, last) == (AGAIN, '["connectorState",{"updated":{}}]')
    with contextlib.closing(sqlite3.connect(odd.path / "rows.db")) as database:
        query = "SELECT id, name, size, flow_published_at FROM things ORDER BY id"
        assert database.execute(query).fetchall() == [
            (1, "a", 1.5, "1970-01-01T02:00:00Z"),
            (2, "b", None, "1970-01-01T01:00:00Z"),
        ]


def test_a_signal_ends_a_preview_in_good_order(odd):
    odd.write(endless=True)
    with odd.start("preview", "--name", "acme/source", "--output-state") as process:
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, err
    assert re.fullmatch(
        r'\["connectorState",{"updated":{"at":\d+,"done":false}}\]', out.splitlines()[-1]
    )


def test_previews_have_one_shard(odd):
    write_fixture(odd)
    assert odd.call("raw", "preview-next", "--name", "acme/table", "--shards", "2").sentence == (
        "can't use --shards 2: a preview is of one shard (leave it out)"
    )
    ended = odd.call(
        *("raw", "preview-next", "--name", "acme/table", "--fixture", "fixture.jsonl"),
        *("--shards", "1", "--timeout", "1m", "--output-apply"),
    )
    assert (ended.code, ended.out.splitlines()) == (0, [APPLIED, AGAIN])


def test_uuids_tell_the_place_of_a_document_in_the_fixture(odd):
    write_fixture(odd)
    materialize(odd)
    # One hour for its transaction, no second for the first document of it.
    assert rows(odd)[2]["_meta"]["uuid"] == "7545a800-1dda-11b2-8000-071353030311"


def test_what_the_endpoint_has_committed_is_skipped(odd):
    write_fixture(odd)
    first = materialize(odd, "--sessions", "2")
    assert [line for line in first.out.splitlines() if "existed" in line][:2] == [
        existed(),
        existed(False, False, False, False),
    ]
    second = materialize(odd)
    assert second.out.splitlines()[:2] == [APPLIED, existed(True, True)]
    assert "existed" not in materialize(odd).out


def test_a_fixture_may_be_an_array_of_transactions(odd):
    (odd.path / "fixture.jsonl").write_bytes(
        b'[[], [["acme/things", {"id": 1}]], [["acme/things", {"id": 1}]]]'
    )
    ended = materialize(odd, "--sessions", "2,-1")
    assert ended.out.splitlines() == [
        *(APPLIED, existed(), existed(False, False)),
        *(AGAIN, existed(True, True)),
        *(AGAIN, '["connectorState",{"updated":{"existed":[true,true]}}]'),
    ]


def test_a_document_that_is_not_valid_names_its_place(odd):
    write_fixture(odd, [["acme/things", {"id": "one"}]])
    ended = materialize(odd)
    assert ended.code == 1
    assert "collection 'acme/things' in transaction 0 of the fixture: at /id" in ended.sentence


def test_committed_collections_are_read_without_a_fixture(odd):
    assert odd.call("run", "--until-idle", "--name", "acme/odd").code == 0
    ended = odd.call("preview", "--name", "acme/table", "--timeout", "300ms", "--output-state")
    assert (ended.code, ended.out.splitlines()[0]) == (0, existed(*[False] * 8))
    assert sorted(rows(odd)) == [0, 1, 2, 3]


def test_collections_that_nobody_wrote_are_told(odd):
    ended = odd.call("preview", "--name", "acme/table")
    assert ended.code == 2
    assert "its collections are empty, nothing has run here yet" in ended.sentence


def test_a_preview_into_the_table_of_a_run_says_what_to_do(project):
    project.out = project.path / "out.db"
    project.write(("[PYTHON, TABLE]", "[PYTHON, -m, materialize_sqlite]"))
    assert project.run("run", "--until-idle").code == 0
    ended = project.run("preview", "--name", "acme/table", "--timeout", "1s")
    assert ended.code == 1
    assert ended.sentence.endswith(
        "can't materialize 'acme/events' into table 'events': it exists already and isn't ours "
        "(choose another name, or drop the table) (this task has run here, of which a preview, "
        "like flowctl's, knows nothing: give it a destination of its own)"
    )
