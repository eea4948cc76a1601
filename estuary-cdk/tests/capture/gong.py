"""Capture calls and users from Gong: https://gong.app.gong.io/settings/api/documentation."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from estuary_cdk import Document, EndpointConfig, Secret, setting
from estuary_cdk.capture import Snapshot, Source, Window, Windowed
from estuary_cdk.kits.http import BasicAuth, Client, CursorPages, Rate

FOUNDED = datetime(2015, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

# Gong answers a filter that matches no calls with 404, not with an empty page.
CALLS = CursorPages("calls", cursor="records.cursor", empty_status=404)
USERS = CursorPages("users", cursor="records.cursor")


class Config(EndpointConfig):
    access_key: Secret = setting(title="Access Key")
    access_key_secret: Secret = setting(title="Access Key Secret")


def connect(config: Config) -> Client:
    auth = BasicAuth(config.access_key, config.access_key_secret)
    rate = Rate(3, per=timedelta(seconds=1))
    return Client("https://api.gong.io/v2", auth=auth, rate=rate, probe="users")


def calls(gong: Client, window: Window) -> AsyncIterator[Document]:
    bounds = {"fromDateTime": window.start.isoformat(), "toDateTime": window.end.isoformat()}
    return gong.pages("calls", CALLS, Document, bounds)


def users(gong: Client) -> AsyncIterator[Document]:
    return gong.pages("users", USERS, Document)


source = Source(
    config=Config,
    connect=connect,
    streams=[
        # Filters resolve to whole minutes, and a call may show up five minutes late.
        Windowed("calls", key=["/id"], read=calls, since=FOUNDED, tick=MINUTE, lag=5 * MINUTE),
        Snapshot("users", read=users),
    ],
    docs="https://go.estuary.dev/source-gong",
)

if __name__ == "__main__":
    source.main()
