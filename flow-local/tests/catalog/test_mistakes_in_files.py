"""Mistakes in the files of a catalog, each with the whole sentence that it gets."""

import pytest

BASE = """\
collections:
  acme/a:
    schema: {type: object, properties: {id: {type: integer}, n: {type: number}}, required: [id, n]}
    key: [/id]
"""
CAPTURE = """\
captures:
  acme/cap:
    endpoint: {local: {command: [source-http], config: {}}}
"""
CASES: dict[str, tuple[dict[str, str], str]] = {
    "an unknown top-level key": (
        {"flow.yaml": "colections: {}\n"},
        (
            "flow.yaml:1: can't use the key 'colections' of a catalog: unknown "
            "(did you mean 'collections'?)"
        ),
    ),
    "an unknown key": (
        {"flow.yaml": BASE + CAPTURE + "    intervall: 5m\n"},
        (
            "flow.yaml:8: can't use the key 'intervall' of capture 'acme/cap': "
            "unknown (did you mean 'interval'?)"
        ),
    ),
    "an unknown key that is like no other": (
        {"flow.yaml": BASE + CAPTURE + "    zzz: 5m\n"},
        (
            "flow.yaml:8: can't use the key 'zzz' of capture 'acme/cap': unknown "
            "(known keys: endpoint, bindings, interval, autoDiscover, shards, "
            "secrets, redactSalt, expectPubId, delete, reset)"
        ),
    ),
    "a key given twice": (
        {"flow.yaml": BASE + "    key: [/n]\n"},
        (
            "flow.yaml:5: can't read 'flow.yaml' as YAML: the key 'key' is given "
            "twice, first in line 4 (keep one of them)"
        ),
    ),
    "a catalog that is a list": (
        {"flow.yaml": "- 1\n"},
        "flow.yaml:1: can't read the catalog: expected a mapping, not a list",
    ),
    "broken YAML": (
        {"flow.yaml": "captures:\n  acme/x: [1, 2\n"},
        ("flow.yaml:3: can't read 'flow.yaml' as YAML: did not find expected ',' or ']'"),
    ),
    "broken JSON": (
        {"flow.json": '{"captures": {\n  "acme/x": 1,}}'},
        ("flow.json:2: can't read 'flow.json' as JSON: expected a key in double quotes"),
    ),
    "a key given twice in JSON": (
        {"flow.json": '{"captures": {},\n "captures": {}}'},
        (
            "flow.json:2: can't read 'flow.json' as JSON: the key 'captures' is "
            "given twice, first in line 1"
        ),
    ),
    "a number that JSON doesn't have": (
        {"flow.yaml": "storageMappings:\n  x: .inf\n"},
        ("flow.yaml:2: can't read 'flow.yaml' as YAML: '.inf' isn't a number of JSON (quote it)"),
    ),
    "a section of the wrong type": (
        {"flow.yaml": "captures: [1]\n"},
        "flow.yaml:1: can't read 'captures': expected a mapping, found a list",
    ),
    "a missing import": (
        {"flow.yaml": "import:\n  - a/b.yaml\n"},
        "flow.yaml:2: can't import 'a/b.yaml': there is no such file",
    ),
    "an import that isn't a file": (
        {"flow.yaml": "import: ['https://example.com/flow.yaml']\n"},
        (
            "flow.yaml:1: can't import 'https://example.com/flow.yaml': only files "
            "are imported here (download it and import the file)"
        ),
    ),
    "a mistake in an imported file": (
        {
            "flow.yaml": "import: [sub/a.yaml]\n",
            "sub/a.yaml": "import: [../flow.yaml]\ncaptuers: {}\n",
        },
        (
            "sub/a.yaml:2: can't use the key 'captuers' of a catalog: unknown (did "
            "you mean 'captures'?)"
        ),
    ),
    "a definition in two files": (
        {"flow.yaml": "import: [a.yaml]\n" + BASE, "a.yaml": BASE},
        (
            "a.yaml:2: can't define 'acme/a' in 'collections' again: flow.yaml:3 "
            "defines it (rename or remove one of them)"
        ),
    ),
    "a missing schema file": (
        {"flow.yaml": "collections:\n  acme/a:\n    schema: a.schema.yaml\n    key: [/id]\n"},
        "flow.yaml:3: can't read 'a.schema.yaml': there is no such file",
    ),
    "a mistake in a schema file": (
        {
            "flow.yaml": ("collections:\n  acme/a:\n    schema: a.schema.yaml\n    key: [/id]\n"),
            "a.schema.yaml": ("type: object\nproperties:\n  id: {typ: integer}\nrequired: [id]\n"),
        },
        (
            "a.schema.yaml:3: can't use 'schema' of collection 'acme/a' at "
            "/properties/id/typ: 'typ' isn't a keyword of schemas (did you mean "
            "'type'?)"
        ),
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_is_named_with_its_place_and_remedy(mistake, rendered):
    files, expected = CASES[mistake]
    assert rendered(files) == expected
