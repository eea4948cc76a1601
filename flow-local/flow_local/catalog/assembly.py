"""One catalog out of many files: imports followed, sections merged, references inlined."""

import os
from collections.abc import Mapping

from flow_local.catalog.diagnostics import Mistakes, did_you_mean
from flow_local.catalog.files import Files, relative
from flow_local.catalog.inlining import inlined
from flow_local.catalog.nodes import Location, Node, kind

SECTIONS = ("captures", "collections", "materializations", "tests", "storageMappings")
TOP_LEVEL = ("$schema", "import", *SECTIONS)


def assembled(path: str, mistakes: Mistakes) -> Node:
    """Return one catalog of the file at `path` and all it imports, every reference inlined."""
    files = Files(mistakes)
    start = Location(path, 1, 1)
    sections: dict[str, dict[str, Node]] = {section: {} for section in SECTIONS}
    waiting, seen = [(path, start)], {os.path.realpath(path)}
    while waiting:
        file, named_at = waiting.pop(0)
        root = files.parse(file, "read" if file == path else "import", named_at)
        if root is None:
            continue
        _note_top_level(root, mistakes)
        for section, defined in sections.items():
            _add(defined, section, root.members.get(section), mistakes)
        for imported in _imports(root, mistakes):
            target = relative(str(imported.value), imported.location)
            if os.path.realpath(target) not in seen:
                seen.add(os.path.realpath(target))
                waiting.append((target, imported.location))
    catalog = Node({name: Node(members, start) for name, members in sections.items()}, start)
    return inlined(catalog, files)


def _note_top_level(root: Node, mistakes: Mistakes) -> None:
    if not isinstance(root.value, Mapping):
        mistakes.add(root.location, f"can't read the catalog: expected a mapping, not {kind(root)}")
    for key, member in root.members.items():
        if key not in TOP_LEVEL:
            hint = did_you_mean(key, TOP_LEVEL) or f"known keys: {', '.join(TOP_LEVEL)}"
            mistakes.add(member.location, f"can't use the key {key!r} of a catalog: unknown", hint)


def _imports(root: Node, mistakes: Mistakes) -> list[Node]:
    listed = root.members.get("import")
    if listed is None or listed.value is None:
        return []
    if not isinstance(listed.value, tuple):
        found = kind(listed)
        mistakes.add(listed.location, f"can't read 'import': expected a list, found {found}")
    for item in listed.items:
        if not isinstance(item.value, str):
            mistakes.add(item.location, f"can't import {kind(item)}: expected a path")
        elif "://" in item.value:
            message = f"can't import {item.value!r}: only files are imported here"
            mistakes.add(item.location, message, "download it and import the file")
    return [i for i in listed.items if isinstance(i.value, str) and "://" not in i.value]


def _add(defined: dict[str, Node], section: str, stanza: Node | None, mistakes: Mistakes) -> None:
    if stanza is None or stanza.value is None:
        return
    if not isinstance(stanza.value, Mapping):
        found = kind(stanza)
        mistakes.add(stanza.location, f"can't read {section!r}: expected a mapping, found {found}")
    for name, member in stanza.members.items():
        if name in defined:
            first = defined[name].location
            message = f"can't define {name!r} in {section!r} again: {first} defines it"
            mistakes.add(member.location, message, "rename or remove one of them")
        defined.setdefault(name, member)
