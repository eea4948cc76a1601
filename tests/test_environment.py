"""`bin/environment` makes an environment once for each kind of use, with uv where that will do."""

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A Python, pip and uv that only say what they are asked to do.
PYTHON = """\
#!/usr/bin/env bash
said="$*"
case "$said" in
  "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *" uv") [ -z "$NO_UV" ] && printf '%s' "$UV" >.venv/bin/uv && chmod +x .venv/bin/uv ;;
  bin/uv-settings) [ -z "$PIP_KNOWS_MORE" ] && echo "$SETTINGS" ;;
  "-m pip install "*)
    echo "pip: ${said##*constraints.txt --progress-bar off }" >>log
    exit "${PIP_STATUS:-0}" ;;
  *"import poetry.core") exit 1 ;;
esac
"""
UV = """\
#!/usr/bin/env bash
said="$*"
echo "uv from $UV_DEFAULT_INDEX: ${said##*constraints.txt }" >>log
exit "${UV_STATUS:-0}"
"""
DEMO = [
    "-e ./estuary-cdk[postgres,ssh] -e ./flow-local -e ./materialize-sqlite",
    "--no-deps -e ./source-http -e ./source-postgres --requirement requirements-demo.txt",
]
RUN = [
    "-e ./estuary-cdk -e ./flow-local -e ./source-new -e ./materialize-new",
    "--no-deps --requirement requirements-demo.txt",
]
DEVELOP = [f"{RUN[0]} --requirement requirements-develop.txt", RUN[1]]
BUILDER = "pip: poetry-core>=2.0"


