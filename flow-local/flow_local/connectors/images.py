"""Container images: what is known of one, and getting one that isn't here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from estuary_cdk.errors import ConfigError, TransientError
from flow_local.connectors.engines import Engine

PULL_WAIT_S: Final = 1800.0
INSPECT_WAIT_S: Final = 60.0
# What Flow runs; an image that was built here may be for another platform.
PULLED_PLATFORM: Final = "linux/amd64"
# As in Flow, an image of this tag is one that was built here.
LOCAL_TAG: Final = ":local"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that the engine has: its program is `entrypoint`, or `command` without one."""

    name: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the options before its name and the arguments after it that run its program.

        Flow runs the entry point without the command; engines would run both together.
        """
        if not (self.entrypoint and self.command):
            return (), ()
        return ("--entrypoint", self.entrypoint[0]), self.entrypoint[1:]


def present(engine: Engine, name: str) -> Image:
    """Return an image, pulled where it isn't here yet.

    Raises ConfigError where it can't be had, TransientError where the engine takes too long.
    """
    if found := _inspected(engine, name):
        return found
    if name.endswith(LOCAL_TAG):
        raise ConfigError(
            f"can't run image {name!r}: {engine.kind} has no such image",
            hint=f"build it: ./build-local-python.sh {_connector(name)}",
        )
    answer = engine.ask("pull", "--quiet", "--platform", PULLED_PLATFORM, name, wait_s=PULL_WAIT_S)
    if answer.late:
        raise TransientError(f"can't pull image {name!r}: {answer.reason}")
    found = _inspected(engine, name) if answer.status == 0 else None
    if found is None:
        raise ConfigError(
            f"can't pull image {name!r}: {answer.reason}",
            hint="see that its name is right and that you are logged in to its registry",
        )
    return found


def _connector(name: str) -> str:
    return name.removesuffix(LOCAL_TAG).rpartition("/")[2]


def _inspected(engine: Engine, name: str) -> Image | None:
    answer = engine.ask("image", "inspect", name, wait_s=INSPECT_WAIT_S)
    if answer.late:
        raise TransientError(
            f"can't look up image {name!r} with {engine.kind}: {answer.reason}",
            hint="see what keeps it, or the machine, busy",
        )
    if answer.status != 0:
        return None
    try:
        config = msgspec.json.decode(answer.out, type=list[_Inspected])[0].Config
    except (msgspec.MsgspecError, IndexError) as error:
        raise ConfigError(
            f"can't run image {name!r}: {engine.kind} describes it in a way not understood: {error}"
        ) from error
    return Image(name, _words(config, "Entrypoint"), _words(config, "Cmd"))


class _Inspected(msgspec.Struct):
    Config: dict[str, Any]


def _words(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = config.get(key) or ()
    return (words,) if isinstance(words, str) else tuple(words)
