"""A connector that isn't ours, and as odd as may be, runs unmodified as both kinds of task."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from estuary_cdk.testing.patience import HANGS_S

ODD = Path(__file__).parent / "odd_connector.py"
WAIT_S = HANGS_S


def document(number, name, amount):
    return {"id": number, "name": name, "sum": amount}


def integers(values):
    return [value for value in values if isinstance(value, int)]


class Project:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_path = path / "rows.json"

    def write(self, documents, **config) -> None:
        types = {"id": {"type": "integer"}, "name": {"type": "string"}}
        total = {"type": "integer", "reduce": {"strategy": "sum"}}
        schema = {
            "type": "object",
            "properties": {**types, "sum": total},
            "required": ["id", "name", "sum"],
            "reduce": {"strategy": "merge"},
        }
        task = {
            "odd/capture": {
                "endpoint": self._endpoint("capture", {"documents": documents, **config}),
                "bindings": [{"resource": {"name": "numbers"}, "target": "odd/numbers"}],
            }
        }
        table = {
            "odd/table": {
                "endpoint": self._endpoint("materialize", {"path": str(self.rows_path)}),
                "bindings": [{"resource": {"name": "numbers"}, "source": "odd/numbers"}],
            }
        }
        collection = {"odd/numbers": {"schema": schema, "key": ["/id", "/name"]}}
        catalog = {"captures": task, "collections": collection, "materializations": table}
        (self.path / "flow.yaml").write_text(json.dumps(catalog))

    def _endpoint(self, kind, config):
        return {"local": {"command": [sys.executable, str(ODD), kind], "config": config}}

    def start(self, *arguments) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "flow_local.cli.main", *arguments],
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments) -> str:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, err
        self.err = err
        return out

    @property
    def rows(self):
        """Key, integer value and whether it was there before of each row, in order of keys."""
        rows = json.loads(self.rows_path.read_text())["rows"].values()
        return sorted((*row["key"], *integers(row["values"]), row["existed"]) for row in rows)


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def test_an_odd_connector_captures_and_materializes(project):
    first = [document(1, "a", 5), document(-70000, "é", 7), document(1, "b", 1)]
    project.write(first)
    project.run("run", "--until-idle")
    assert project.rows == [(-70000, "é", 7, False), (1, "a", 5, False), (1, "b", 1, False)]

    project.write([*first, document(1, "a", 10), document(2**40, "new", 3)])
    project.run("run", "--until-idle")
    assert project.rows == [
        (-70000, "é", 7, False),
        (1, "a", 15, True),
        (1, "b", 1, False),
        (2**40, "new", 3, False),
    ]


def test_an_odd_capture_is_previewed(project):
    project.write([document(1, "a", 5), document(2, "b", 6)])
    out = project.run("preview", "--name", "odd/capture", "--sessions", "1", "--output-state")
    *documents, last = [json.loads(line) for line in out.splitlines()]
    found = [(collection, each["id"]) for collection, each in documents if "id" in each]
    assert found == [("odd/numbers", 1), ("odd/numbers", 2)]
    assert last == ["connectorState", {"updated": {"sent": 2}}]


def test_an_odd_connector_is_discovered_and_validated(project):
    project.write([])
    [found] = project.run("discover", "--json", "--name", "odd/capture").splitlines()
    assert json.loads(found)["recommendedName"] == "things"
    fields = [line.split()[:4] for line in project.run("validate").splitlines()]
    assert ["id", "integer", "key", "selected"] in fields
    assert ["sum", "integer", "value", "selected"] in fields


def test_what_an_odd_connector_chats_on_stderr_is_logged_as_one_event(project):
    project.write([])
    project.run("spec", "--name", "odd/capture")
    [chat, after] = [json.loads(line) for line in project.err.splitlines()]
    assert chat["message"].startswith("Traceback-like chatter (not an error at all):\n  in line 7")
    assert chat["message"].endswith("bytes of no encoding")
    assert (after["level"], after["message"]) == ("warn", "")


def test_the_last_line_of_an_odd_connectors_traceback_is_what_users_are_told(project):
    project.write([], fails="wrong password")
    with project.start("run", "--until-idle") as process:
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert err.splitlines()[-1] == (
        "can't capture 'odd/capture': the connector exited with status 1: "
        "PermissionError: wrong password"
    )


def test_an_odd_connector_that_ignores_sigterm_is_ended_all_the_same(project):
    project.write([document(1, "a", 5)], stays=True)
    with project.start("run") as process:
        deadline = time.monotonic() + WAIT_S
        while not project.rows_path.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    assert [child for child in children if child.is_running()] == []
    assert project.rows == [(1, "a", 5, False)]
