"""Container engines: which of them answers, and asking it something.

Docker's client is often there without its daemon, so being installed is not enough. Answers are
waited for, synchronously: whoever is in an event loop asks from another thread.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError, shortened

ENGINES: Final = ("docker", "podman")
ENGINE_VARIABLE: Final = "FLOW_CONTAINER_ENGINE"
ANSWER_WAIT_S: Final = 10.0
NOT_STARTED: Final = -1
LATE: Final = -2


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said. Its status is NOT_STARTED or LATE where it has none of its own."""

    status: int
    out: str
    complaint: str

    @property
    def late(self) -> bool:
        """Whether it took too long and was killed."""
        return self.status == LATE

    @property
    def reason(self) -> str:
        """The last line of its complaint, which is where engines put the cause."""
        lines = self.complaint.strip().splitlines()
        return shortened(lines[-1].strip()) if lines else f"exit status {self.status}"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers; `kind` is its command line's dialect, one of ENGINES."""

    program: str
    kind: str

    def ask(self, *arguments: str, wait_s: float = ANSWER_WAIT_S) -> Answer:
        """Run one command of the engine to its end, which it has `wait_s` for."""
        return _run((self.program, *arguments), wait_s)

    @property
    def removal(self) -> tuple[str, ...]:
        """The start of what is asked to end and remove containers at once."""
        now = ("--time", "0") if self.kind == "podman" else ()
        return ("rm", "--force", *now)


def engine(environment: Mapping[str, str] | None = None) -> Engine:
    """Return docker if its daemon answers, else podman; or the one FLOW_CONTAINER_ENGINE names.

    Raises ConfigError where neither answers. Who answered once is not asked again.
    """
    environment = os.environ if environment is None else environment
    chosen = environment.get(ENGINE_VARIABLE, "")
    return _found(chosen, environment.get("PATH", os.defpath))


@cache
def _found(chosen: str, path: str) -> Engine:
    refusals = []
    for name in (chosen,) if chosen else ENGINES:
        program = shutil.which(name, path=path)
        if program is None:
            refusals.append(f"{name} is not installed")
            continue
        found = Engine(program, "podman" if "podman" in Path(program).name else "docker")
        answer = found.ask("version", "--format", _VERSION[found.kind])
        if answer.status == 0:
            return found
        refusals.append(f"{name} doesn't answer ({answer.reason})")
    reason = ", ".join(refusals)
    raise ConfigError(
        f"can't run container images: {reason}",
        reason=reason,
        hint="start docker, or install podman (on Debian: apt-get install podman), "
        "or give the connector as a local command",
    )


# Both fail where the part that runs containers doesn't answer.
_VERSION: Final = {"docker": "{{.Server.Version}}", "podman": "{{.Client.Version}}"}


def _run(command: tuple[str, ...], wait_s: float) -> Answer:
    try:
        ended = subprocess.run(  # noqa: PLW1510 - the status is part of the answer
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=wait_s
        )
    except subprocess.TimeoutExpired:
        return Answer(LATE, "", f"no answer within {wait_s:.0f} s")
    except OSError as error:
        return Answer(NOT_STARTED, "", error.strerror or str(error))
    out, complaint = (stream.decode(errors="replace") for stream in (ended.stdout, ended.stderr))
    return Answer(ended.returncode, out, complaint)
