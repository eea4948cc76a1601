"""Mistakes in captures and materializations, each with the whole sentence that it gets."""

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
MATERIALIZATION = """\
materializations:
  acme/mat:
    endpoint: {local: {command: [materialize-sqlite], config: {}}}
"""
CASES: dict[str, tuple[dict[str, str], str]] = {
    "a name below another": (
        {"flow.yaml": BASE + CAPTURE.replace("acme/cap", "acme/a/cap")},
        (
            "flow.yaml:6: can't use the name 'acme/a/cap' of a capture: it lies "
            "below the collection 'acme/a' (flow.yaml:2) (rename one of them)"
        ),
    ),
    "a name used twice": (
        {"flow.yaml": BASE + CAPTURE.replace("acme/cap", "acme/a")},
        (
            "flow.yaml:2: can't use the name 'acme/a' of a collection: flow.yaml:6 "
            "has a capture of that name (rename one)"
        ),
    ),
    "a missing target": (
        {
            "flow.yaml": BASE
            + CAPTURE
            + ("    bindings:\n      - resource: {name: x}\n        target: acme/b\n")
        },
        (
            "flow.yaml:10: can't use binding 1 of capture 'acme/cap': there is no "
            "collection 'acme/b' (did you mean 'acme/a'?)"
        ),
    ),
    "a binding without target": (
        {"flow.yaml": BASE + CAPTURE + "    bindings:\n      - resource: {name: x}\n"},
        (
            "flow.yaml:9: can't use binding 1 of capture 'acme/cap': 'target' is "
            "missing (name the collection it captures into)"
        ),
    ),
    "a binding without resource": (
        {"flow.yaml": BASE + CAPTURE + "    bindings:\n      - target: acme/a\n"},
        ("flow.yaml:9: can't use binding 1 of capture 'acme/cap': 'resource' is missing"),
    ),
    "a derived target": (
        {
            "flow.yaml": BASE
            + "    derive: {using: {sqlite: {}}, transforms: []}\n"
            + CAPTURE
            + "    bindings: [{resource: {name: x}, target: acme/a}]\n"
        },
        (
            "flow.yaml:9: can't use binding 1 of capture 'acme/cap': its target "
            "'acme/a' is derived (capture into another collection)"
        ),
    ),
    "a resource bound twice": (
        {
            "flow.yaml": BASE
            + CAPTURE
            + (
                "    bindings:\n"
                "      - {resource: {name: x}, target: acme/a}\n"
                "      - {resource: {name: x}, target: acme/a}\n"
            )
        },
        (
            "flow.yaml:10: can't use a binding of capture 'acme/cap': flow.yaml:9 "
            "binds the same resource (remove or disable one of them)"
        ),
    ),
    "a missing source": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + ("    bindings:\n      - resource: {table: x}\n        source: acmee/a\n")
        },
        (
            "flow.yaml:10: can't use binding 1 of materialization 'acme/mat': "
            "there is no collection 'acmee/a' (did you mean 'acme/a'?)"
        ),
    ),
    "a missing source capture": (
        {"flow.yaml": BASE + CAPTURE + MATERIALIZATION + "    source: acme/capp\n"},
        (
            "flow.yaml:11: can't use 'source' of materialization 'acme/mat': no "
            "capture is named 'acme/capp' (did you mean 'acme/cap'?)"
        ),
    ),
    "a source with a backward range": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source:\n"
                "          name: acme/a\n"
                "          notBefore: 2024-02-01T00:00:00Z\n"
                "          notAfter: 2024-01-01T00:00:00Z\n"
            )
        },
        (
            "flow.yaml:12: can't use 'source' of binding 1 of materialization "
            "'acme/mat': 'notBefore' isn't earlier than 'notAfter'"
        ),
    ),
    "a time without zone": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source: {name: acme/a, notBefore: 2024-02-01T00:00:00}\n"
            )
        },
        (
            "flow.yaml:10: can't use '2024-02-01T00:00:00' as 'notBefore' of "
            "'source' of binding 1 of materialization 'acme/mat': it has no time "
            "zone (write for example '2024-01-31T00:00:00Z')"
        ),
    ),
    "a partition that isn't one": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source: {name: acme/a, partitions: {include: {region: [eu]}}}\n"
            )
        },
        (
            "flow.yaml:10: can't use binding 1 of materialization 'acme/mat': "
            "'region' isn't a partition of 'acme/a' (declare it under "
            "'projections')"
        ),
    ),
    "a field both required and excluded": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source: acme/a\n"
                "        fields: {require: {n: {}}, exclude: [n]}\n"
            )
        },
        (
            "flow.yaml:11: can't use 'fields' of binding 1 of materialization "
            "'acme/mat': it both requires and excludes 'n' (remove one of them)"
        ),
    ),
    "fields by an old and a new name": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source: acme/a\n"
                "        fields: {require: {n: {}}, include: {id: {}}}\n"
            )
        },
        (
            "flow.yaml:11: can't use 'fields' of binding 1 of materialization "
            "'acme/mat': 'include' is the older name of 'require' (move its fields "
            "to 'require')"
        ),
    ),
    "a recommended that isn't a depth": (
        {
            "flow.yaml": BASE
            + MATERIALIZATION
            + (
                "    bindings:\n"
                "      - resource: {table: x}\n"
                "        source: acme/a\n"
                "        fields: {recommended: all}\n"
            )
        },
        (
            "flow.yaml:11: can't read 'recommended' of 'fields' of binding 1 of "
            "materialization 'acme/mat': expected true, false or a whole number, "
            "found a string"
        ),
    ),
    "an unknown choice": (
        {"flow.yaml": BASE + MATERIALIZATION + "    onIncompatibleSchemaChange: backfil\n"},
        (
            "flow.yaml:8: can't use 'backfil' as 'onIncompatibleSchemaChange' of "
            "materialization 'acme/mat': unknown (did you mean 'backfill'?)"
        ),
    ),
    "no endpoint": (
        {"flow.yaml": "captures:\n  acme/cap: {}\n"},
        (
            "flow.yaml:2: can't use capture 'acme/cap': 'endpoint' is missing "
            "(write for example 'local: {command: [source-http], config: {}}')"
        ),
    ),
    "two endpoints": (
        {
            "flow.yaml": (
                "captures:\n"
                "  acme/cap:\n"
                "    endpoint: {local: {command: [x]}, connector: {image: x}}\n"
            )
        },
        (
            "flow.yaml:3: can't use the endpoint of capture 'acme/cap': expected "
            "one of 'connector' or 'local', found connector and local"
        ),
    ),
    "an endpoint without image": (
        {"flow.yaml": "captures:\n  acme/cap:\n    endpoint: {connector: {config: {}}}\n"},
        (
            "flow.yaml:3: can't use 'connector' of the endpoint of capture "
            "'acme/cap': 'image' is missing (write for example 'image: "
            "ghcr.io/estuary/source-http:v1')"
        ),
    ),
    "an endpoint without command": (
        {
            "flow.yaml": (
                "captures:\n  acme/cap:\n    endpoint: {local: {command: [], config: {}}}\n"
            )
        },
        (
            "flow.yaml:3: can't use the endpoint of capture 'acme/cap': 'command' "
            "is empty (write for example 'command: [source-http]')"
        ),
    ),
    "an endpoint without config": (
        {"flow.yaml": "captures:\n  acme/cap:\n    endpoint: {local: {command: [x]}}\n"},
        (
            "flow.yaml:3: can't use 'local' of the endpoint of capture 'acme/cap': "
            "'config' is missing (write 'config: {}' when there is nothing to "
            "configure)"
        ),
    ),
    "a bad interval": (
        {"flow.yaml": BASE + CAPTURE + "    interval: 5 minuts\n"},
        (
            "flow.yaml:8: can't use '5 minuts' as 'interval' of capture "
            "'acme/cap': 'minuts' isn't a unit of time (write for example '30s', "
            "'5m' or '1h 30m')"
        ),
    ),
    "an interval without unit": (
        {"flow.yaml": BASE + CAPTURE + "    interval: '300'\n"},
        (
            "flow.yaml:8: can't use '300' as 'interval' of capture 'acme/cap': "
            "expected a number and a unit (write for example '30s', '5m' or '1h "
            "30m')"
        ),
    ),
    "a number for a string": (
        {"flow.yaml": BASE + CAPTURE + "    interval: 300\n"},
        (
            "flow.yaml:8: can't read 'interval' of capture 'acme/cap': expected a "
            "string, found a number"
        ),
    ),
    "no shards": (
        {"flow.yaml": BASE + CAPTURE + "    shards: {count: 0}\n"},
        ("flow.yaml:8: can't run 'shards' of capture 'acme/cap' as 0 processes (use 1 to 64)"),
    ),
    "a yes for a boolean": (
        {"flow.yaml": BASE + CAPTURE + "    shards: {disable: yes}\n"},
        (
            "flow.yaml:8: can't read 'disable' of 'shards' of capture 'acme/cap': "
            "expected true or false, found a string"
        ),
    ),
    "a fractional backfill": (
        {
            "flow.yaml": BASE
            + CAPTURE
            + ("    bindings: [{resource: {name: x}, target: acme/a, backfill: 1.5}]\n")
        },
        (
            "flow.yaml:8: can't read 'backfill' of binding 1 of capture "
            "'acme/cap': expected a whole number, found 1.5 (use 0 to 4294967295)"
        ),
    ),
    "a salt that isn't base64": (
        {"flow.yaml": BASE + CAPTURE + "    redactSalt: '***'\n"},
        ("flow.yaml:8: can't use 'redactSalt' of capture 'acme/cap': it isn't base64"),
    ),
    "a missing variable": (
        {"flow.yaml": CAPTURE.replace("config: {}", "config: {user: 'x${env:MISSING_USER}'}")},
        (
            "flow.yaml:3: can't fill in '${env:MISSING_USER}' in the config of the "
            "endpoint of capture 'acme/cap': the environment variable "
            "'MISSING_USER' isn't set (export MISSING_USER=...)"
        ),
    ),
    "a malformed variable": (
        {"flow.yaml": CAPTURE.replace("config: {}", "config: {user: '${env:a b}'}")},
        (
            "flow.yaml:3: can't fill in '${env:a b}' in the config of the endpoint "
            "of capture 'acme/cap': it isn't the name of a variable (write "
            "${env:NAME}, or $${ for a literal ${)"
        ),
    ),
    "an encrypted config without sops": (
        {"flow.yaml": CAPTURE.replace("config: {}", "config: {sops: {}}")},
        (
            "flow.yaml:3: can't decrypt the config of the endpoint of capture "
            "'acme/cap': it is encrypted and the program 'sops' isn't installed "
            "(install it)"
        ),
    ),
    "an encrypted config with secrets": (
        {
            "flow.yaml": CAPTURE.replace("config: {}", "config: {sops: {}}")
            + "    secrets: {/a: b}\n"
        },
        (
            "flow.yaml:3: can't decrypt the config of the endpoint of capture "
            "'acme/cap': it is encrypted and the program 'sops' isn't installed "
            "(install it)\n"
            "flow.yaml:4: can't use 'secrets' of capture 'acme/cap': its config is "
            "encrypted by sops (use one of the two)"
        ),
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_a_mistake_is_named_with_its_place_and_remedy(mistake, rendered):
    files, expected = CASES[mistake]
    assert rendered(files) == expected
