"""Who may say what next in a capture, and the counts that go with it.

A connector's process answers any number of unary questions, then at most one Open. From Opened on
it sends documents and schemas, each group ended by a Checkpoint; it may end only between groups. If
it asked for acknowledgements, the runtime acknowledges checkpoints it has committed, never more
than were sent.
"""

from typing import Final

from estuary_cdk.protocol import capture
from estuary_cdk.protocol.capture import (
    Acknowledge,
    Applied,
    Apply,
    BackfillBegin,
    BackfillComplete,
    Captured,
    Checkpoint,
    Discover,
    Discovered,
    Open,
    Opened,
    SourcedSchema,
    Spec,
    SpecResponse,
    Validate,
    Validated,
)
from estuary_cdk.protocol.session import (
    START,
    Joint,
    Judge,
    RequestsEnd,
    ResponsesEnd,
    Side,
    Tables,
)

UNARY: Final[dict[type, str]] = {
    Spec: "SPEC",
    Discover: "DISCOVER",
    Validate: "VALIDATE",
    Apply: "APPLY",
}
ANSWERED: Final[dict[type, str]] = {
    SpecResponse: "SPEC",
    Discovered: "DISCOVER",
    Validated: "VALIDATE",
    Applied: "APPLY",
}

TABLES: Final = Tables(
    requests={
        START: {**UNARY, Open: "OPEN", RequestsEnd: START},
        **{state: {RequestsEnd: state} for state in UNARY.values()},
        "OPEN": {Acknowledge: "OPEN", RequestsEnd: "OPEN"},
    },
    responses={
        START: {**dict.fromkeys(ANSWERED, START), Opened: "IDLE"},
        "IDLE": {
            Captured: "GROUP",
            SourcedSchema: "GROUP",
            BackfillBegin: "MARKED",
            BackfillComplete: "MARKED",
            Checkpoint: "IDLE",
        },
        "GROUP": {Captured: "GROUP", SourcedSchema: "GROUP", Checkpoint: "IDLE"},
        "MARKED": {Checkpoint: "IDLE"},
    },
    awaits={Acknowledge: frozenset({"IDLE", "GROUP", "MARKED"})},
    answers={
        **{response: frozenset({state}) for response, state in ANSWERED.items()},
        Opened: frozenset({"OPEN"}),
    },
    returns=dict.fromkeys(ANSWERED, START),
    ends={
        RequestsEnd: frozenset(
            {(state, START) for state in (START, *UNARY.values(), "OPEN")}
            | {("OPEN", state) for state in ("IDLE", "GROUP", "MARKED")}
        ),
        ResponsesEnd: frozenset({(START, START), ("OPEN", "IDLE")}),
    },
    names={
        **{kind: name for name, kind in capture.REQUESTS.items()},
        **{kind: name for name, kind in capture.RESPONSES.items()},
        RequestsEnd: "end of requests",
        ResponsesEnd: "end of responses",
    },
)


class CaptureSession:
    """Judges one capture conversation, for whichever side `us` is.

    Every method raises LocalProtocolError for what we must not say and RemoteProtocolError for what
    the peer must not.
    """

    def __init__(self, us: Side) -> None:
        self._judge = Judge(TABLES, us)
        self._acknowledgements = False
        self.outstanding = 0
        """Checkpoints sent and not acknowledged yet."""

    @property
    def joint(self) -> Joint:
        """Where both sides are."""
        return self._judge.joint

    def request(self, request: capture.Request) -> None:
        """Judge one request."""
        self._judge.request(type(request))
        if isinstance(request, Acknowledge):
            self._acknowledged(request.checkpoints)

    def response(self, kind: type, count: int = 1) -> None:
        """Judge a run of `count` responses of one kind (`opened` apart)."""
        self._judge.response(kind, count)
        if kind is Checkpoint:
            self.outstanding += count

    def opened(self, opened: Opened) -> None:
        """Judge the response that starts a session."""
        self._judge.response(Opened)
        self._acknowledgements = opened.explicit_acknowledgements

    def requests_end(self) -> None:
        """Judge the end of the runtime's stream."""
        self._judge.request(RequestsEnd)

    def responses_end(self) -> None:
        """Judge the end of the connector's stream, with exit status 0."""
        self._judge.response(ResponsesEnd)

    def _acknowledged(self, checkpoints: int) -> None:
        if not self._acknowledgements:
            raise self._judge.violation(
                Acknowledge, Side.RUNTIME, "the connector didn't ask for acknowledgements"
            )
        if checkpoints > self.outstanding:
            raise self._judge.violation(
                Acknowledge,
                Side.RUNTIME,
                f"it counts {checkpoints} checkpoints but {self.outstanding} are outstanding",
            )
        self.outstanding -= checkpoints
