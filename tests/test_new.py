"""`bin/new` begins connectors that pass every check at once."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S

ROOT = Path(__file__).resolve().parents[1]
# Long names and short ones: they change where lines break and how imports are sorted.
BEGUN = ["source-up", "source-a-very-long-name-of-a-company", "materialize-shelf"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """Copy what the checks look at, and begin some connectors there."""
    root = tmp_path_factory.mktemp("copy") / "repository"
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".mypy_cache", ".hypothesis")
    for name in ("bin", "estuary-cdk", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("README.md", "pyproject.toml", "conftest.py"):
        shutil.copy2(ROOT / name, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    for connector in BEGUN:
        new(root, *connector.split("-", 1))
    return root


def new(root: Path, *arguments: str, status: int = 0) -> str:
    return run(root, [sys.executable, "bin/new", *arguments], status=status)


def run(root: Path, command: list[str], *, asked: str | None = None, status: int = 0) -> str:
    packages = [str(folder.parent) for folder in root.glob("*/pyproject.toml")]
    known = os.pathsep.join([*packages, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": known},
        input=asked,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def package(connector: str) -> str:
    return connector.replace("-", "_")


@pytest.mark.parametrize("connector", BEGUN)
def test_it_says_what_it_is(connector: str, copy: Path) -> None:
    told = run(copy, [sys.executable, "-m", package(connector)], asked='{"spec":{}}\n')
    spec = msgspec.json.decode(told.splitlines()[0])["spec"]
    assert spec["documentationUrl"].endswith(connector)
    settings = [
        each
        for schema in (spec["configSchema"], spec["resourceConfigSchema"])
        for each in schema["properties"].values()
    ]
    assert all(each["title"] and each["description"].endswith(".") for each in settings)


@pytest.mark.parametrize("connector", ["source-up", "materialize-shelf"])
def test_its_tests_pass(connector: str, copy: Path) -> None:
    # What takes long is tried in test_docs.py, where the code comes from.
    quick = ["-k", "not killed and not survives_crashes and not takes_many_keys"]
    run(copy, [sys.executable, "-m", "pytest", "-q", *quick, f"{connector}/tests"])


def test_the_checks_pass(copy: Path) -> None:
    ruff = str(Path(sys.executable).with_name("ruff"))
    run(copy, [ruff, "format", "--check", *BEGUN])
    run(copy, [ruff, "check", *BEGUN])
    rules = "not belongs and not unfinished and not text_alone and not can_be_run"
    run(copy, [sys.executable, "-m", "pytest", "-q", "tests/test_tidy.py", "-k", rules])
    checked = [f"{connector}/{package(connector)}" for connector in BEGUN]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache")]
    run(copy, [sys.executable, "-m", "mypy", *cache, *checked])


def test_it_takes_part_in_everything(copy: Path) -> None:
    settings = tomllib.loads((copy / "pyproject.toml").read_text())["tool"]
    for connector in BEGUN:
        assert package(connector) in settings["ruff"]["lint"]["isort"]["known-first-party"]
        assert connector in settings["mypy"]["mypy_path"]
        assert f"{connector}/tests" in settings["pytest"]["ini_options"]["testpaths"]
        own = tomllib.loads((copy / connector / "pyproject.toml").read_text())["project"]
        assert connector in own["scripts"]
        assert connector in own["entry-points"]["estuary_cdk.connectors"]


def test_what_is_there_is_left_alone(copy: Path) -> None:
    settings = (copy / "pyproject.toml").read_text()
    assert "there already" in new(copy, "source", "up", status=1)
    assert "can't name" in new(copy, "source", "../up", status=1)
    assert "usage" in new(copy, "derive", "up", status=1)
    assert (copy / "pyproject.toml").read_text() == settings
