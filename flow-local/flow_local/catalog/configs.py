"""Endpoint configs made ready for connectors: environment variables put in, secrets decrypted.

`${env:NAME}` inside a string is replaced by that environment variable. The result is always part of
that string: it is never parsed, so a variable can't add keys, and "5432" stays a string. `$${`
stands for a literal `${`; `${` before anything but `env:` is left alone.

A config with a `sops` member is encrypted: it is decrypted as a whole by the `sops` program, then
the suffix that marks encrypted keys is dropped. No variables are put into it, since a secret may
hold any text.
"""

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from estuary_cdk.errors import ConfigError, shortened
from flow_local.catalog.diagnostics import CatalogError, Mistakes
from flow_local.catalog.json_text import parse_json
from flow_local.catalog.nodes import Node, encoded

SOPS_SECONDS_MAX = 60

Decrypt: TypeAlias = Callable[[bytes], bytes]

_VARIABLE = re.compile(r"\$\$\{|\$\{env:([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the values come from that a catalog only names.

    Without an `environment`, configs stay exactly as they are written.
    """

    environment: Mapping[str, str] | None
    decrypt: Decrypt


def config_bytes(config: Node, name: str, secrets: Secrets, mistakes: Mistakes) -> bytes:
    """Return the config of `name` as JSON, ready for a connector; `{}` stands for a mistake."""
    if secrets.environment is None:
        return encoded(config)
    stanza = config.members.get("sops")
    if stanza is None:
        return encoded(_substituted(config, name, secrets.environment, mistakes))
    try:
        decrypted = parse_json(secrets.decrypt(encoded(config)).decode(), "decrypted config")
    except (ConfigError, UnicodeDecodeError) as error:
        reason, hint = str(error), None
        if isinstance(error, CatalogError):
            reason = "what sops returned isn't JSON"
        elif isinstance(error, ConfigError):
            reason, hint = error.message, error.hint
        mistakes.add(stanza.location, f"can't decrypt the config of {name}: {reason}", hint)
        return b"{}"
    suffix = stanza.members.get("encrypted_suffix")
    members = {key: member for key, member in decrypted.members.items() if key != "sops"}
    plain = Node(members, config.location)
    if suffix is None or not isinstance(suffix.value, str) or not suffix.value:
        return encoded(plain)
    return encoded(_without_suffix(plain, suffix.value))


def sops_decrypted(config: bytes) -> bytes:
    """Decrypt a JSON config by running `sops`; raises ConfigError when that fails."""
    command = ["sops", "--decrypt", "--input-type", "json", "--output-type", "json", "/dev/stdin"]
    try:
        done = subprocess.run(
            command, input=config, capture_output=True, timeout=SOPS_SECONDS_MAX, check=False
        )
    except FileNotFoundError as error:
        raise ConfigError(
            "it is encrypted and the program 'sops' isn't installed",
            hint="install sops and give it access to the key, or write the config in plain text",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"sops gave no answer in {SOPS_SECONDS_MAX} s") from error
    if done.returncode != 0:
        reason = shortened(done.stderr.decode(errors="replace").strip())
        raise ConfigError(f"sops exited with {done.returncode}: {reason}")
    return done.stdout


def _without_suffix(node: Node, suffix: str) -> Node:
    if isinstance(node.value, tuple):
        items = tuple(_without_suffix(item, suffix) for item in node.value)
        return Node(items, node.location)
    if not isinstance(node.value, Mapping):
        return node
    members = {
        key.removesuffix(suffix): _without_suffix(member, suffix)
        for key, member in node.value.items()
    }
    return Node(members, node.location)


def _substituted(node: Node, name: str, environment: Mapping[str, str], mistakes: Mistakes) -> Node:
    value = node.value
    if isinstance(value, str):
        return Node(_text(node, value, name, environment, mistakes), node.location)
    if isinstance(value, tuple):
        items = (_substituted(item, name, environment, mistakes) for item in value)
        return Node(tuple(items), node.location)
    if not isinstance(value, Mapping):
        return node
    members = {k: _substituted(v, name, environment, mistakes) for k, v in value.items()}
    return Node(members, node.location)


def _text(
    node: Node, text: str, name: str, environment: Mapping[str, str], mistakes: Mistakes
) -> str:
    def replacement(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        variable = found[1]
        message = f"can't fill in {shortened(found[0])} in the config of {name}"
        if not found[0].endswith("}") or not _NAME.fullmatch(variable):
            hint = "write ${env:NAME}, or $${ for a literal ${"
            mistakes.add(node.location, f"{message}: it isn't the name of a variable", hint)
        elif variable not in environment:
            hint = f"export {variable}=..."
            reason = f"the environment variable {variable!r} isn't set"
            mistakes.add(node.location, f"{message}: {reason}", hint)
        else:
            return environment[variable]
        return ""

    return _VARIABLE.sub(replacement, text)
