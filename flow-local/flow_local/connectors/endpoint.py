"""Where a connector runs: the command that starts it, for a local program and for an image."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from estuary_cdk.errors import ConfigError

ENGINES: Final = ("docker", "podman")
# The limits that Flow gives every connector.
IMAGE_MEMORY: Final = "1g"
IMAGE_CPUS: Final = "2"
_NAME_PREFIX: Final = "flow-local-"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to start one connector; every conversation with it is a process of its own.

    `environment` is added to ours. `removal` is the start of a command that removes what may
    outlive the process (a container); the name that `named` gave is its last argument. Environment
    values may be secrets and don't show in a `repr`.
    """

    connector_type: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    removal: tuple[str, ...] = ()
    title: str = ""

    def named(self) -> "tuple[tuple[str, ...], str]":
        """Return the command of one launch, and the name it gives to what it starts."""
        if not self.removal:
            return self.argv, ""
        name = f"{_NAME_PREFIX}{uuid.uuid4().hex}"
        return tuple(name if part == _NAME_PREFIX else part for part in self.argv), name


def local(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return the endpoint of a program of this machine.

    Raises ConfigError where there is no such program.
    """
    if not command:
        raise ConfigError("can't launch a local connector: its command is empty")
    environment = {"LOG_FORMAT": "json", "FLOW_RUNTIME_CODEC": "json", **(environment or {})}
    program = command[0]
    if shutil.which(program, path=environment.get("PATH", os.environ.get("PATH"))) is None:
        raise ConfigError(
            f"can't launch local connector {program!r}: no such program",
            hint="give a path, or a command that is on PATH",
        )
    return Endpoint("LOCAL", tuple(command), environment, title=program)


def image(name: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return the endpoint of a container image, run by docker or podman.

    Raises ConfigError where neither is installed.
    """
    engine = next((engine for engine in ENGINES if shutil.which(engine)), None)
    if engine is None:
        raise ConfigError(
            f"can't launch image {name!r}: neither docker nor podman is installed",
            hint="install one of them, or use a local connector",
        )
    environment = {"LOG_FORMAT": "json", "FLOW_RUNTIME_CODEC": "json", **(environment or {})}
    # Values are handed over through the environment: an argument list is public.
    passed = [part for key in sorted(environment) for part in ("--env", key)]
    argv = (
        *(engine, "run", "--rm", "--interactive", "--init", "--name", _NAME_PREFIX),
        *("--platform", "linux/amd64", "--log-driver", "none"),
        *("--memory", IMAGE_MEMORY, "--cpus", IMAGE_CPUS),
        *passed,
        name,
    )
    removal = (engine, "rm", "--force")
    return Endpoint("IMAGE", argv, environment, removal=removal, title=name)
