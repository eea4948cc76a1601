"""Who may say what next in a materialization, and the counts that go with it.

Transactions follow each other: acknowledge, loads, flush, stores, startCommit. Only the loads of
one overlap the acknowledgement of the last. The connector is silent between flushed and
startedCommit.
The runtime may close its side where nothing is half done: before Open, right after Opened or
StartedCommit, and after an acknowledge with no load behind it.
"""

from typing import Final

from estuary_cdk.protocol import materialize
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Applied,
    Apply,
    Flush,
    Flushed,
    Load,
    Loaded,
    Open,
    Opened,
    Spec,
    SpecResponse,
    StartCommit,
    StartedCommit,
    Store,
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

UNARY: Final[dict[type, str]] = {Spec: "SPEC", Validate: "VALIDATE", Apply: "APPLY"}
ANSWERED: Final[dict[type, str]] = {SpecResponse: "SPEC", Validated: "VALIDATE", Applied: "APPLY"}

TABLES: Final = Tables(
    requests={
        START: {**UNARY, Open: "OPEN", RequestsEnd: START},
        **{state: {RequestsEnd: state} for state in UNARY.values()},
        "OPEN": {Acknowledge: "IDLE", RequestsEnd: "CLOSED"},
        "IDLE": {Load: "LOAD", Flush: "STORE", RequestsEnd: "CLOSING"},
        "LOAD": {Load: "LOAD", Flush: "STORE"},
        "STORE": {Store: "STORE", StartCommit: "COMMIT"},
        "COMMIT": {Acknowledge: "IDLE", RequestsEnd: "CLOSED"},
    },
    responses={
        START: {**dict.fromkeys(ANSWERED, START), Opened: "OPENED"},
        "OPENED": {Acknowledged: "LOADING"},
        "LOADING": {Loaded: "LOADING", Flushed: "FLUSHED"},
        "FLUSHED": {StartedCommit: "COMMITTED"},
        "COMMITTED": {Acknowledged: "LOADING"},
    },
    awaits={
        Acknowledge: frozenset({"OPENED", "COMMITTED"}),
        Flush: frozenset({"LOADING"}),
        Store: frozenset({"FLUSHED"}),
        StartCommit: frozenset({"FLUSHED"}),
    },
    answers={
        **{response: frozenset({state}) for response, state in ANSWERED.items()},
        Opened: frozenset({"OPEN"}),
        Acknowledged: frozenset({"IDLE", "LOAD", "CLOSING"}),
        Loaded: frozenset({"LOAD", "STORE"}),
        Flushed: frozenset({"STORE"}),
        StartedCommit: frozenset({"COMMIT"}),
    },
    returns=dict.fromkeys(ANSWERED, START),
    ends={
        RequestsEnd: frozenset(
            {(state, START) for state in (START, *UNARY.values())}
            | {("OPEN", "OPENED"), ("COMMIT", "COMMITTED")}
            | {("IDLE", state) for state in ("OPENED", "COMMITTED", "LOADING")}
        ),
        ResponsesEnd: frozenset(
            {
                (START, START),
                ("CLOSED", "OPENED"),
                ("CLOSED", "COMMITTED"),
                ("CLOSING", "LOADING"),
            }
        ),
    },
    names={
        **{kind: name for name, kind in materialize.REQUESTS.items()},
        **{kind: name for name, kind in materialize.RESPONSES.items()},
        RequestsEnd: "end of requests",
        ResponsesEnd: "end of responses",
    },
)


class MaterializeSession:
    """Judges one materialization conversation, for whichever side `us` is.

    Every method raises LocalProtocolError for what we must not say and RemoteProtocolError for what
    the peer must not.
    """

    def __init__(self, us: Side) -> None:
        self._judge = Judge(TABLES, us)
        self.unanswered = 0
        """Keys of this transaction that were asked for and not answered by a document."""

    @property
    def joint(self) -> Joint:
        """Where both sides are."""
        return self._judge.joint

    def request(self, kind: type, count: int = 1) -> None:
        """Judge a run of `count` requests of one kind."""
        self._judge.request(kind, count)
        if kind is Load:
            self.unanswered += count
        elif kind is StartCommit:
            self.unanswered = 0

    def response(self, kind: type, count: int = 1) -> None:
        """Judge a run of `count` responses of one kind."""
        self._judge.response(kind, count)
        if kind is Loaded:
            if count > self.unanswered:
                raise self._judge.violation(
                    Loaded, Side.CONNECTOR, "it answers more keys than were asked for"
                )
            self.unanswered -= count

    def requests_end(self) -> None:
        """Judge the end of the runtime's stream."""
        self._judge.request(RequestsEnd)

    def responses_end(self) -> None:
        """Judge the end of the connector's stream, with exit status 0."""
        self._judge.response(ResponsesEnd)
