"""Questions with one answer: spec, discover, validate and apply.

Each is asked of a process of its own, unless the connector has spares. Then its process is tried
after the first answer: Flow asks for a spec before anything else in the same process, so most
connectors go on reading, but not all. One that answers a second question is kept for the next; one
that doesn't has done what was asked, and is ended.

Otherwise an answer is taken once the process ends well. One that doesn't end with its stdin is
ended after a short grace, as are captures, for many frameworks wait for more than the end of
requests.
"""

import asyncio
from typing import Final, TypeVar

from estuary_cdk.errors import RemoteProtocolError, TransientError
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol import capture, flow, materialize
from estuary_cdk.protocol.message import Message
from flow_local.connectors.conversation import (
    CAPTURE,
    MATERIALIZE,
    Connector,
    Conversation,
    Dialogue,
    conversation,
)

ANSWER_WAIT_S: Final = 900.0
EXIT_GRACE_S: Final = 3.0

MessageT = TypeVar("MessageT", bound=Message)

log = get_logger(__name__)


async def capture_spec(connector: Connector) -> capture.SpecResponse:
    """Ask what a capture connector is and how it is configured."""
    request = capture.Spec(connector_type=connector.endpoint.connector_type)
    return _spoken(connector, await _ask(connector, CAPTURE, request, capture.SpecResponse))


async def discover(connector: Connector, request: capture.Discover) -> capture.Discovered:
    """Ask which resources the endpoint has."""
    return await _ask(connector, CAPTURE, request, capture.Discovered)


async def validate_capture(connector: Connector, request: capture.Validate) -> capture.Validated:
    """Ask whether a capture works as configured; one entry per binding of the request."""
    answer = await _ask(connector, CAPTURE, request, capture.Validated)
    _count(connector, len(answer.bindings), len(request.bindings))
    return answer


async def apply_capture(connector: Connector, request: capture.Apply) -> capture.Applied:
    """Ask to prepare the endpoint for a built capture."""
    return await _ask(connector, CAPTURE, request, capture.Applied)


async def materialization_spec(connector: Connector) -> materialize.SpecResponse:
    """Ask what a materialization connector is and how it is configured."""
    request = materialize.Spec(connector_type=connector.endpoint.connector_type)
    return _spoken(connector, await _ask(connector, MATERIALIZE, request, materialize.SpecResponse))


async def validate_materialization(
    connector: Connector, request: materialize.Validate
) -> materialize.Validated:
    """Ask which fields can be materialized; one entry per binding of the request."""
    answer = await _ask(connector, MATERIALIZE, request, materialize.Validated)
    _count(connector, len(answer.bindings), len(request.bindings))
    return answer


async def apply_materialization(
    connector: Connector, request: materialize.Apply
) -> materialize.Applied:
    """Ask to bring the endpoint's resources to the built materialization."""
    return await _ask(connector, MATERIALIZE, request, materialize.Applied)


SpecT = TypeVar("SpecT", capture.SpecResponse, materialize.SpecResponse)


def _spoken(connector: Connector, spec: SpecT) -> SpecT:
    if spec.protocol not in {0, flow.PROTOCOL_VERSION}:
        raise RemoteProtocolError(
            f"can't use the connector of {connector.task!r}: it speaks protocol {spec.protocol}, "
            f"not {flow.PROTOCOL_VERSION}"
        )
    return spec


def _count(connector: Connector, answered: int, asked: int) -> None:
    if answered != asked:
        raise RemoteProtocolError(
            f"can't validate {connector.task!r}: "
            f"the connector answered {answered} bindings, not the {asked} it was asked about"
        )


async def _ask(
    connector: Connector, dialogue: Dialogue, request: Message, kind: type[MessageT]
) -> MessageT:
    """Send one request, expect one response, and end or keep the process; see above."""
    what = type(request).__name__.lower()
    what = "ask for the spec of" if what == "spec" else what
    try:
        async with (
            asyncio.timeout(ANSWER_WAIT_S),
            conversation(connector, dialogue, what) as talk,
        ):
            await talk.send(request)
            spares = connector.spares
            if spares is None or connector.task in spares.hopeless:
                await talk.end_requests()
            answer = await talk.expect(kind, spares.patience_s if spares else None)
            if talk.requests_ended or spares is None:
                await _ends(connector, talk, what)
            elif await talk.tried(spares.trial_s):
                talk.is_kept = True
            else:
                spares.hopeless.add(connector.task)
    except TimeoutError as error:
        raise TransientError(
            f"can't {what} {connector.task!r}: no answer within {ANSWER_WAIT_S:.0f} s"
        ) from error
    assert isinstance(answer, kind)
    return answer


async def _ends(connector: Connector, talk: Conversation, what: str) -> None:
    """See that the process ends after its answer with exit status 0, and without another."""
    more = await talk.receive_within(EXIT_GRACE_S)
    if more is None:
        log.warning(
            "the connector doesn't end with its stdin and is ended",
            task=connector.task,
            request=what,
        )
    elif more:
        raise RemoteProtocolError(
            f"can't {what} {connector.task!r}: the connector answered twice, "
            f"then with {more[0][0].__name__!r}"
        )
