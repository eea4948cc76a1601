"""What goes wrong says where, what and how to mend it, and leaves what is committed as it was."""

from pathlib import Path

import pytest

IMAGE = """\
      connector:
        image: ghcr.io/acme/source:v1
"""
LOCAL = """\
      local:
        command: [PYTHON, SOURCE]
"""
CATALOG_MISTAKES = {
    "an unknown key": (
        ("bindings:", "bindingz:"),
        (
            "flow.yaml:7: can't use the key 'bindingz' of capture 'acme/source': unknown "
            "(did you mean 'bindings'?)"
        ),
    ),
    "a missing collection": (
        ("target: acme/events", "target: acme/event"),
        (
            "flow.yaml:9: can't use binding 1 of capture 'acme/source': there is no collection "
            "'acme/event' (did you mean 'acme/events'?)"
        ),
    ),
    "a bad schema": (
        ("type: object", "type: objekt"),
        (
            "flow.yaml:14: can't use 'schema' of collection 'acme/events' at /type: 'objekt' isn't "
            "a type (did you mean 'object'?)"
        ),
    ),
    "a bad pointer": (
        ("key: [/id]", "key: [id]"),
        (
            "flow.yaml:19: can't use the key 'id' of collection 'acme/events': it doesn't start "
            "with '/' (write '/id')"
        ),
    ),
    "a key that isn't in the schema": (
        ("key: [/id]", "key: [/idd]"),
        (
            "flow.yaml:19: can't use the key '/idd' of collection 'acme/events': by its schema "
            "there is no such location (did you mean '/id'?)"
        ),
    ),
    "a variable that isn't set": (
        ("path: OUT", "path: '${env:NOT_SET}'"),
        (
            "flow.yaml:26: can't fill in '${env:NOT_SET}' in the config of the endpoint of "
            "materialization 'acme/table': the environment variable 'NOT_SET' isn't set "
            "(export NOT_SET=...)"
        ),
    ),
    "an image without a container engine": (
        (LOCAL, IMAGE),
        (
            "flow.yaml:4: can't run image 'ghcr.io/acme/source:v1': docker is not installed, "
            "podman is not installed (start docker, or install podman (on Debian: apt-get install "
            "podman), or give the connector as a local command)"
        ),
    ),
    "a program that isn't there": (
        ("[PYTHON, SOURCE]", "[source-nowhere]"),
        (
            "flow.yaml:4: can't launch local connector 'source-nowhere': no such program "
            "(give a path, or a command that is on PATH)"
        ),
    ),
}
CONNECTOR_MISTAKES = {
    "exit": "flow.yaml:4: can't validate 'acme/source': the connector exited with status 1: "
    "can't log in: wrong password",
    "garbage": "flow.yaml:4: can't validate 'acme/source': can't read message b'Hello, world!': "
    "JSON is malformed: invalid character (byte 0) "
    "(stdout carries the protocol alone: one JSON object per line)",
    "exit later": "can't capture 'acme/source': the connector exited with status 1: "
    "can't log in: wrong password",
    "garbage later": "can't capture 'acme/source': can't read message b'Hello, world!': "
    "JSON is malformed: invalid character (byte 0) "
    "(stdout carries the protocol alone: one JSON object per line)",
}


@pytest.mark.parametrize("mistake", CATALOG_MISTAKES)
def test_a_mistake_in_the_catalog_is_placed_and_touches_nothing(used, mistake, tmp_path):
    change, sentence = CATALOG_MISTAKES[mistake]
    used.write(change)
    before = used.digest()
    ended = used.call("run", "--until-idle", path=str(tmp_path))
    assert (ended.code, ended.out, ended.err) == (2, "", sentence + "\n")
    assert used.digest() == before


def test_a_mistake_in_a_new_project_leaves_nothing_behind(project):
    project.write(("[PYTHON, SOURCE]", "[source-nowhere]"))
    assert project.call("run").code == 2
    assert [path.name for path in project.path.iterdir()] == ["flow.yaml"]


