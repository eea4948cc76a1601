"""Running containers here: what the engine needs for it, and removing what nobody waits for.

Flow gives every connector a gibibyte and two processors. Whether an engine can grant that, and
start a container at all, depends on the machine: where we run in a container ourselves the limits
that podman raises are refused, and not every runtime knows every layout of control groups. What
works is found by trying, with a program that isn't there: an engine that gets as far as not finding
it could have run one.

A container's name tells whose it is, so that another flow-local sees when nobody is left who would
remove it.
"""

import hashlib
import os
import platform
import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Final

from estuary_cdk import logs
from estuary_cdk.errors import ConfigError
from flow_local.connectors.engines import Engine

log = logs.get_logger(__name__)

RUN_OPTIONS_VARIABLE: Final = "FLOW_CONTAINER_RUN_OPTIONS"
# The limits that Flow gives every connector.
LIMITS: Final = ("--memory", "1g", "--cpus", "2")
NAME_PREFIX: Final = "flow-local-"
OPEN_FILES_MAX: Final = 65_536
PROCESSES_MAX: Final = 1024
REMOVAL_WAIT_S: Final = 20.0
REMOVALS_MAX: Final = 5
REMOVAL_PAUSE_S: Final = 0.5

_PROBE: Final = "/flow-local-probe"
_PROBE_WAIT_S: Final = 30.0
_NOT_FOUND: Final = 127
_RUNTIMES: Final = ("runc", "crun")
_INIT_PROGRAMS: Final = (
    "/usr/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
    "/usr/bin/catatonit",
    "/usr/local/libexec/podman/catatonit",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an engine asks for to run a container here: options before and after `run`."""

    engine: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


def own_options(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the options of `run` in FLOW_CONTAINER_RUN_OPTIONS, spelt as for a shell.

    Raises ConfigError where a shell couldn't read them.
    """
    text = (os.environ if environment is None else environment).get(RUN_OPTIONS_VARIABLE, "")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"can't read {RUN_OPTIONS_VARIABLE}: {error}: {text!r}") from error


def terms(engine: Engine, image: str, own: tuple[str, ...]) -> Terms:
    """Return what the engine needs to run images, with the user's `own` options last.

    It is found with the first image of a process, and then known. Raises ConfigError with the
    engine's reason where nothing works.
    """
    if (engine, own) not in _KNOWN:
        _KNOWN[engine, own] = _found(engine, image, own)
    return _KNOWN[engine, own]


_KNOWN: Final[dict[tuple[Engine, tuple[str, ...]], Terms]] = {}


def _found(engine: Engine, image: str, own: tuple[str, ...]) -> Terms:
    if engine.kind == "docker":  # Its daemon has all rights; it needs no help.
        return Terms(run=("--init", *LIMITS, *own))
    reasons: list[str] = []
    for candidate in _candidates(own):
        reason = _refusal(engine, image, candidate)
        if reason is None:
            if "--memory" not in candidate.run:
                log.warning("containers run without limits of memory and CPU", reason=reasons[0])
            return candidate
        reasons.append(reason)
    raise ConfigError(
        f"can't run image {image!r}: {engine.kind} refuses: {reasons[0]}",
        hint=f"options that `{engine.kind} run` needs here go into {RUN_OPTIONS_VARIABLE}",
    )


def _candidates(own: tuple[str, ...]) -> Iterator[Terms]:
    """Yield what podman may need, from nothing to more and more."""
    init = ("--init",) if any(map(os.path.exists, _INIT_PROGRAMS)) else ()
    runtimes = [(), *(("--runtime", each) for each in _RUNTIMES if shutil.which(each))]
    for limits, runtime, lowered in product((LIMITS, ()), runtimes, ((), _lowered())):
        yield Terms(engine=runtime, run=(*init, *limits, *lowered, *own))


def _lowered() -> tuple[str, ...]:
    """Return limits that need no right to raise them."""
    import resource  # there is none on Windows

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    return (
        *("--ulimit", f"nofile={files}:{files}"),
        *("--ulimit", f"nproc={PROCESSES_MAX}:{PROCESSES_MAX}"),
    )


def _refusal(engine: Engine, image: str, candidate: Terms) -> str | None:
    """Try to run a program that isn't in the image; return why not even that was tried."""
    answer = engine.ask(
        *candidate.engine,
        *("run", "--rm", "--network", "host", "--name", new_name()),
        *candidate.run,
        *("--entrypoint", _PROBE),
        image,
        wait_s=_PROBE_WAIT_S,
    )
    return None if answer.status == _NOT_FOUND else answer.reason


def new_name() -> str:
    """Return a name for a container that we are going to wait for."""
    return f"{_name_start()}{os.getpid()}-{_started(os.getpid())}-{uuid.uuid4().hex}"


def remove(engine: Engine, name: str, pause: Callable[[float], None] = time.sleep) -> None:
    """End and remove a container; when this returns, the engine doesn't list it any more.

    An engine that cleans up after the container at the same moment may refuse, or say that all is
    done while the container is still there: it is asked until it has forgotten the name. A
    container that stays nevertheless is warned of, with the engine's words.
    """
    for attempt in range(REMOVALS_MAX):
        if attempt:
            pause(REMOVAL_PAUSE_S)
        removed = engine.ask(*engine.removal, name, wait_s=REMOVAL_WAIT_S)
        listed = engine.ask("ps", "--all", "--filter", f"name={name}", "--format", "{{.Names}}")
        if listed.status == 0 and name not in listed.out.split():
            return
    refusal = removed if removed.status else listed
    log.warning("a container was not removed", container=name, reason=refusal.reason)


@cache
def remove_forgotten(engine: Engine) -> None:
    """Remove containers of this machine's flow-locals that have ended; once per process."""
    names = engine.ask(
        *("ps", "--all", "--filter", f"name={_name_start()}", "--format", "{{.Names}}")
    ).out.split()
    forgotten = [name for name in names if not _awaited(name)]
    if forgotten:
        log.warning("removing containers of a flow-local that is gone", containers=forgotten)
        engine.ask(*engine.removal, *forgotten, wait_s=REMOVAL_WAIT_S)


def _awaited(name: str) -> bool:
    if not name.startswith(_name_start()):
        return True  # Not ours to judge.
    pid, _, rest = name.removeprefix(_name_start()).partition("-")
    started = rest.partition("-")[0]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """Tell a process from a later one of the same number, where the kernel lets us."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


@cache
def _name_start() -> str:
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return f"{NAME_PREFIX}{machine}-"
