"""Mistakes in collections, tests and names, each with the whole sentence that it gets."""

import pytest

BASE = """\
collections:
  acme/a:
    schema: {type: object, properties: {id: {type: integer}, n: {type: number}}, required: [id, n]}
    key: [/id]
"""
CASES: dict[str, tuple[dict[str, str], str]] = {
    "a schema file that refers to a missing one": (
        {
            "flow.yaml": ("collections:\n  acme/a:\n    schema: a.schema.yaml\n    key: [/id]\n"),
            "a.schema.yaml": (
                "type: object\nproperties:\n  id: {$ref: 'id.yaml#/x'}\nrequired: [id]\n"
            ),
        },
        "a.schema.yaml:3: can't read 'id.yaml': there is no such file",
    ),
    "a bad name": (
        {"flow.yaml": BASE.replace("acme/a", "acme//a")},
        (
            "flow.yaml:2: can't use the name 'acme//a' of a collection: a part of "
            "it is empty (use letters, digits, '-', '_' and '.', with single "
            "slashes between)"
        ),
    ),
    "a name with a space": (
        {"flow.yaml": BASE.replace("acme/a", "acme/a b")},
        (
            "flow.yaml:2: can't use the name 'acme/a b' of a collection: it "
            "contains ' ' (use letters, digits, '-', '_' and '.', with single "
            "slashes between)"
        ),
    ),
    "a name that climbs": (
        {"flow.yaml": BASE.replace("acme/a", "acme/..")},
        (
            "flow.yaml:2: can't use the name 'acme/..' of a collection: '..' can't "
            "be a part of it (use letters, digits, '-', '_' and '.', with single "
            "slashes between)"
        ),
    ),
    "a key that the schema doesn't have": (
        {"flow.yaml": BASE.replace("[/id]", "[/ID]")},
        (
            "flow.yaml:4: can't use the key '/ID' of collection 'acme/a': by its "
            "schema there is no such location (did you mean '/id'?)"
        ),
    ),
    "a key that may be null": (
        {"flow.yaml": BASE.replace("{type: integer}", "{type: [integer, 'null']}")},
        (
            "flow.yaml:4: can't use the key '/id' of collection 'acme/a': by its "
            "schema it may be null (remove null from its types, or give it a "
            "default)"
        ),
    ),
    "a key that may be missing": (
        {"flow.yaml": BASE.replace("[id, n]", "[n]")},
        (
            "flow.yaml:4: can't use the key '/id' of collection 'acme/a': by its "
            "schema it may be missing (add 'id' to 'required', or give it a "
            "default)"
        ),
    ),
    "a key that is fractional": (
        {"flow.yaml": BASE.replace("[/id]", "[/n]")},
        (
            "flow.yaml:4: can't use the key '/n' of collection 'acme/a': by its "
            "schema it may be a fractional number (a key is a boolean, an integer "
            "or a string)"
        ),
    ),
    "a key without a type": (
        {"flow.yaml": BASE.replace("{type: integer}", "{}")},
        (
            "flow.yaml:4: can't use the key '/id' of collection 'acme/a': by its "
            "schema it may be an array or a fractional number or an object (a key "
            "is a boolean, an integer or a string)"
        ),
    ),
    "a key that is no pointer": (
        {"flow.yaml": BASE.replace("[/id]", "[id]")},
        (
            "flow.yaml:4: can't use the key 'id' of collection 'acme/a': it "
            "doesn't start with '/' (write '/id')"
        ),
    ),
    "a key with a bad escape": (
        {"flow.yaml": BASE.replace("[/id]", "[/i~d]")},
        (
            "flow.yaml:4: can't use the key '/i~d' of collection 'acme/a': '~' "
            "must be written '~0' (and '/' as '~1') (write '~0' for '~')"
        ),
    ),
    "a key that is the document": (
        {"flow.yaml": BASE.replace("[/id]", '[""]')},
        (
            "flow.yaml:4: can't use the key '' of collection 'acme/a': it is the "
            "whole document (write for example '/id')"
        ),
    ),
    "a key named twice": (
        {"flow.yaml": BASE.replace("[/id]", "[/id, /id]")},
        (
            "flow.yaml:4: can't use the key '/id' of collection 'acme/a': it is "
            "given twice (remove one of them)"
        ),
    ),
    "an empty key": (
        {"flow.yaml": BASE.replace("[/id]", "[]")},
        ("flow.yaml:4: can't use collection 'acme/a': its key is empty (write for example [/id])"),
    ),
    "no key": (
        {"flow.yaml": BASE.replace("    key: [/id]\n", "")},
        (
            "flow.yaml:2: can't use collection 'acme/a': 'key' is missing (write "
            "for example 'key: [/id]')"
        ),
    ),
    "a root that isn't an object": (
        {"flow.yaml": BASE.replace("type: object, ", "type: [object, array], ")},
        (
            "flow.yaml:3: can't use 'schema' of collection 'acme/a': a document "
            "may be something else than an object (write 'type: object' at its "
            "root)"
        ),
    ),
    "no schema": (
        {"flow.yaml": "collections:\n  acme/a: {key: [/id]}\n"},
        (
            "flow.yaml:2: can't use collection 'acme/a': expected a schema, found "
            "nothing (give either schema, or writeSchema and readSchema)"
        ),
    ),
    "a schema too many": (
        {"flow.yaml": BASE + "    readSchema: {type: object}\n"},
        (
            "flow.yaml:2: can't use collection 'acme/a': expected a schema, found "
            "schema and readSchema (give either schema, or writeSchema and "
            "readSchema)"
        ),
    ),
    "a reference to nowhere": (
        {"flow.yaml": BASE.replace("{type: number}", "{$ref: '#/$defs/n'}")},
        ("flow.yaml:3: can't use 'schema' of collection 'acme/a': $ref '#/$defs/n' leads nowhere"),
    ),
    "a key that one of two schemas lacks": (
        {"flow.yaml": BASE.replace("schema:", "writeSchema:") + "    readSchema: {type: object}\n"},
        (
            "flow.yaml:4: can't use the key '/id' of collection 'acme/a': by its "
            "readSchema there is no such location (add 'id' to its properties)"
        ),
    ),
    "an unknown keyword": (
        {"flow.yaml": BASE.replace("{type: number}", "{type: number, minimun: 3}")},
        (
            "flow.yaml:3: can't use 'schema' of collection 'acme/a' at "
            "/properties/n/minimun: 'minimun' isn't a keyword of schemas (did you "
            "mean 'minimum'?)"
        ),
    ),
    "a malformed keyword": (
        {"flow.yaml": BASE.replace("{type: number}", "{type: nummer}")},
        (
            "flow.yaml:3: can't use 'schema' of collection 'acme/a' at "
            "/properties/n/type: 'nummer' isn't a type (did you mean 'number'?)"
        ),
    ),
    "a projection onto another's field": (
        {"flow.yaml": BASE + "    projections: {id: /n}\n"},
        (
            "flow.yaml:5: can't use the projection 'id' of collection 'acme/a': it "
            "is the field of the location '/id' (choose another name)"
        ),
    ),
    "a projection of nothing": (
        {"flow.yaml": BASE + "    projections: {x: /y}\n"},
        (
            "flow.yaml:5: can't use the projection 'x' of collection 'acme/a': "
            "there is no such location at '/y' (add 'y' to its properties)"
        ),
    ),
    "a partition of fractions": (
        {"flow.yaml": BASE + ("    projections:\n      part: {location: /n, partition: true}\n")},
        (
            "flow.yaml:6: can't use the projection 'part' of collection 'acme/a': "
            "it may be a fractional number at '/n' (a partition is a boolean, an "
            "integer or a string)"
        ),
    ),
    "a test that is no list": (
        {"flow.yaml": BASE + "tests:\n  acme/t: {ingest: {}}\n"},
        ("flow.yaml:6: can't read test 'acme/t': expected a list of steps, found a mapping"),
    ),
    "a test step of nothing": (
        {"flow.yaml": BASE + "tests:\n  acme/t:\n    - {}\n"},
        (
            "flow.yaml:7: can't use step 1 of test 'acme/t': expected 'ingest' or "
            "'verify', found nothing"
        ),
    ),
    "a test of a missing collection": (
        {
            "flow.yaml": BASE
            + ("tests:\n  acme/t:\n    - verify: {collection: acme/b, documents: []}\n")
        },
        (
            "flow.yaml:7: can't use step 1 of test 'acme/t': there is no "
            "collection 'acme/b' (did you mean 'acme/a'?)"
        ),
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_is_named_with_its_place_and_remedy(mistake, rendered):
    files, expected = CASES[mistake]
    assert rendered(files) == expected
