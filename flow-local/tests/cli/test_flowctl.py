"""A link named flowctl: the calls that scripts and test harnesses make of it."""

import os
import subprocess
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
        config: config.yaml
    bindings: []
"""
BINDING = (
    b'{"recommendedName":"things","resourceConfig":{"name": "things"},"documentSchema":'
    b'{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},'
    b'"key":["/id"]}\n'
)
SCHEMA = b'{"type": "object", "additionalProperties": true, "x-odd": null}'
SPEC = (
    b'{"protocol":3032023,"configSchema":%b,"resourceConfigSchema":%b,'
    b'"resourcePathPointers":["/name"]}\n' % (SCHEMA, SCHEMA)
)
WAIT_S = HANGS_S


@pytest.fixture
def flowctl(tmp_path):
    """A flowctl on PATH, called in a directory with a catalog."""
    catalog = CATALOG.replace("ODD", str(ODD))
    (tmp_path / "flow.yaml").write_text(catalog.replace("PYTHON", sys.executable))
    (tmp_path / "config.yaml").write_text("count: 3\nratio: 1.0\n")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "console-script"
    main = "import sys; from flow_local.cli.main import main; main()"
    command.write_text(f"#!{sys.executable}\n{main}\n")
    command.chmod(0o755)
    (tmp_path / "bin" / "flowctl").symlink_to(command)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def run(*arguments, stdin=b""):
        return subprocess.run(
            ["flowctl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "TZ": "UTC", "RUST_LOG": "info"},
            input=stdin,
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )

    return run


def test_raw_spec_is_one_line(flowctl):
    ended = flowctl("raw", "spec", "--source", "flow.yaml", "-o", "json")
    assert (ended.returncode, ended.stdout) == (0, SPEC)


def test_a_catalog_may_come_in_on_stdin_and_names_files_from_here(flowctl, tmp_path):
    catalog = (tmp_path / "flow.yaml").read_bytes()
    ended = flowctl("--profile", "testing", "raw", "spec", "--source", "-", stdin=catalog)
    assert (ended.returncode, ended.stdout) == (0, SPEC)


def test_raw_discover_prints_bindings_or_writes_them(flowctl, tmp_path):
    arguments = ("raw", "discover", "--source", "flow.yaml", "--network", "flow-test")
    before = (tmp_path / "flow.yaml").read_text()
    ended = flowctl("--profile", "local", *arguments, "-o", "json", "--emit-raw")
    assert (ended.returncode, ended.stdout) == (0, BINDING)
    assert (tmp_path / "flow.yaml").read_text() == before
    ended = flowctl(*arguments)
    assert (ended.returncode, ended.stdout) == (0, b"Wrote 1 specifications under flow.yaml.\n")
    assert "target: acme/things" in (tmp_path / "flow.yaml").read_text()
    ended = flowctl(*arguments)
    assert (ended.returncode, ended.stdout) == (0, b"Wrote 0 specifications under flow.yaml.\n")


def test_raw_bundle_is_the_catalog_in_one_document(flowctl):
    ended = flowctl("raw", "bundle", "--source", "flow.yaml", "-o", "json")
    assert ended.returncode == 0
    assert ended.stdout.startswith(b'{\n  "captures": {\n    "acme/odd": {\n')
    assert ended.stdout.endswith(b"\n}")
    task = msgspec.json.decode(ended.stdout)["captures"]["acme/odd"]
    assert task["endpoint"]["local"]["config"] == {"count": 3, "ratio": 1.0}
    assert b'"ratio": 1.0' in ended.stdout


def test_a_harness_previews_what_it_discovered(flowctl):
    """As blackbox harnesses of captures do: discover, bundle, then sessions with their states."""
    assert flowctl("raw", "discover", "--source", "flow.yaml").returncode == 0
    ended = flowctl(
        *("--profile=testing", "preview", "--log-json", "--source", "flow.yaml"),
        *("--sessions=2", "--timeout=30s", "--output-state", "--initial-state", '{"at":1}'),
    )
    placeholder = b"DocUUIDPlaceholder-329Bb50aa48EAa9ef"
    lines = [b'["acme/things",{"_meta":{"uuid":"%b"},"id":0,"name":""}]' % placeholder]
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[::3] == [lines[0], lines[0], ended.stdout.splitlines()[-1]]
    assert ended.stdout.endswith(b'["connectorState",{"updated":{"at":3}}]\n')
    logged = [msgspec.json.decode(line) for line in ended.stderr.splitlines()]
    assert any("... sent 2" in each["message"] for each in logged)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("raw", "spec", "--source", "nothing.yaml"), 1),
        (("preview", "--source", "flow.yaml", "--name", "acme/none"), 1),
        (("preview", "--source", "flow.yaml", "--sessions", "x"), 1),
        (("raw", "discover", "--source", "-"), 1),
        (("preview", "--nonsense"), 2),
        (("raw", "spec"), 2),
        (("nonsense",), 2),
    ],
)
def test_failures_end_as_those_of_flowctl(flowctl, arguments, code):
    ended = flowctl(*arguments)
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert ended.stderr
