"""The two protocols, printed: every reachable joint state and what is legal in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import LocalProtocolError, RemoteProtocolError
from estuary_cdk.protocol import capture, capture_session, materialize, materialize_session
from estuary_cdk.protocol.capture_session import CaptureSession
from estuary_cdk.protocol.materialize_session import MaterializeSession
from estuary_cdk.protocol.session import Joint, Judge, Side, Tables, legal


def explored(tables: Tables) -> dict[str, str]:
    """Walk every joint state that legal messages reach, breadth first."""
    found: dict[str, str] = {}
    todo = [Joint()]
    while todo:
        joint = todo.pop(0)
        if str(joint) not in found:
            moves = legal(tables, joint)
            found[str(joint)] = " ".join(sorted(kind.__name__ for kind in moves))
            todo += moves.values()
    return found


CAPTURE = {
    "START/START": "Apply Discover Open RequestsEnd ResponsesEnd Spec Validate",
    "SPEC/START": "RequestsEnd SpecResponse",
    "DISCOVER/START": "Discovered RequestsEnd",
    "VALIDATE/START": "RequestsEnd Validated",
    "APPLY/START": "Applied RequestsEnd",
    "OPEN/START": "Opened RequestsEnd",
    "START/START+ended": "ResponsesEnd",
    "START/END": "RequestsEnd",
    "SPEC/START+ended": "SpecResponse",
    "DISCOVER/START+ended": "Discovered",
    "VALIDATE/START+ended": "Validated",
    "APPLY/START+ended": "Applied",
    "OPEN/IDLE": (
        "Acknowledge BackfillBegin BackfillComplete Captured Checkpoint RequestsEnd ResponsesEnd "
        "SourcedSchema"
    ),
    "OPEN/START+ended": "Opened",
    "START/END+ended": "",
    "OPEN/GROUP": "Acknowledge Captured Checkpoint RequestsEnd SourcedSchema",
    "OPEN/MARKED": "Acknowledge Checkpoint RequestsEnd",
    "OPEN/IDLE+ended": (
        "BackfillBegin BackfillComplete Captured Checkpoint ResponsesEnd SourcedSchema"
    ),
    "OPEN/END": "RequestsEnd",
    "OPEN/GROUP+ended": "Captured Checkpoint SourcedSchema",
    "OPEN/MARKED+ended": "Checkpoint",
    "OPEN/END+ended": "",
}

MATERIALIZE = {
    "START/START": "Apply Open RequestsEnd ResponsesEnd Spec Validate",
    "SPEC/START": "RequestsEnd SpecResponse",
    "VALIDATE/START": "RequestsEnd Validated",
    "APPLY/START": "Applied RequestsEnd",
    "OPEN/START": "Opened",
    "START/START+ended": "ResponsesEnd",
    "START/END": "RequestsEnd",
    "SPEC/START+ended": "SpecResponse",
    "VALIDATE/START+ended": "Validated",
    "APPLY/START+ended": "Applied",
    "OPEN/OPENED": "Acknowledge RequestsEnd",
    "START/END+ended": "",
    "IDLE/OPENED": "Acknowledged Load RequestsEnd",
    "CLOSED/OPENED+ended": "ResponsesEnd",
    "LOAD/OPENED": "Acknowledged Load",
    "IDLE/LOADING": "Flush Load RequestsEnd",
    "CLOSING/OPENED+ended": "Acknowledged",
    "CLOSED/END+ended": "",
    "LOAD/LOADING": "Flush Load Loaded",
    "STORE/LOADING": "Flushed Loaded",
    "CLOSING/LOADING+ended": "ResponsesEnd",
    "STORE/FLUSHED": "StartCommit Store",
    "CLOSING/END+ended": "",
    "COMMIT/FLUSHED": "StartedCommit",
    "COMMIT/COMMITTED": "Acknowledge RequestsEnd",
    "IDLE/COMMITTED": "Acknowledged Load RequestsEnd",
    "CLOSED/COMMITTED+ended": "ResponsesEnd",
    "LOAD/COMMITTED": "Acknowledged Load",
    "CLOSING/COMMITTED+ended": "Acknowledged",
}


def test_the_whole_capture_protocol() -> None:
    assert explored(capture_session.TABLES) == CAPTURE


def test_the_whole_materialize_protocol() -> None:
    assert explored(materialize_session.TABLES) == MATERIALIZE


def test_every_state_can_reach_an_end() -> None:
    for tables in (capture_session.TABLES, materialize_session.TABLES):
        joints = {Joint()}
        grown = True
        while grown:
            more = {after for joint in joints for after in legal(tables, joint).values()}
            grown = not more <= joints
            joints |= more
        ending = {joint for joint in joints if joint.connector == "END"}
        grown = True
        while grown:
            back = {j for j in joints if set(legal(tables, j).values()) & ending}
            grown = not back <= ending
            ending |= back
        assert ending == joints


@given(
    st.sampled_from([capture_session.TABLES, materialize_session.TABLES]),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=40),
)
def test_a_judge_lets_through_exactly_what_the_tables_allow(tables, noise) -> None:
    judge = Judge(tables, Side.CONNECTOR)
    kinds = list(tables.names)
    for choice, count in noise:
        kind = kinds[choice % len(kinds)]
        before = judge.joint
        expected = before
        for _ in range(count):
            expected = legal(tables, expected).get(kind) if expected is not None else None
        is_request = kind in {k for moves in tables.requests.values() for k in moves}
        step = judge.request if is_request else judge.response
        if expected is None:
            with pytest.raises((LocalProtocolError, RemoteProtocolError)) as caught:
                step(kind, count)
            assert isinstance(
                caught.value, RemoteProtocolError if is_request else LocalProtocolError
            )
            return
        step(kind, count)
        assert judge.joint == expected


def test_a_violation_names_the_message_and_both_states() -> None:
    session = MaterializeSession(Side.CONNECTOR)
    with pytest.raises(RemoteProtocolError) as caught:
        session.request(materialize.Store)
    assert str(caught.value) == (
        "can't accept store: it isn't legal now (runtime is in START, connector in START)"
    )


def opened_capture(side: Side, *, explicit: bool) -> CaptureSession:
    session = CaptureSession(side)
    session.request(capture.Open(capture=capture.CaptureSpec()))
    session.opened(capture.Opened(explicit_acknowledgements=explicit))
    return session


def test_acknowledgements_never_exceed_the_checkpoints_sent() -> None:
    session = opened_capture(Side.CONNECTOR, explicit=True)
    session.response(capture.Checkpoint, 2)
    session.request(capture.Acknowledge(checkpoints=0))
    session.request(capture.Acknowledge(checkpoints=2))
    with pytest.raises(RemoteProtocolError, match="counts 1 checkpoints but 0 are outstanding"):
        session.request(capture.Acknowledge(checkpoints=1))


def test_acknowledgements_nobody_asked_for_are_refused() -> None:
    session = opened_capture(Side.RUNTIME, explicit=False)
    session.response(capture.Checkpoint)
    with pytest.raises(LocalProtocolError, match="didn't ask"):
        session.request(capture.Acknowledge(checkpoints=1))


def test_more_documents_than_keys_asked_for_are_refused() -> None:
    session = MaterializeSession(Side.RUNTIME)
    session.request(materialize.Open)
    session.response(materialize.Opened)
    session.request(materialize.Acknowledge)
    session.request(materialize.Load, 2)
    session.response(materialize.Acknowledged)
    session.response(materialize.Loaded, 2)
    with pytest.raises(RemoteProtocolError, match="more keys than were asked for"):
        session.response(materialize.Loaded)
