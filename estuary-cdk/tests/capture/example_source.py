"""A source with a stream of every kind, on an imaginary shop that lives in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from estuary_cdk.capture import Batch, Checkpoint, Log, Paged, Snapshot, Source, Window, Windowed
from estuary_cdk.config import EndpointConfig, Secret, setting
from estuary_cdk.document import Document
from estuary_cdk.errors import ConfigError, TransientError

OPENED = datetime(2023, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Shop:
    """What the shop knows, and how often it is out of order."""

    orders: dict[datetime, int] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    archive: list[list[int]] = field(default_factory=list)
    failures: int = 0
    asked: list[object] = field(default_factory=list)

    def ask(self, what: object) -> None:
        self.asked.append(what)
        if self.failures:
            self.failures -= 1
            raise TransientError("the shop is closed for a moment")


class Config(EndpointConfig):
    token: Secret = setting(title="Token", description="Opens the door.")


class Order(Document):
    id: int
    at: datetime


class Client:
    def __init__(self, shop: Shop, token: Secret) -> None:
        self.shop = shop
        self.token = token

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def check(self) -> None:
        if self.token.get_secret_value() != "sesame":
            raise ConfigError("can't enter the shop: the token is refused")


async def orders(client: Client, window: Window) -> AsyncIterator[Document]:
    client.shop.ask(window)
    for at, number in sorted(client.shop.orders.items()):
        if window.start <= at < window.end:
            yield Order(id=number, at=at)


async def users(client: Client) -> AsyncIterator[dict[str, str]]:
    client.shop.ask("users")
    for name in client.shop.users:
        yield {"name": name}


async def changes(client: Client, position: int) -> AsyncIterator[list[bytes] | Checkpoint[int]]:
    client.shop.ask(position)
    for number, text in enumerate(client.shop.changes[position:], position + 1):
        yield [b'{"id":%d,"text":"%b"}' % (number, text.encode())]
        if number % 2 == 0 or number == len(client.shop.changes):
            yield Checkpoint(number)


async def archive(client: Client, token: str | None) -> Batch:
    client.shop.ask(token)
    page = int(token or "0")
    last = page + 1 >= len(client.shop.archive)
    rows = client.shop.archive[page] if client.shop.archive else []
    return Batch([{"id": row} for row in rows], None if last else str(page + 1))


def shop_source(shop: Shop, *names: str) -> Source[Config, Client]:
    streams = [
        Windowed(
            "orders",
            key=["/id"],
            read=orders,
            since=OPENED,
            tick=MINUTE,
            lag=5 * MINUTE,
            step=7 * DAY,
            model=Order,
        ),
        Snapshot("users", read=users),
        Log("changes", key=["/id"], read=changes, start=0),
        Paged("archive", key=["/id"], read=archive),
    ]
    return Source(
        config=Config,
        connect=lambda config: Client(shop, config.token),
        streams=[stream for stream in streams if not names or stream.name in names],
        docs="https://go.estuary.dev/source-shop",
    )
