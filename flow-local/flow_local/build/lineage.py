"""What a build owes to the one before it, and what any two bindings of a task owe each other."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol import capture, materialize
from estuary_cdk.protocol.message import Message

SpecT = TypeVar("SpecT", capture.CaptureSpec, materialize.MaterializationSpec)
BindingT = TypeVar("BindingT", capture.CaptureBinding, materialize.MaterializationBinding)


@dataclass(frozen=True, slots=True)
class Last:
    """What was built last of a task, to be applied; empty for a new one."""

    spec: bytes = b""
    version: str = ""
    reset: bool = False
    """Whether the task was reset since, so that a materialization's tables begin anew."""

    def built(self, kind: type[SpecT]) -> SpecT | None:
        """Return the spec that was built last."""
        return msgspec.json.decode(self.spec, type=kind) if self.spec else None


def version_of(spec: Message) -> str:
    """Return a built spec's version: it changes if and only if the spec does."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()[:16]


def check_paths(task: str, paths: Sequence[Sequence[str]]) -> None:
    """Raise ConfigError for a resource without a path, or two bindings of one resource."""
    for index, path in enumerate(paths):
        if not path or "" in path:
            raise ConfigError(f"can't build {task!r}: binding {index} has no resource path")
        if path in paths[:index]:
            raise ConfigError(
                f"can't build {task!r}: bindings {paths.index(path)} and {index} are both of "
                f"resource {'/'.join(path)!r}",
                hint="remove one of them",
            )


def inactive(once_active: Iterable[BindingT], active: Sequence[list[str]]) -> list[BindingT]:
    """Return the bindings whose resource isn't active any more, the latest of each, by path."""
    known = {tuple(binding.resource_path): binding for binding in once_active}
    return [known[path] for path in sorted(known) if list(path) not in active]
