"""The documentation is true: its code runs, its output is what comes out, its links lead somewhere.

In a Markdown file,

- a `python`, `yaml` or other block whose fence names a file (```python source_x.py) is that file,
  beside those of all other documents; files named test_* are run by pytest;
- any other `python` block is run as a program;
- a `console` block is typed in, in a copy of the repository with those files; what it shows is what
  comes out, where `...` (or `…`) stands for the rest of a line and, alone on a line, for any lines.
  Without any output, only the exit status is looked at;
- a `console network` block needs a network: its commands are understood, but not run;
- `yaml` is a catalog that loads, `json` is JSON, `sql` is run by a server of the connector's kind;
- a block without a language is a picture.
"""

import ast
import inspect
import itertools
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main

from estuary_cdk.testing.postgres import postgres, versions
from flow_local.catalog import load
from flow_local.cli.demo.server import HOST, served
from flow_local.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
COMMAND_S_MAX = 300
# What the examples take from the environment.
SECRETS = {"FLOW_CAPTURE_PASSWORD": "secret"}
NETWORK = "network"
FENCE = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SKIPPED = {".venv", ".git", "__pycache__", "node_modules", ".hypothesis", "tests"}
DESCRIBED = [
    "estuary_cdk",
    "estuary_cdk.capture",
    "estuary_cdk.materialize",
    "estuary_cdk.kits.files",
    "estuary_cdk.kits.http",
    "estuary_cdk.kits.sql",
]


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    path: Path
    line: int
    language: str
    name: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(ROOT / path for path in found if not SKIPPED & set(path.parts))


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(
        Block(path, text.count("\n", 0, found.start()) + 1, found[1], found[2], found[3])
        for path in documents()
        for text in [path.read_text()]
        for found in FENCE.finditer(text)
    )


def of(language: str, *, named: bool | None = None) -> list[Block]:
    return [
        block
        for block in blocks()
        if block.language == language and named in {None, block.name is not None}
    ]


def environment() -> dict[str, str]:
    """Return our environment, with the commands of this Python and the code of this tree first."""
    packages = [str(folder.parent) for folder in ROOT.glob("*/pyproject.toml")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known = [*packages, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, known))}


