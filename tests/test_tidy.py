"""The house rules, as far as a machine can read them.

Each rule says what to do instead. A rule that can't be checked here or by the linter isn't one.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES_MAX, FUNCTION_LINES_MAX, PARAMETERS_MAX, LINE_CHARS_MAX = 500, 60, 6, 100
BANNED_STEMS = {"utils", "util", "helpers", "misc", "common", "base", "types"}

# Imports that are not for our own code, and what is.
BANNED_IMPORTS = {
    "json": "msgspec or orjson, in protocol/codec.py or where a value's bytes don't matter",
    "unittest.mock": "a fake that satisfies the interface",
    "mock": "a fake that satisfies the interface",
}
# Calls that are not for our own code, what is, and the modules whose business they are.
BANNED_CALLS = {
    "asyncio.create_task": ("a TaskGroup, whose owner waits for it", ()),
    "os._exit": ("an exception that reaches main()", ("failpoints.py",)),
    "datetime.now": ("a Clock", ("clock.py", "logs.py")),
    "datetime.utcnow": ("a Clock", ()),
    "time.time": ("a Clock", ("clock.py",)),
    "time.sleep": ("Clock.sleep", ()),
    "print": ("a log, or rich in flow_local/cli: stdout belongs to the protocol", ("cli/",)),
}
# Layers of the kit: a module imports only from its own layer's folders below it.
LAYERS = {
    "estuary_cdk.kits": 4,
    "estuary_cdk.testing": 3,
    "estuary_cdk.capture": 3,
    "estuary_cdk.materialize": 3,
    "estuary_cdk.transport": 2,
    "estuary_cdk.protocol": 1,
}
KIT_ROOT_LAYER = 0
# L0 modules that know the protocol's JSON spelling or versions by necessity, and nothing above it.
ROOT_MAY_IMPORT_PROTOCOL = {"jsonschema.py", "__init__.py", "process.py", "document.py"}
# A private server is the test kit's business, and one of the demos'.
DEMO_MAY_IMPORT = "estuary_cdk.testing.postgres"


@cache
def sources() -> tuple[Path, ...]:
    packages = [ROOT / "estuary-cdk/estuary_cdk", ROOT / "flow-local/flow_local"]
    for pattern in ("source-*", "materialize-*"):
        packages += [folder / folder.name.replace("-", "_") for folder in ROOT.glob(pattern)]
    return tuple(sorted(path for package in packages for path in package.rglob("*.py")))


@cache
def everything() -> tuple[Path, ...]:
    skipped = {".venv", ".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    skipped |= {".flow-local", "flow-demo"}  # what running it leaves
    found = (p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.parts))
    return tuple(sorted(found))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(part for part in parts if part != "__init__")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the modules a file imports, with the line; `from a import b` counts as a and a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_modules_stay_within_their_limits() -> None:
    wrong = []
    for path in sources():
        lines = path.read_text().splitlines()
        if len(lines) > LINES_MAX and not lines[0].startswith("# Generated"):
            wrong.append(f"{shown(path)}: {len(lines)} lines, split it by noun")
        if lines and not ast.get_docstring(tree(path)):
            wrong.append(f"{shown(path)}: say in a docstring what the module knows")
        if path.stem in BANNED_STEMS:
            wrong.append(f"{shown(path)}: name it after what it knows")
    assert not wrong, "\n".join(wrong)


def test_functions_stay_within_their_limits() -> None:
    wrong = []
    for path in sources():
        for node in functions(path):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            positional = [a for a in node.args.posonlyargs + node.args.args if a.arg != "self"]
            place = f"{shown(path)}:{node.lineno} {node.name}"
            if length > FUNCTION_LINES_MAX:
                wrong.append(f"{place}: {length} lines, give its parts names")
            if len(positional) > PARAMETERS_MAX:
                wrong.append(f"{place}: {len(positional)} parameters, make a value of them")
    assert not wrong, "\n".join(wrong)


def test_public_names_have_contracts() -> None:
    wrong = []
    for path in sources():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                public = not node.name.startswith("_")
                if public and not ast.get_docstring(node):
                    wrong.append(f"{shown(path)}:{node.lineno} {node.name}: say what it promises")
    assert not wrong, "\n".join(wrong)


def test_banned_imports_and_calls_are_not_used() -> None:
    wrong = []
    for path in sources():
        for line, name in imported(path):
            if name in BANNED_IMPORTS:
                wrong.append(f"{shown(path)}:{line}: {name} is banned, use {BANNED_IMPORTS[name]}")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                instead, owners = BANNED_CALLS.get(called, ("", ()))
                if instead and not any(owner in shown(path) for owner in owners):
                    wrong.append(f"{shown(path)}:{node.lineno}: {called} is banned, use {instead}")
    assert not wrong, "\n".join(wrong)


def layer(name: str) -> int | None:
    """Return the layer of a module of the kit; None for anything else."""
    if not name.startswith("estuary_cdk."):
        return None
    for prefix, number in LAYERS.items():
        if name == prefix or name.startswith(prefix + "."):
            return number
    return KIT_ROOT_LAYER


def test_imports_point_down() -> None:
    wrong = []
    for path in sources():
        name = module_name(path)
        own = layer(name)
        for line, target in imported(path):
            place = f"{shown(path)}:{line}: imports {target}"
            theirs = layer(target)
            if name.startswith("flow_local.cli.demo") and target.startswith(DEMO_MAY_IMPORT):
                continue
            if name.startswith("flow_local") and theirs in {3, 4}:
                wrong.append(f"{place}: the runtime stands on protocol and transport alone")
            if own is None or theirs is None or name == "estuary_cdk":
                continue
            if own == KIT_ROOT_LAYER and path.name in ROOT_MAY_IMPORT_PROTOCOL and theirs <= 2:
                continue
            if theirs > own:
                wrong.append(f"{place}: layer {own} can't import layer {theirs}")
            frameworks = {"estuary_cdk.capture", "estuary_cdk.materialize"}
            families = [
                next((f for f in frameworks if module.startswith(f)), None)
                for module in (name, target)
            ]
            if None not in families and families[0] != families[1]:
                wrong.append(f"{place}: the frameworks don't know each other")
    assert not wrong, "\n".join(wrong)


def test_connectors_know_the_kit_alone() -> None:
    connectors = {
        p.name.replace("-", "_") for g in ("source-*", "materialize-*") for p in ROOT.glob(g)
    }
    wrong = []
    for path in sources():
        package = module_name(path).split(".")[0]
        for line, target in imported(path):
            root = target.split(".")[0]
            if package in connectors and root in (connectors | {"flow_local"}) - {package}:
                wrong.append(f"{shown(path)}:{line}: {package} imports {target}")
            if root == "estuary_cdk" and package in connectors:
                private = [part for part in target.split(".") if part.startswith("_")]
                if private:
                    wrong.append(f"{shown(path)}:{line}: {target} is private to the kit")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_unfinished() -> None:
    marker = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b")
    wrong = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in everything()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".sh", ""}
        and path.name != "LICENSE-APACHE"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if marker.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_in_the_repository_belongs_to_one_machine() -> None:
    machine = re.compile(
        "|".join(
            [r"/ro" + r"ot/", r"/ho" + r"me/(?!connector)\w", r"/wo" + r"rk/", r"/tm" + r"p/wt"]
        )
    )
    wrong = [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in everything()
        if path.suffix
        in {
            ".py",
            ".md",
            ".toml",
            ".yaml",
            ".yml",
            ".txt",
            ".sh",
            ".sql",
            ".ambr",
            ".Dockerfile",
            "",
        }
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if machine.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_repository_holds_text_alone() -> None:
    wrong = [shown(p) for p in everything() if b"\0" in p.read_bytes()[:8000]]
    assert not wrong, f"binary files: {wrong}"


@pytest.mark.parametrize("name", ["bin/test", "bin/check", "bin/flow-local", ".ci/run"])
def test_the_commands_can_be_run(name) -> None:
    assert (ROOT / name).stat().st_mode & 0o111