class Repository:
    """A copy of what makes an environment, in which nothing is installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        shutil.copy2(ROOT / "bin/environment", root / "bin")
        shutil.copy2(ROOT / "bin/flow-local", root / "bin")
        for name in ("constraints.txt", "requirements-demo.txt", "requirements-develop.txt"):
            (root / name).touch()
        for name in ("estuary-cdk", "flow-local", "source-new", "materialize-new"):
            (root / name).mkdir()
            (root / name / "pyproject.toml").touch()
        (root / "python").write_text(PYTHON)
        (root / "python").chmod(0o755)

    def ensure(self, kind: str, *, status: int = 0, **environ: str) -> list[str]:
        """Make the environment, and return what was installed by what."""
        return self.bash(f"ensure_environment {kind}", status=status, **environ)

    def bash(self, *commands: str, status: int = 0, **environ: str) -> list[str]:
        script = "\n".join(["set -euo pipefail", ". bin/environment", *commands])
        self.said = self.call("bash", "-c", script, status=status, **environ)
        log = self.root / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def call(self, *command: str, status: int = 0, **environ: str) -> str:
        known = {
            "PYTHON": str(self.root / "python"),
            "UV": UV,
            "SETTINGS": "UV_DEFAULT_INDEX=here",
            "NO_UV": "",
            "PIP_KNOWS_MORE": "",
        }
        done = subprocess.run(
            command,
            cwd=self.root,
            env={"PATH": os.environ["PATH"], **known, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stderr


@pytest.fixture
def repository(tmp_path) -> Repository:
    return Repository(tmp_path)


def by_uv(installed: list[str]) -> list[str]:
    return [f"uv from here: {each}" for each in installed]


def by_pip(installed: list[str]) -> list[str]:
    lines = [f"pip: --no-build-isolation {each}" for each in installed]
    return [line for each in lines for line in (BUILDER, each)]


def test_each_kind_of_use_adds_what_it_needs_and_no_later_one_of_less_does_anything(repository):
    assert repository.ensure("demo") == by_uv(DEMO)
    assert repository.said.splitlines()[-1] == "The environment is ready."
    assert repository.ensure("demo") == []
    assert repository.said == ""
    assert repository.ensure("run") == by_uv(RUN)
    assert repository.ensure("develop") == by_uv(DEVELOP)
    for kind in ("demo", "run", "develop"):
        assert repository.ensure(kind) == []


def test_what_developers_need_is_all_that_users_need(repository):
    assert repository.ensure("develop") == by_uv(DEVELOP)
    assert repository.ensure("demo") == repository.ensure("run") == []


@pytest.mark.parametrize(
    "changed",
    ["constraints.txt", "requirements-demo.txt", "source-new/pyproject.toml"],
)
def test_a_change_of_what_it_is_made_from_is_noticed_by_every_kind(repository, changed):
    repository.ensure("run")
    (repository.root / changed).write_text("other")
    assert repository.ensure("demo") == by_uv(DEMO)
    assert repository.ensure("run") == by_uv(RUN)


def test_pip_installs_what_uv_can_not(repository):
    assert repository.ensure("demo", UV_STATUS="2") == [by_uv(DEMO)[0], *by_pip(DEMO)]
    assert "uv can't install this; pip tries" in repository.said


def test_uv_needs_no_telling_where_pip_is_told_nothing(repository):
    assert repository.ensure("demo", SETTINGS="") == [f"uv from : {each}" for each in DEMO]


@pytest.mark.parametrize("hindrance", ["NO_UV", "PIP_KNOWS_MORE"])
def test_pip_installs_where_uv_is_not_to_be_had_or_told_what_pip_is(repository, hindrance):
    assert repository.ensure("demo", **{hindrance: "yes"}) == by_pip(DEMO)


def test_an_installation_that_failed_is_a_sentence_and_tried_again(repository):
    failing = {"NO_UV": "yes", "PIP_STATUS": "1"}
    assert repository.ensure("run", status=1, **failing) == [BUILDER]
    assert repository.said.splitlines()[-1] == (
        "can't install the packages: pip said why above (is the package index reachable?)"
    )
    assert repository.ensure("run") == by_uv(RUN)


def test_an_environment_whose_making_was_cut_off_is_made_anew(repository):
    (repository.root / ".venv/bin").mkdir(parents=True)
    (repository.root / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    (repository.root / ".venv/bin/python").chmod(0o755)
    assert repository.ensure("demo") == by_uv(DEMO)


@pytest.mark.parametrize(("command", "kind"), [("demo", "demo"), ("spec", "run"), ("", "run")])
def test_the_demo_waits_for_what_it_needs_alone(repository, command, kind):
    repository.ensure("demo")
    (repository.root / ".venv/bin/flow-local").write_text('#!/bin/sh\necho "ran $*" >>log\n')
    (repository.root / ".venv/bin/flow-local").chmod(0o755)
    repository.call("bin/flow-local", *command.split())
    added = [] if kind == "demo" else by_uv(RUN)
    assert repository.bash(":") == [*added, f"ran {command}"]


SETTINGS = [
    ({}, []),
    ({"timeout": "9", "no-cache-dir": "false"}, []),
    (
        {"index-url": "https://user:word@here/simple"},
        ["UV_DEFAULT_INDEX=https://user:word@here/simple"],
    ),
    (
        {"extra-index-url": "https://one\nhttps://two"},
        ["UV_INDEX=https://one https://two", "UV_INDEX_STRATEGY=unsafe-best-match"],
    ),
    ({"find-links": "/ https://wheels /nowhere"}, ["UV_FIND_LINKS=/,https://wheels"]),
    ({"no-cache-dir": "1"}, ["UV_NO_CACHE=1"]),
    ({"trusted-host": "one two:80"}, ["UV_INSECURE_HOST=one two:80"]),
    ({"cert": "/a.pem"}, ["SSL_CERT_FILE=/a.pem"]),
    ({"cert": "/"}, ["SSL_CERT_DIR=/"]),
]


@pytest.mark.parametrize(("settings", "said"), SETTINGS)
def test_uv_is_told_what_pip_is_told(settings, said):
    path = str(ROOT / "bin/uv-settings")
    spec = importlib.util.spec_from_loader("uv_settings", SourceFileLoader("uv_settings", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert list(module.variables(settings, {})) == said
    assert settings.keys() <= module.HARMLESS


def told(tmp_path: Path, configuration: str, **environ: str) -> subprocess.CompletedProcess:
    (tmp_path / "pip.conf").write_text(configuration)
    return subprocess.run(
        [sys.executable, ROOT / "bin/uv-settings"],
        env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_settings_are_those_that_pip_finds(tmp_path):
    configuration = "[global]\nindex-url = a\n[install]\nindex-url = b\n[list]\nformat = json\n"
    assert "UV_DEFAULT_INDEX=b" in told(tmp_path, configuration).stdout.splitlines()
    from_environment = told(tmp_path, configuration, PIP_INDEX_URL="c").stdout.splitlines()
    assert "UV_DEFAULT_INDEX=c" in from_environment
    assert "UV_DEFAULT_INDEX=b" not in from_environment


def test_what_uv_can_not_be_told_is_left_to_pip(tmp_path):
    ended = told(tmp_path, "[global]\nclient-cert = mine.pem\n")
    assert ended.returncode == 1
    assert ended.stderr == "uv isn't told what pip is: client-cert\n"
