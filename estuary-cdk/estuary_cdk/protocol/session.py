"""The judge of a conversation: reads the tables of a protocol and says whether a message is legal.

A conversation has two sides, each in a state of its own. What a side says moves that side on:

    REQUESTS   runtime state   -> the requests legal in it, and the state each leads to
    RESPONSES  connector state -> the responses legal in it, and the state each leads to

How far each may run ahead of the other:

    AWAITS     a request  -> the connector states it has to wait for
    ANSWERS    a response -> the runtime states it can be an answer in
    RETURNS    a response -> the state it brings the runtime back to (one question, one answer)
    ENDS       the end of a stream -> the joint states in which nothing is half done

The ends of the two streams are judged like messages: `RequestsEnd` and `ResponsesEnd`. The judge
doesn't know which side we play until something is wrong: then it is our bug or the peer's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from estuary_cdk.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


class Side(Enum):
    """The two parties of a conversation."""

    RUNTIME = "runtime"
    CONNECTOR = "connector"


class RequestsEnd:
    """The runtime closed its side: the end of stdin."""


class ResponsesEnd:
    """The connector closed its side: the end of stdout with exit status 0."""


State = str
Table = Mapping[State, Mapping[type, State]]

START: Final = "START"
END: Final = "END"


@dataclass(frozen=True, slots=True)
class Tables:
    """A protocol's legality, as data; see the module's text for what each table means."""

    requests: Table
    responses: Table
    awaits: Mapping[type, frozenset[State]]
    answers: Mapping[type, frozenset[State]]
    returns: Mapping[type, State]
    ends: Mapping[type, frozenset[tuple[State, State]]]
    names: Mapping[type, str]


@dataclass(frozen=True, slots=True)
class Joint:
    """Where both sides are; `ended` once the runtime has closed its side."""

    runtime: State = START
    connector: State = START
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.runtime}/{self.connector}" + ("+ended" if self.ended else "")


def after_request(tables: Tables, joint: Joint, request: type) -> Joint | None:
    """Return where a request leads, or None where it isn't legal."""
    state = tables.requests.get(joint.runtime, {}).get(request)
    if state is None or joint.ended:
        return None
    if request is RequestsEnd:
        done = joint.connector == END or (joint.runtime, joint.connector) in tables.ends[request]
        return Joint(state, joint.connector, ended=True) if done else None
    if joint.connector == END:
        return None
    if request in tables.awaits and joint.connector not in tables.awaits[request]:
        return None
    return Joint(state, joint.connector)


def after_response(tables: Tables, joint: Joint, response: type) -> Joint | None:
    """Return where a response leads, or None where it isn't legal."""
    if response is ResponsesEnd:
        done = (joint.runtime, joint.connector) in tables.ends[response]
        return Joint(joint.runtime, END, joint.ended) if done else None
    state = tables.responses.get(joint.connector, {}).get(response)
    if state is None:
        return None
    if response in tables.answers and joint.runtime not in tables.answers[response]:
        return None
    return Joint(tables.returns.get(response, joint.runtime), state, joint.ended)


def legal(tables: Tables, joint: Joint) -> dict[type, Joint]:
    """Return everything either side may say next, and where it leads."""
    moves: dict[type, Joint] = {}
    for kind in tables.names:
        after = after_request(tables, joint, kind) or after_response(tables, joint, kind)
        if after is not None:
            moves[kind] = after
    return moves


class Judge:
    """Follows one conversation; `us` is the side whose mistakes are our own bugs."""

    def __init__(self, tables: Tables, us: Side) -> None:
        self._tables = tables
        self._us = us
        self.joint = Joint()

    def request(self, kind: type, count: int = 1) -> None:
        """Judge a run of `count` equal requests; raises ProtocolError and moves on otherwise."""
        self._move(kind, count, Side.RUNTIME)

    def response(self, kind: type, count: int = 1) -> None:
        """Judge a run of `count` equal responses; raises ProtocolError and moves on otherwise."""
        self._move(kind, count, Side.CONNECTOR)

    def _move(self, kind: type, count: int, side: Side) -> None:
        step = after_request if side is Side.RUNTIME else after_response
        # What is legal twice in a row is legal any number of times: tables have no memory.
        for _ in range(min(count, 2)):
            after = step(self._tables, self.joint, kind)
            if after is None:
                raise self.violation(kind, side)
            self.joint = after

    def violation(self, kind: type, side: Side, why: str = "") -> ProtocolError:
        """Return the error for something `side` said, naming the message and both states."""
        reason = why or "it isn't legal now"
        error = LocalProtocolError if side is self._us else RemoteProtocolError
        verb = "send" if side is self._us else "accept"
        name = self._tables.names.get(kind, kind.__name__)
        return error(
            f"can't {verb} {name}: {reason} "
            f"(runtime is in {self.joint.runtime}, connector in {self.joint.connector})"
        )
