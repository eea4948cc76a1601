"""Every catalog of this repository is one that Flow reads: it has no keys that Flow doesn't know.

What flow-local knows beyond is here, and in its README.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flow_local.catalog.template import TEMPLATE

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {".venv", ".git", "__pycache__", "node_modules", ".hypothesis"}
MISTAKEN = "flow-local/tests/catalog/"  # Those are about catalogs that are wrong.
EXTENSIONS = {"shards.count"}
STANZAS = re.compile(r"^(captures|materializations|collections|tests):", re.MULTILINE)
FENCE = re.compile(r"^```yaml(?: \S+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_VARIABLE = re.compile(r'"?\$\{([A-Z_]+)\}"?')

ANY: Any = None
TASK = {"shards", "secrets", "expectPubId", "delete", "reset"}
SHARDS = dict.fromkeys(
    [
        "disable",
        "hotStandbys",
        "minTxnDuration",
        "maxTxnDuration",
        "readChannelSize",
        "ringBufferSize",
        "logLevel",
        "flags",
    ]
)
ENDPOINT = {
    "connector": {"image": ANY, "config": ANY},
    "local": {"command": ANY, "config": ANY, "env": ANY, "protobuf": ANY},
    "dekaf": {"variant": ANY, "config": ANY},
}
PARTITIONS = {"include": ANY, "exclude": ANY}
SOURCE = {"name": ANY, "partitions": PARTITIONS, "notBefore": ANY, "notAfter": ANY}
FIELDS = {"groupBy", "require", "include", "exclude", "recommended"}
CAPTURE = {
    **dict.fromkeys(TASK),
    "shards": SHARDS,
    "autoDiscover": {"addNewBindings": ANY, "evolveIncompatibleCollections": ANY},
    "endpoint": ENDPOINT,
    "bindings": [dict.fromkeys(["resource", "target", "disable", "backfill"])],
    "interval": ANY,
    "redactSalt": ANY,
}
TRANSFORM = dict.fromkeys(
    ["name", "shuffle", "lambda", "priority", "readDelay", "disable", "backfill"]
)
DERIVE = {
    "using": ANY,
    "transforms": [{**TRANSFORM, "source": SOURCE}],
    "shuffleKeyTypes": ANY,
    "redactSalt": ANY,
    "shards": SHARDS,
}
COLLECTION = {
    **dict.fromkeys(["schema", "writeSchema", "readSchema", "key", "projections", "journals"]),
    **dict.fromkeys(["expectPubId", "delete", "reset"]),
    "derive": DERIVE,
}
BINDING = dict.fromkeys(
    ["resource", "disable", "priority", "backfill", "onIncompatibleSchemaChange"]
)
MATERIALIZATION = {
    **dict.fromkeys(TASK),
    **dict.fromkeys(["onIncompatibleSchemaChange", "triggers", "syncSchedule"]),
    "shards": SHARDS,
    "source": dict.fromkeys(["capture", "targetNaming", "deltaUpdates", "fieldsRecommended"]),
    "endpoint": ENDPOINT,
    "bindings": [{**BINDING, "source": SOURCE, "fields": dict.fromkeys(FIELDS)}],
}
STEP = {
    "ingest": dict.fromkeys(["collection", "documents", "description"]),
    "verify": {"collection": ANY, "documents": ANY, "description": ANY, "partitions": PARTITIONS},
}
NAMED = "*"
CATALOG = {
    "$schema": ANY,
    "import": ANY,
    "storageMappings": ANY,
    "captures": {NAMED: CAPTURE},
    "collections": {NAMED: COLLECTION},
    "materializations": {NAMED: MATERIALIZATION},
    "tests": {NAMED: [STEP]},
}


def unknown(value: Any, grammar: Any, path: str = "") -> Iterator[str]:
    """Yield the keys that a grammar doesn't have, with their places."""
    if isinstance(grammar, list) and isinstance(value, list):
        for each in value:
            yield from unknown(each, grammar[0], path)
    elif isinstance(grammar, dict) and isinstance(value, dict):
        for name, below in value.items():
            place = f"{path}.{name}".lstrip(".")
            if NAMED in grammar:
                yield from unknown(below, grammar[NAMED], path)
            elif name in grammar:
                yield from unknown(below, grammar[name], name)
            elif place not in EXTENSIONS:
                yield place


def catalogs() -> Iterator[tuple[str, str]]:
    """Yield place and text of every catalog: files, blocks of documents, strings of code."""
    yield "flow-local init", TEMPLATE
    for path in sorted(ROOT.rglob("*")):
        place = str(path.relative_to(ROOT))
        if not SKIPPED & set(path.parts) and not place.startswith(MISTAKEN):
            for line, text in within(path):
                yield f"{place}:{line}", text


def within(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file that may be catalogs, with their lines."""
    if path.name.endswith("flow.yaml"):
        yield 1, path.read_text()
    elif path.suffix == ".md":
        text = path.read_text()
        for block in FENCE.finditer(text):
            yield text.count("\n", 0, block.start()) + 1, block[1]
    elif path.suffix == ".py" and path != Path(__file__):
        yield from strings(path)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the string constants that are catalogs, or templates of some, with their lines."""
    text = path.read_text()
    if STANZAS.search(text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = STANZAS.search(node.value)
                if found and '"""' not in node.value and "\n" in node.value:
                    yield node.lineno, node.value


def read(text: str) -> Any:
    """Return what a catalog says; placeholders of templates say nothing."""
    filled = SHELL_VARIABLE.sub("{}", text)
    try:
        return yaml.safe_load(filled)
    except yaml.YAMLError:
        return yaml.safe_load(text.format_map(defaultdict(str)))


FOUND = [(place, text) for place, text in catalogs() if STANZAS.search(text)]


@pytest.mark.parametrize(("place", "text"), FOUND, ids=[place for place, _ in FOUND])
def test_a_catalog_has_no_key_that_flow_does_not_know(place, text):
    assert list(unknown(read(text), CATALOG)) == [], place


def test_catalogs_are_found_where_they_are():
    places = {place.partition(":")[0] for place, _ in FOUND}
    assert {"examples/http-to-sqlite/flow.yaml", "flow-local/README.md"} < places
    assert {"tests/template.flow.yaml", "tests/crash/pipeline.py"} < places


def test_a_key_of_nobody_is_found():
    task = {"endpoint": {"local": {"comand": []}}, "shards": {"count": 2, "counts": 2}}
    assert set(unknown({"captures": {"a/b": task}}, CATALOG)) == {"local.comand", "shards.counts"}


def test_the_readme_tells_of_every_extension():
    readme = (ROOT / "flow-local/README.md").read_text()
    section = readme.partition("## On Flow\n")[2].partition("\n## ")[0]
    for extension in EXTENSIONS:
        task, _, key = extension.partition(".")
        assert f"`{task}: {{{key}: N}}`" in section
