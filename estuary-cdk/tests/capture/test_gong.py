"""A source as authors write it, in 35 lines, on the HTTP kit: it keeps the whole contract."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import gong
import pytest

from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.fake_http import Asked, FakeHttp, Reply

SINCE = datetime(2023, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class FakeGong(FakeHttp):
    """Gong with a call every other day and three users, two to a page."""

    def __init__(self) -> None:
        super().__init__({"GET /v2/calls": self.calls, "GET /v2/users": self.users})

    def authorized(self, asked: Asked) -> bool:
        return asked.headers["Authorization"] == "Basic b3VyLWtleTpvdXItc2VjcmV0"

    def calls(self, asked: Asked) -> Reply:
        start = datetime.fromisoformat(asked.query["fromDateTime"])
        end = datetime.fromisoformat(asked.query["toDateTime"])
        assert start.second == end.second == 0
        moments = [SINCE + 2 * DAY * n for n in range(60)]
        found = [
            {"id": str(number), "started": moment.isoformat()}
            for number, moment in enumerate(moments)
            if start <= moment < end
        ]
        return Reply.json({"calls": found}) if found else Reply(404)

    def users(self, asked: Asked) -> Reply:
        if not self.authorized(asked):
            return Reply(401)
        if "cursor" in asked.query:
            return Reply.json({"users": [{"id": "c"}], "records": {}})
        users = [{"id": "a"}, {"id": "b"}]
        return Reply.json({"users": users, "records": {"cursor": "next"}})


def subject() -> CaptureSubject:
    clock = FakeClock()
    windows, snapshot = gong.source.streams
    source = replace(
        gong.source,
        connect=lambda config: replace(gong.connect(config), transport=FakeGong(), clock=clock),
        streams=[replace(windows, since=SINCE), snapshot],
    )
    return CaptureSubject(
        serve=lambda reader, writer: source.serve(reader, writer, clock=clock),
        config={"access_key": "our-key", "access_key_secret": "our-secret"},
        refused={"access_key": "our-key", "access_key_secret": "a-guess"},
        secrets=["our-secret", "a-guess", "b3VyLWtleTpvdXItc2VjcmV0"],
        lasting=lambda: clock.sleep(1800),
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise):
    await promise(subject())


async def test_it_captures_every_call_and_user():
    whole = subject()
    built = await whole.runtime().build(whole.config)
    session = await whole.whole(built)
    complete = (FakeClock().now() - SINCE) // (2 * DAY) + 1
    assert sorted(int(doc["id"]) for doc in session.of(0)) == list(range(complete))
    assert [doc["id"] for doc in session.of(1)] == ["a", "b", "c"]