def written(directory: Path) -> Path:
    """Write the files that the documents name."""
    for block in blocks():
        if block.name and block.name != NETWORK:
            (directory / block.name).write_text(block.text)
    return directory


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the repository and the files of the documents; its environment is the one at hand."""
    root = tmp_path / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / ".venv").symlink_to(sys.prefix)
    (root / "bin/environment").write_text("VENV=.venv\nensure_environment() { :; }\n")
    return written(root)


def typed(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with the output shown."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def pattern(shown: str) -> str:
    """Return the pattern of all output that a document may show so."""
    lines = [line.rstrip().replace("…", "...") for line in shown.strip("\n").splitlines()]
    parts = [
        r"(?:[^\n]*\n)*"
        if line == "..."
        else r"[^\n]*".join(map(re.escape, line.split("..."))) + "\n"
        for line in lines
    ]
    return "".join(parts)


def test_there_is_something_to_check() -> None:
    assert {ROOT / "README.md", ROOT / "estuary-cdk/README.md"} <= set(documents())
    assert of("python", named=True)
    assert of("console")


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    kinds = {"python", "console", "yaml", "json", "sql", ""}
    assert not [f"{block}: {block.language}" for block in blocks() if block.language not in kinds]
    names = [block.name for block in blocks() if block.name not in {None, NETWORK}]
    assert len(set(names)) == len(names), "files of documents are side by side: name them apart"


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_code_reads_as_ours_does(block: Block) -> None:
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    name = ["--stdin-filename", f"examples/{block.name or 'block.py'}"]
    shape = subprocess.run(
        [*ruff, "format", *name, "-"],
        input=block.text,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert shape.returncode == 0, shape.stderr
    assert shape.stdout == block.text


def test_code_has_the_types_it_says(tmp_path: Path) -> None:
    files = []
    for block in of("python"):
        name = block.name or f"block_{block.path.parent.name.replace('-', '_')}_{block.line}.py"
        if not name.startswith("test_"):
            files.append(tmp_path / name)
            files[-1].write_text(block.text)
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", ".mypy_cache"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *config, *map(str, files)],
        cwd=ROOT,
        env={**environment(), "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("block", of("python", named=False), ids=str)
def test_code_runs(block: Block, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        cwd=written(tmp_path),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr


TESTS = [block for block in of("python", named=True) if str(block.name).startswith("test_")]


@pytest.mark.parametrize("block", TESTS, ids=lambda block: block.name)
def test_the_tests_in_the_documents_pass(block: Block, tmp_path: Path) -> None:
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    # Many keys are the kit's business, whose tests try them.
    options = ["-q", "-x", "-p", "no:randomly", "-k", "not takes_many_keys"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(block.name)],
        cwd=written(tmp_path),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


CONSOLES = sorted({str(block.path.relative_to(ROOT)) for block in of("console")})


@pytest.mark.parametrize("path", CONSOLES)
def test_commands_show_what_is_shown(path: str, copy: Path) -> None:
    for block in of("console"):
        if block.path != ROOT / path:
            continue
        assert block.text.startswith("$ "), f"{block}: a console block begins with a command"
        for command, shown in typed(block.text):
            if block.name == NETWORK:
                understood(command)
                continue
            status, came = entered(command, copy)
            assert status == 0, f"{block}: $ {command}\n{came}"
            assert not shown.strip() or re.fullmatch(pattern(shown), came), (
                f"{block}: $ {command}\nshown:\n{shown}\ncame:\n{came}"
            )


def entered(command: str, directory: Path) -> tuple[int, str]:
    """Type a command into a shell; return its status, and what it shows without trailing space."""
    done = subprocess.run(
        command,
        shell=True,
        executable="/bin/bash",
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    lines = done.stdout.strip("\n").splitlines()
    return done.returncode, "".join(f"{line.rstrip()}\n" for line in lines)


def understood(example: str) -> None:
    """Raise unless a command of flow-local has such options and arguments."""
    program, name, *words = shlex.split(re.sub(r" > .*", "", example), comments=True)
    assert Path(program).name == "flow-local"
    command = commands()[name]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(name, words, resilient_parsing=False)


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_catalogs_in_the_documents_load(block: Block, tmp_path: Path) -> None:
    catalog = written(tmp_path) / (block.name or "flow.yaml")
    catalog.write_text(block.text)
    assert load(catalog, {})


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_in_the_documents_is_json(block: Block) -> None:
    assert msgspec.json.decode(block.text)


def entered_in_postgres(sql: str) -> None:
    with postgres(max(versions())) as cluster:
        cluster.execute("CREATE TABLE public.orders (id integer PRIMARY KEY)")
        cluster.execute(sql)


SERVERS = {"source-postgres": entered_in_postgres}


@pytest.mark.parametrize("block", of("sql"), ids=str)
def test_sql_in_the_documents_runs(block: Block) -> None:
    SERVERS[block.path.parent.name](block.text)


def catalogs() -> list[Path]:
    return sorted([*ROOT.glob("examples/*/flow.yaml"), *ROOT.glob("*/test.flow.yaml")])


@pytest.mark.parametrize("path", catalogs(), ids=lambda path: path.parent.name)
def test_catalogs_of_the_repository_load(path: Path) -> None:
    loaded = load(path, SECRETS)
    assert loaded.captures or loaded.materializations


@contextmanager
def database_of_the_examples() -> Iterator[str]:
    """Run a server as the examples expect it; yields its address."""
    with postgres() as cluster:
        cluster.execute(
            "CREATE USER flow_capture WITH REPLICATION",
            "CREATE TABLE orders (id integer PRIMARY KEY, note text)",
            "INSERT INTO orders VALUES (1, 'one'), (2, NULL)",
            "GRANT SELECT ON orders TO flow_capture",
            "CREATE PUBLICATION flow_publication WITH (publish_via_partition_root = true)",
            "ALTER PUBLICATION flow_publication ADD TABLE orders",
        )
        yield cluster.address


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example runs to its end; what it reads from elsewhere, this machine has."""
    for name, value in {**SECRETS, "SHUTDOWN_AFTER_POLLING": "yes"}.items():
        monkeypatch.setenv(name, value)
    data = Path(str(distribution("vega-datasets").locate_file("vega_datasets/_data")))
    with served(data, 0) as port, database_of_the_examples() as address:
        for catalog in ROOT.glob("examples/*/flow.yaml"):
            example = shutil.copytree(catalog.parent, tmp_path / catalog.parent.name)
            text = re.sub(r"https://\S+/data/", f"http://{HOST}:{port}/", catalog.read_text())
            (example / "flow.yaml").write_text(text.replace("localhost:5432", address))
            status, came = entered("flow-local run --until-idle --timeout 240", example)
            assert status == 0, came
            told = entered("flow-local status --json", example)[1]
            bindings = [
                each
                for task in map(msgspec.json.decode, told.splitlines())
                for each in task["bindings"]
            ]
            assert bindings
            assert all(each["committed_bytes"] and not each["backlog_bytes"] for each in bindings)


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text())
    local = [link for link in LINK.findall(text) if not link.startswith(("https://", "#"))]
    broken = [link for link in local if not (path.parent / link.partition("#")[0]).exists()]
    assert not broken