@pytest.mark.parametrize("misbehave", CONNECTOR_MISTAKES)
def test_a_connector_that_misbehaves_is_told_and_nothing_of_it_is_visible(used, misbehave):
    documents = [{"id": 99, "name": "not to be seen"}]
    used.write(misbehave=misbehave, again=documents)
    read, stored = used.call("read", "acme/events").out, used.stored
    ended = used.run("run", "--until-idle")
    assert (ended.code, ended.sentence) == (1, CONNECTOR_MISTAKES[misbehave])
    assert "Traceback" not in ended.err
    assert (used.call("read", "acme/events").out, used.stored) == (read, stored)


def test_a_document_that_violates_its_schema_hides_its_whole_transaction(used):
    used.write(again=[{"id": 98}, {"id": "ninety-nine"}])
    read, stored = used.call("read", "acme/events").out, used.stored
    ended = used.run("run", "--until-idle")
    assert (ended.code, ended.sentence) == (
        1,
        (
            "task 'acme/source' failed: can't capture a document into collection 'acme/events': "
            'at /id: "ninety-nine" is not of type "integer" (schema /properties/id/type) '
            "(fix the collection's schema, or the source's data)"
        ),
    )
    assert (used.call("read", "acme/events").out, used.stored) == (read, stored)


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_space(project, documents):
    full = project.run(
        "run", "--until-idle", program=(str(Path(__file__).parent / "full_disk.py"),)
    )
    assert full.code == 1
    assert full.sentence.startswith("task 'acme/source' failed: can't write '")
    assert full.sentence.endswith(
        "no space left on device (free some space and run again; what was committed is safe)"
    )
    assert project.stored == []
    assert project.run("run", "--until-idle").code == 0
    assert project.stored == documents


def test_two_runs_on_one_directory_exclude_each_other(project):
    project.write(endless=True)
    with project.start("run") as first:
        for line in first.stderr:
            if "applied" in line:
                break
        second = project.run("run")
        first.terminate()
        first.communicate()
    assert second.code == 2
    assert f"flow-local is running on it as process {first.pid}" in second.sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("run", "--source", "nowhere.yaml"),
            (
                "can't load the catalog: there is no file 'nowhere.yaml' "
                "(name one with --source, or begin one: flow-local init)"
            ),
        ),
        (
            ("run", "--name", "acme/tabel"),
            "can't find task 'acme/tabel' in 'flow.yaml' (it has 'acme/source', 'acme/table')",
        ),
        (
            ("run", "--log-level", "loud"),
            "can't log at level 'loud': there are trace, debug, info, warn, error",
        ),
        (
            ("read", "acme/event"),
            "can't read collection 'acme/event': it has no documents (did you mean 'acme/events'?)",
        ),
        (
            ("reset", "acme/tabel", "--yes"),
            (
                "can't reset task 'acme/tabel': it has never run "
                "(these have: 'acme/source', 'acme/table')"
            ),
        ),
        (
            ("preview", "--name", "acme/source", "--fixture", "some.jsonl"),
            (
                "can't use --fixture with 'acme/source': a capture reads its endpoint "
                "(fixtures are for materializations)"
            ),
        ),
        (
            ("preview", "--fixture", "none.jsonl"),
            "can't read fixture 'none.jsonl': no such file or directory",
        ),
        (
            ("preview", "--fixture", "none.jsonl", "--delay", "1s"),
            ("can't use --delay with --fixture: a fixture says itself where its transactions end"),
        ),
        (
            ("preview", "--timeout", "soon"),
            (
                "can't use --timeout 'soon': expected a number and a unit "
                "(write for example 30s or 1m)"
            ),
        ),
        (
            ("preview", "--sessions", "one"),
            "can't use --sessions 'one': it isn't numbers with commas between",
        ),
    ],
)
def test_a_command_that_can_not_be_says_what_can(used, arguments, sentence):
    used.write()
    ended = used.call(*arguments)
    assert (ended.code, ended.out, ended.err) == (2, "", sentence + "\n")
