"""Commands at a project's beginning, and at its end: init and reset."""


def test_init_writes_a_catalog_that_is_good(tmp_path, project):
    (project.path / "flow.yaml").unlink()
    ended = project.call("init")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "Run it:  flow-local run --until-idle"
    assert project.call("status").out.splitlines()[1:] == [
        "demo/materialize-sqlite has not run yet.",
        "demo/source-http has not run yet.",
    ]


def test_init_does_not_overwrite(project):
    before = (project.path / "flow.yaml").read_text()
    ended = project.call("init")
    assert (ended.code, ended.sentence) == (
        2,
        (
            "can't begin a catalog in '.': 'flow.yaml' is there already "
            "(use it, or choose another directory)"
        ),
    )
    assert (project.path / "flow.yaml").read_text() == before


def test_reset_of_a_task_makes_it_begin_anew(project, documents):
    project.run("run", "--until-idle")
    refused = project.call("reset", "acme/table")
    assert refused.code == 2
    assert "This forgets how far task 'acme/table' is" in refused.out
    assert refused.sentence == "can't reset without a yes (add --yes)"
    assert project.call("reset", "acme/table", "--yes").code == 0
    project.run("run", "--until-idle")
    assert project.stored == documents * 2


def test_reset_of_everything_says_what_it_removes_and_removes_no_more(project):
    project.run("run", "--until-idle")
    mine = project.path / ".flow-local" / "mine.txt"
    mine.write_text("not theirs")
    ended = project.call("reset", "--yes")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[:3] == [
        "This removes from .flow-local:",
        "  progress of task acme/source",
        "  progress of task acme/table",
    ]
    assert lines[3].startswith("  collection acme/events (")
    assert lines[4] == "  what tasks logged"
    assert list(mine.parent.iterdir()) == [mine]
    assert project.call("reset").out == "Nothing to reset: nothing has run in .flow-local yet.\n"
