"""A task that captures files, run after run, and the collections that it keeps.

task = FileTask(capture, {"directory": str(tmp_path)})
await task.run()
assert task.collection() == [...]
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from estuary_cdk.capture import Capture
from estuary_cdk.protocol.capture import CaptureSpec
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.runtime import CaptureRuntime, Session, Until, never, reduced


@dataclass
class FileTask:
    """A capture of files with its config; what is discovered is what is captured.

    `resources` are settings to change in every binding; `key` is a key for every collection.
    """

    capture: Capture[Any, Any, Any]
    config: dict[str, Any]
    resources: dict[str, Any] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    state: dict[str, Any] = field(default_factory=dict)
    documents: list[tuple[int, bytes]] = field(default_factory=list)
    built: CaptureSpec | None = None

    @property
    def runtime(self) -> CaptureRuntime:
        """A runtime that speaks with a process of its own."""
        return CaptureRuntime(partial(self.capture.serve, clock=self.clock))

    async def run(self, until: Until = never, *, kill: bool = False) -> Session:
        """Open the capture where its last run left it; keep what it commits.

        A single error inside groups is raised as it is.
        """
        try:
            built = await self.runtime.build(self.config)
        except ExceptionGroup as group:
            raise only(group) from group
        self.built = msgspec.structs.replace(built, bindings=[*map(self._set, built.bindings)])
        runtime = self.runtime
        try:
            return await runtime.run(self.built, state=self.state, until=until, kill=kill)
        except ExceptionGroup as group:
            raise only(group) from group
        finally:
            [session] = runtime.sessions
            self.state = session.state
            self.documents += session.documents

    def collection(self, binding: int = 0) -> list[dict[str, Any]]:
        """Return the documents of a binding's collection, reduced by key."""
        assert self.built is not None, "nothing was captured yet"
        return list(reduced(self.documents, self.built)[binding].values())

    def _set(self, binding: Any) -> Any:
        settings = {**msgspec.json.decode(binding.resource_config), **self.resources}
        collection = binding.collection
        if self.key:
            collection = msgspec.structs.replace(collection, key=self.key)
        raw = msgspec.Raw(msgspec.json.encode(settings))
        return msgspec.structs.replace(binding, resource_config=raw, collection=collection)


def only(group: BaseException) -> BaseException:
    """Return the one error inside nested groups."""
    while isinstance(group, ExceptionGroup):
        [group] = group.exceptions
    return group
