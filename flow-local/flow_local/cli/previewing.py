"""`preview`: a capture's documents as its connector sends them, printed and forgotten.

Each session is a connector of its own, started from the state that the one before left, and ends
after so many transactions, when nothing comes for a while, or when the connector exits.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import ConfigError, DataError, RemoteProtocolError
from estuary_cdk.protocol.capture import (
    Acknowledge,
    Apply,
    Captured,
    CaptureSpec,
    Checkpoint,
    Open,
    Opened,
)
from estuary_cdk.protocol.flow import FULL_RANGE, UUID_PLACEHOLDER, ConnectorState
from estuary_cdk.protocol.message import present
from flow_local.build.lineage import version_of
from flow_local.build.tasks import Surroundings, built
from flow_local.catalog import Capture
from flow_local.cli.asking import LOG_LEVEL, connector_of, placed
from flow_local.cli.endings import refused
from flow_local.cli.projects import Project
from flow_local.cli.relays import log_to_stderr, relay
from flow_local.collections import Combiner, Stamper, producer_id
from flow_local.connectors import CAPTURE, Connector, Conversation, apply_capture, conversation
from flow_local.recovery.patches import updated
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator
from flow_local.tasks import CaptureTask

APPLIES_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """As typed: see the command's help."""

    sessions: str = "-1"
    timeout_s: float | None = None
    initial_state: str = "{}"
    output_state: bool = False
    output_apply: bool = False
    log_level: str | None = None


def preview_capture(project: Project, options: PreviewOptions) -> None:
    """Run one capture and print its documents, a transaction's once its checkpoint came.

    Raises ConfigError where it isn't one capture that is meant.
    """
    log_to_stderr(options.log_level or LOG_LEVEL)
    sessions = _sessions(options.sessions)
    state = _json(options.initial_state)
    loaded = project.catalog()
    tasks = project.chosen(loaded)
    captures = [task for task in tasks if isinstance(task, Capture)]
    if len(captures) != 1:
        names = ", ".join(repr(task.name) for task in captures)
        raise ConfigError(
            f"can't preview {project.names[0]!r}: only captures can be previewed"
            if project.names
            else f"can't preview {str(project.source)!r}: it has {len(captures)} captures",
            hint=f"choose one with --name: {names}" if names else None,
        )
    asyncio.run(_preview(project, captures[0], (sessions, state), options))


def _sessions(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"can't use --sessions {text!r}: it isn't numbers with commas between"
        ) from error


def _json(text: str) -> bytes:
    try:
        msgspec.json.decode(text, type=dict[str, Raw])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"can't use --initial-state {text!r}: {error}") from error
    return text.encode()


async def _preview(
    project: Project, task: Capture, plan: tuple[list[int], bytes], options: PreviewOptions
) -> None:
    level = options.log_level or LOG_LEVEL
    result = await built(
        project.catalog(), Surroundings(on_event=relay, log_level=level), [task.name]
    )
    if result.failures:
        raise refused(result.failures.values())
    built_task = result.tasks[task.name]
    assert isinstance(built_task, CaptureTask)
    sessions, state = plan
    with placed(task):
        connector = connector_of(task, level)
        for transactions in sessions:
            state = await _applied(connector, built_task.spec, state, options)
            session = _Session(built_task.spec, state, transactions, options, SystemClock())
            try:
                async with conversation(connector, CAPTURE, "preview") as talk:
                    await session.run(talk)
            finally:
                state = session.state
                sys.stdout.buffer.flush()
    if options.output_state:
        _line(b'["connectorState",{"updated":%b}]' % state)
        sys.stdout.buffer.flush()