def described(value: object, name: str) -> bool:
    """Tell whether a class or function has a docstring of its own, not one that Python made up."""
    told = (getattr(value, "__doc__", None) or "").strip()
    return bool(told) and not told.startswith(f"{name}(")


def described_values(package: str) -> set[str]:
    """Return the names assigned in a package's modules that a string right below describes."""
    found = set()
    folder = Path(str(import_module(package).__file__)).parent
    for path in folder.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for before, after in itertools.pairwise(body):
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if told and isinstance(before, ast.AnnAssign):
                found.add(ast.unparse(before.target))
            elif told and isinstance(before, ast.Assign):
                found.update(map(ast.unparse, before.targets))
    return found


@pytest.mark.parametrize("package", DESCRIBED)
def test_every_public_name_is_described(package: str) -> None:
    module = import_module(package)
    values = described_values(package)
    silent = []
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            silent += [] if described(value, name) else [name]
        elif name not in values:
            silent.append(name)
    assert module.__doc__
    assert not silent


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return group.commands


def spelled(known: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all commands, also those inside others, with what is typed for them."""
    for name, command in known.items():
        inner = getattr(command, "commands", None)
        yield from spelled(inner, f"{before}{name} ") if inner else [(before + name, command)]


@pytest.mark.parametrize("name", sorted(dict(spelled(commands()))))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = dict(spelled(commands()))[name]
    assert command.help
    examples = [
        line.strip()
        for line in (command.epilog or "").splitlines()
        if line.strip().startswith("flow-local ")
    ]
    assert examples, f"flow-local {name} shows no example"
    for example in examples:
        assert example.startswith(f"flow-local {name}")
        understood(example)


def test_the_readme_lists_every_command() -> None:
    [section] = re.findall(
        r"^## Commands\n(.*?)^\| Exit",
        (ROOT / "flow-local/README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    listed = re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)
    assert sorted(listed) == sorted(commands())


def modules() -> list[str]:
    package = import_module("estuary_cdk")
    found = pkgutil.walk_packages(package.__path__, "estuary_cdk.")
    return ["estuary_cdk", *(each.name for each in found)]


def examples_in(docstring: str) -> Iterator[ast.Module]:
    """Yield the parts of a docstring that are Python, be they indented or not."""
    for part in re.split(r"\n\s*\n(?=\S)|\n(?=\S)", inspect.cleandoc(docstring)):
        for text in (part, part.partition("\n")[2]):
            try:
                yield ast.parse(textwrap.dedent(text))
                break
            except SyntaxError:
                continue


@pytest.mark.parametrize("name", modules())
def test_calls_in_docstrings_fit_what_they_call(name: str) -> None:
    module = import_module(name)
    known = {
        each: getattr(import_module(package), each)
        for package in DESCRIBED
        for each in import_module(package).__all__
    } | vars(module)
    for example in examples_in(module.__doc__ or ""):
        for node in ast.walk(example):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            called = known.get(node.func.id)
            if callable(called) and "..." not in map(ast.unparse, node.args):
                named = {each.arg: None for each in node.keywords if each.arg}
                inspect.signature(called).bind_partial(*node.args, **named)
