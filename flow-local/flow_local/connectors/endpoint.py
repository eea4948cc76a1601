"""Where a connector runs: the command that starts it, for a local program and for an image."""

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from estuary_cdk.errors import ConfigError
from flow_local.connectors import containers, engines, images

# Stands in a command for the name that each launch has of its own.
_NAME: Final = "{name}"
# What one finds out of an engine, the others know.
_ONE_IMAGE_AT_A_TIME: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to start one connector; every conversation with it is a process of its own.

    `environment` is added to ours; its values may be secrets and don't show in a `repr`. `engine`
    is the one that runs it in a container, which is called by the name that `named` gave and may
    outlive the process.
    """

    connector_type: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    engine: engines.Engine | None = None
    title: str = ""

    def named(self) -> "tuple[tuple[str, ...], str]":
        """Return the command of one launch, and the name it gives to what it starts."""
        if self.engine is None:
            return self.argv, ""
        name = containers.new_name()
        return tuple(name if part == _NAME else part for part in self.argv), name


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


def _engine_for(name: str) -> engines.Engine:
    try:
        return engines.engine()
    except ConfigError as error:
        reason = error.context["reason"]
        raise ConfigError(f"can't run image {name!r}: {reason}", hint=error.hint) from error


def image(name: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return the endpoint of a container image, run by the engine that answers.

    Waits for the engine, and for the image where it must be pulled: not for an event loop. Raises
    ConfigError where there is no engine, no such image, or no way to run it here.

    The container shares our network, as local databases are there; FLOW_CONTAINER_RUN_OPTIONS
    holds more options of the engine's `run`, or others (`--volume /data:/data`).
    """
    with _ONE_IMAGE_AT_A_TIME:
        engine = _engine_for(name)
        containers.remove_forgotten(engine)
        found = images.present(engine, name)
        terms = containers.terms(engine, name, containers.own_options())
    before, after = found.arguments
    environment = {"LOG_FORMAT": "json", "FLOW_RUNTIME_CODEC": "json", **(environment or {})}
    # Values are handed over through the environment: an argument list is public.
    passed = [part for key in sorted({*environment, "LOG_LEVEL"}) for part in ("--env", key)]
    argv = (
        *(engine.program, *terms.engine, "run", "--rm", "--interactive", "--name", _NAME),
        *("--network", "host", "--log-driver", "none"),
        *passed,
        *terms.run,
        *before,
        name,
        *after,
    )
    return Endpoint("IMAGE", argv, environment, engine=engine, title=name)
