"""From the path of a flow.yaml to a checked catalog."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from flow_local.catalog.assembly import assembled
from flow_local.catalog.captures import CAPTURE, read_capture
from flow_local.catalog.checks import SECTION_NOUNS, check_names, check_partitions, check_uses
from flow_local.catalog.collections import COLLECTION, CheckSchema, read_collection
from flow_local.catalog.configs import Decrypt, Secrets, sops_decrypted
from flow_local.catalog.diagnostics import Mistakes
from flow_local.catalog.materializations import MATERIALIZATION, read_materialization
from flow_local.catalog.models import Catalog
from flow_local.catalog.nodes import Node, encoded
from flow_local.catalog.schema_mistakes import schema_mistakes
from flow_local.catalog.stanza import Stanza, stanza
from flow_local.catalog.steps import read_test


def load(
    path: str | Path,
    env: Mapping[str, str] | None,
    *,
    check_schema: CheckSchema = schema_mistakes,
    decrypt: Decrypt = sops_decrypted,
) -> Catalog:
    """Read the catalog at `path`, in YAML or JSON, with everything it imports.

    `env` fills in `${env:NAME}` in endpoint configs; with None, configs stay as written, encrypted
    ones encrypted, which is enough where no connector runs. `check_schema` returns the pointer and
    the reason of each mistake in a JSON schema. `decrypt` turns a config with a `sops` stanza into
    JSON and raises ConfigError when it can't.

    Definitions with `delete: true` are left out. Raises Diagnostics, for the user, with every
    mistake that was found; nothing is written or started before all of the catalog is good.
    """
    mistakes = Mistakes()
    source = assembled(str(path), mistakes)
    secrets = Secrets(env, decrypt)
    storage = source.members["storageMappings"]
    catalog = Catalog(
        path=str(path),
        captures={
            name: read_capture(name, task, secrets)
            for name, task in _stanzas(source, "captures", CAPTURE, mistakes)
        },
        collections={
            name: read_collection(name, inner, check_schema)
            for name, inner in _stanzas(source, "collections", COLLECTION, mistakes)
        },
        materializations={
            name: read_materialization(name, task, secrets)
            for name, task in _stanzas(source, "materializations", MATERIALIZATION, mistakes)
        },
        tests={
            name: read_test(name, node, mistakes)
            for name, node in source.members["tests"].members.items()
        },
        storage_mappings=encoded(storage) if storage.members else None,
        source=source,
    )
    check_names(catalog, mistakes)
    if not mistakes.incomplete:
        check_uses(catalog, mistakes)
        check_partitions(catalog, mistakes)
    mistakes.raise_any()
    return catalog


def _stanzas(
    source: Node, section: str, known: tuple[str, ...], mistakes: Mistakes
) -> Iterator[tuple[str, Stanza]]:
    for name, node in source.members[section].members.items():
        inner = stanza(node, f"{SECTION_NOUNS[section]} {name!r}", known, mistakes)
        if not inner.flag("delete"):
            yield name, inner
