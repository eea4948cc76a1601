"""One run: each stream is asked once for what is new, then the process is done.

A run ends after one sweep over its bindings; the runtime starts the next. A binding whose interval
hasn't passed since its last sweep waits, unless that sweep was cut off. One stream's failure
doesn't keep the others from being captured: it is raised at the end.
"""

import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from estuary_cdk.capture import Binding, BindingState, Pull
from estuary_cdk.capture import Patch as BindingPatch
from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files import (
    FILE_KEY,
    FileChanged,
    FileReader,
    Outbox,
    Patch,
    Plan,
    Sweep,
    SweepState,
    Version,
    plan,
    read_through,
    validators,
)
from estuary_cdk.kits.files.intervals import length
from estuary_cdk.kits.files.pulling import together
from estuary_cdk.kits.http import Client, ContentChanged, Download
from estuary_cdk.logs import get_logger
from source_http.access import client, file_name, hints, opened, prologue, recipe, version
from source_http.config import Config, Resource, Stream
from source_http.ranges import contents

log = get_logger(__name__)

STARTS_MAX = 5


class State(BindingState):
    """What a binding persists: how far its file is followed, and when it was asked last."""

    sweep: SweepState = SweepState()
    swept_at: datetime | None = None


async def pull(session: Pull[Config, Resource, State]) -> None:
    """Sweep over the bindings this shard owns, and return."""
    owned = [binding for binding in session.bindings if session.owns(binding.name)]
    await together(_sweep(session, binding) for binding in owned)


async def _sweep(session: Pull[Config, Resource, State], binding: Binding[Resource, State]) -> None:
    state = binding.state or State()
    stream = session.config.stream(binding.resource.stream)
    now = session.clock.now()
    if _waits(state, binding.resource, now):
        log.info("interval has not passed", stream=stream.name)
        return
    key = tuple(binding.collection.key)  # the collection knows, whoever chose it
    following = _Following(session, binding, stream, state.sweep, None if key == FILE_KEY else key)
    async with client(stream, session.clock) as connected:
        await following.sweep(connected)
    if binding.resource.interval is not None:
        async with session.transaction() as transaction:
            transaction.checkpoint(binding, BindingPatch({"swept_at": now.isoformat()}))


def _waits(state: State, resource: Resource, now: datetime) -> bool:
    if resource.interval is None or state.swept_at is None or state.sweep.reading is not None:
        return False
    # A clock that was set back mustn't have the binding wait until it is where it was.
    return timedelta() <= now - state.swept_at < length(resource.interval)


@dataclass(frozen=True, slots=True)
class _Following:
    """One sweep of one stream."""

    session: Pull[Config, Resource, State]
    binding: Binding[Resource, State]
    stream: Stream
    state: SweepState
    key: tuple[str, ...] | None

    @property
    def _recipe(self) -> str:
        return recipe(self.stream, self.key)

    @property
    def _name(self) -> str:
        return file_name(self.stream)

    async def sweep(self, connected: Client) -> None:
        """Read the file if it changed, as often as it takes to read one version to its end."""
        known = validators(self.state, self._recipe)
        sweep = Sweep(self.state, self._recipe, self._name, self.key)
        outbox = Outbox(self._commit, lambda _, patch: patch)
        decision: Plan | None = None
        for _ in range(STARTS_MAX):
            async with opened(connected, self.stream, None if decision else known) as file:
                if decision is None:
                    decision = await self._decided(file, outbox)
                    if decision is Plan.NOTHING:
                        return
                    if decision is not Plan.READ:
                        continue
                again = await self._tried(sweep, connected, file, outbox)
                if again is None:
                    return
                sweep = again
        raise TransientError(
            f"can't read {self._name!r}: it changed or broke off {STARTS_MAX} times before its end"
        )

    async def _decided(self, file: Download, outbox: Outbox) -> Plan | None:
        """Return NOTHING, all done, or READ, or COMPARE when the file, spent now, has changed.

        None means that it broke off before that was clear.
        """
        offer = version(file.headers)
        decision = plan(self.state, self._recipe, offer)
        if file.unchanged or decision is Plan.NOTHING:
            return Plan.NOTHING
        if decision is Plan.COMPARE:
            try:
                found = await self._hashed(file, offer)
            except ContentChanged as error:
                log.warning("download starts again", stream=self.stream.name, reason=str(error))
                return None
            known = self.state.complete
            if known is not None and known.sha256 == found.sha256:
                if found != known:
                    await outbox.put_all(self._name, [], {"complete": found.model_dump()})
                    await outbox.flush()
                return Plan.NOTHING
        return decision

    async def _hashed(self, file: Download, offer: Version) -> Version:
        content = hashlib.sha256(prologue(file.headers))
        async for block in file.blocks:
            content.update(block)
        return offer.model_copy(update={"sha256": content.hexdigest()})

    async def _tried(
        self, sweep: Sweep, connected: Client, file: Download, outbox: Outbox
    ) -> Sweep | None:
        """Read the file to its end; otherwise return the sweep to try again with."""
        reader = FileReader(self._name, self.stream.parser, hints(file.headers))
        sweep.advance(prologue(file.headers))
        try:
            async with aclosing(contents(connected, self.stream, file, reader)) as content:
                whole = await read_through(content, sweep, outbox, self._name)
        except (ContentChanged, FileChanged) as error:
            log.warning("download starts again", stream=self.stream.name, reason=str(error))
            await outbox.flush()
            return sweep.restarted()
        if not whole:
            log.info("the file changed since its read was cut off", stream=self.stream.name)
            return sweep.anew()
        for step in sweep.finish(version(file.headers)):
            await outbox.put_all(self._name, step.documents, step.patch)
        await outbox.flush()
        self._report(sweep, reader, outbox)
        return None

    async def _commit(self, documents: list[bytes], patch: Patch, schemas: Sequence[bytes]) -> None:
        async with self.session.transaction() as transaction:
            for schema in schemas:
                await transaction.sourced_schema(self.binding, schema)
            await transaction.emit(self.binding, documents)
            transaction.checkpoint(self.binding, BindingPatch({"sweep": patch}))

    def _report(self, sweep: Sweep, reader: FileReader, outbox: Outbox) -> None:
        if reader.malformed_rows:
            log.warning(
                "malformed rows were left out", stream=self.stream.name, rows=reader.malformed_rows
            )
        if sweep.untracked:
            log.warning("too many keys to tell which documents vanish", stream=self.stream.name)
        log.info("file captured", stream=self.stream.name, documents=outbox.total)
