"""Connections to a PostgreSQL server: through TLS and tunnels, with refusals explained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.kits.postgres.address import host_and_port
from estuary_cdk.kits.postgres.credentials import Credentials, UserPassword
from estuary_cdk.kits.postgres.refusals import explained
from estuary_cdk.kits.postgres.tls import TlsSettings, tls_parameters
from estuary_cdk.kits.postgres.tokens import password
from estuary_cdk.kits.postgres.way import Way

CONNECT_TIMEOUT_S: Final = 20
APPLICATION_NAME: Final = "estuary_flow"
KEEPALIVE: Final = {
    "keepalives_idle": 120,
    "keepalives_interval": 30,
    "keepalives_count": 6,
    # While something we sent waits for an answer there are no keepalives.
    "tcp_user_timeout": 300_000,
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database is, who we are there, and how the way there is kept safe."""

    address: str
    database: str
    user: str
    credentials: Credentials
    tls: TlsSettings = field(default_factory=TlsSettings)
    way: Way | None = None


def connect(
    server: Server, settings: Mapping[str, str] | None = None, **parameters: Any
) -> Connection[Any]:
    """Connect, in autocommit, for use in one thread.

    `settings` are settings of the session, `parameters` are libpq's. Raises ConfigError for
    refusals, TransientError for failures.
    """
    verb = f"connect to {server.address!r}"
    with explained(server, verb, server.way), dialling(server, settings, **parameters) as given:
        return Connection.connect(autocommit=True, **given)


@contextmanager
def dialling(
    server: Server, settings: Mapping[str, str] | None = None, **parameters: Any
) -> Iterator[dict[str, Any]]:
    """Give the parameters to connect with, by whichever of psycopg's ways, within the block.

    The host's name is verified as the config has it, wherever a tunnel is entered. Blocks while a
    cloud is asked for a token.
    """
    host, port = host_and_port(server.address)
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "dbname": server.database,
        "user": server.user,
        "password": password(server.credentials, server.address, server.user),
        "application_name": APPLICATION_NAME,
        "connect_timeout": CONNECT_TIMEOUT_S,
        **KEEPALIVE,
    }
    if server.way is not None:
        given["hostaddr"], given["port"] = server.way.entrance
    if settings:
        given["options"] = " ".join(_option(*each) for each in settings.items())
    # A token must not be shown to whoever answers in place of the server.
    required = not isinstance(server.credentials, UserPassword)
    with tls_parameters(server.tls, required=required) as secured:
        yield {**given, **secured, **parameters}


def _option(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
    return f"-c {name}={escaped}"