async def _applied(
    connector: Connector, spec: CaptureSpec, state: bytes, options: PreviewOptions
) -> bytes:
    for _ in range(APPLIES_MAX):
        request = Apply(capture=spec, version=version_of(spec), state=Raw(state))
        answer = await apply_capture(connector, request)
        if options.output_apply:
            text = msgspec.json.encode(answer.action_description)
            _line(b'["applied.actionDescription", %b]' % text)
        after = updated(state, answer.state)
        if after == state:
            return state
        state = after
    raise RemoteProtocolError(
        f"can't apply {spec.name!r}: after {APPLIES_MAX} times the connector still updates state"
    )


class _Session:
    """One connector's transactions, printed; `state` is the connector's, all along."""

    def __init__(
        self,
        spec: CaptureSpec,
        state: bytes,
        transactions: int,
        options: PreviewOptions,
        clock: Clock,
    ) -> None:
        self.state = state
        self._spec = spec
        self._left = transactions
        self._options = options
        self._printers = [_Printer(binding.collection, clock) for binding in spec.bindings]
        self._acknowledges = False

    async def run(self, talk: Conversation) -> None:
        if self._left == 0:
            return
        version = version_of(self._spec)
        await talk.send(
            Open(capture=self._spec, version=version, range=FULL_RANGE, state=Raw(self.state))
        )
        while runs := await talk.receive_within(self._options.timeout_s):
            for kind, messages in runs:
                if await self._take(talk, kind, messages):
                    return
            sys.stdout.buffer.flush()

    async def _take(self, talk: Conversation, kind: type, messages: Sequence[Any]) -> bool:
        """Take equal messages in; tell whether they complete the session."""
        if kind is Opened:
            self._acknowledges = messages[0].explicit_acknowledgements
        elif kind is Captured:
            for message in messages:
                self._printer(message.binding).documents.append(bytes(message.doc))
        elif kind is Checkpoint:
            for message in messages:
                self._checkpoint(message.state)
                if self._acknowledges:
                    await talk.send(Acknowledge(checkpoints=1))
                self._left -= 1
                if self._left == 0:
                    return True
        return False

    def _printer(self, binding: int) -> "_Printer":
        if binding >= len(self._printers):
            raise RemoteProtocolError(
                f"can't preview {self._spec.name!r}: the connector sent a document of binding "
                f"{binding}, but there are {len(self._printers)}"
            )
        return self._printers[binding]

    def _checkpoint(self, update: ConnectorState | None) -> None:
        for printer in self._printers:
            printer.print()
        self.state = updated(self.state, update)
        if self._options.output_state:
            shown = b"{}"
            if update is not None and present(update.updated):
                patch = b',"mergePatch":true' if update.merge_patch else b""
                shown = b'{"updated":%b%b}' % (bytes(update.updated), patch)
            _line(b'["connectorState",%b]' % shown)


class _Printer:
    """Checks, combines and prints the documents of a binding, with a placeholder for their UUID."""

    def __init__(self, collection: Any, clock: Clock) -> None:
        schema = bytes(collection.write_schema)
        self.documents: list[bytes] = []
        self._name = collection.name
        self._prefix = b"[" + msgspec.json.encode(collection.name) + b","
        self._validator = Validator(schema)
        self._combiner = Combiner(collection.key, Reducer(schema))
        self._clock = clock
        producer = producer_id()
        self._stamper = Stamper(producer)
        self._uuid = re.compile(
            rb"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-8000-" + producer.hex().encode()
        )

    def print(self) -> None:
        documents, self.documents = self.documents, []
        if not documents:
            return
        failure = self._validator.first_failure(documents)
        if failure is not None:
            raise DataError(
                f"can't capture a document into collection {self._name!r}: "
                f"at {failure.pointer or 'the root'}: {failure.reason}",
                hint="fix the collection's schema, or the source's data",
            )
        combined = self._combiner.combined(documents)
        lines = self._stamper.stamped(combined, self._clock.now()).split(b"\n")
        for document in lines[:-1]:
            shown = self._uuid.sub(UUID_PLACEHOLDER.encode(), document, count=1)
            _line(self._prefix + shown + b"]")


def _line(text: bytes) -> None:
    sys.stdout.buffer.write(text + b"\n")
