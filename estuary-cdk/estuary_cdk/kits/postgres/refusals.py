"""What a server, a driver or the network says instead of doing as asked, as errors of ours.

Before a session begins libpq tells no SQLSTATE, so those refusals are known by their words; within
a session they are known by their code.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.kits.postgres.way import Way


class Asker(Protocol):
    """Who asked, as far as an error names it."""

    @property
    def address(self) -> str:
        """Where the server is."""

    @property
    def database(self) -> str:
        """Which database was meant."""

    @property
    def user(self) -> str:
        """As whom."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Words by which a refusal is known, and what they mean; {…} are an asker's attributes."""

    words: re.Pattern[str]
    reason: str
    remedy: str | None = None
    passing: bool = False


def _known(words: str, reason: str, remedy: str | None = None, *, passing: bool = False) -> Refusal:
    return Refusal(re.compile(words, re.IGNORECASE), reason, remedy, passing)


# The first that matches is told: the more particular stands first.
CONNECTING: Final = (
    _known("password authentication failed", "incorrect username or password"),
    _known(
        "PAM authentication failed",
        "the server doesn't take the token for user {user!r}",
        'GRANT rds_iam TO "{user}", and allow the role rds-db:connect',
    ),
    _known(
        "no password supplied|empty password returned",
        "the server asks for a password, and there is none",
        "set credentials/password",
    ),
    _known(
        "role .* does not exist",
        "user {user!r} does not exist",
        "run as a superuser: CREATE USER \"{user}\" WITH PASSWORD '…'",
    ),
    _known(
        r"Tenant or user not found|unsupported startup parameter|server_login_retry|no such user",
        "what answers at {address!r} is a connection pooler, which can't do this",
        "use the address of the server itself",
    ),
    _known(
        "no pg_hba.conf entry.*(?:no encryption|SSL off)",
        "the server takes only encrypted connections of user {user!r} from here, if any",
        "set advanced/sslmode to require, or add a line for this host to the server's pg_hba.conf",
    ),
    _known(
        "no pg_hba.conf entry|pg_hba.conf rejects",
        "the server doesn't let user {user!r} connect from here to database {database!r}",
        "add a line for this host to the server's pg_hba.conf, and run: SELECT pg_reload_conf()",
    ),
    _known("database .* does not exist", "database {database!r} does not exist"),
    _known(
        "permission denied for database",
        "user {user!r} does not have CONNECT privilege to database {database!r}",
        'GRANT CONNECT ON DATABASE "{database}" TO "{user}"',
    ),
    _known(
        "not permitted to log in",
        "user {user!r} may not log in",
        'ALTER USER "{user}" WITH LOGIN',
    ),
    _known(
        "not currently accepting connections",
        "database {database!r} takes no connections",
        'ALTER DATABASE "{database}" WITH ALLOW_CONNECTIONS true',
    ),
    _known(
        "start WAL sender|replication role to start walsender",
        "user {user!r} must have the REPLICATION role (or 'rds_replication' on RDS)",
        'ALTER USER "{user}" WITH REPLICATION',
    ),
    _known(
        "max_wal_senders",
        "all WAL senders of the server are in use",
        "end other replication, or raise max_wal_senders and restart the server",
        passing=True,
    ),
    _known(
        "too many (?:clients|connections)|connection slots are reserved",
        "the server has too many connections",
        "end some, or raise max_connections (or the CONNECTION LIMIT of the user or database)",
        passing=True,
    ),
    _known(
        "database system is|in recovery mode|terminating connection due to administrator",
        "the server is starting, stopping or recovering",
        passing=True,
    ),
    _known(
        "Name or service not known|No address associated|nodename nor servname|"
        "Name does not resolve|Unknown host",
        "there is no host of that name",
        "check the address",
    ),
    _known(
        "could not translate host name",
        "the host's name can't be looked up just now",
        passing=True,
    ),
    _known(
        "Connection refused",
        "nothing answers at that port",
        "check the port, that the server listens on that interface (listen_addresses), and "
        "firewalls",
        passing=True,
    ),
    _known(
        "timeout expired|timed out|No route to host|Network is unreachable",
        "the host can't be reached",
        "check the address, and that firewalls let the connector's addresses through",
        passing=True,
    ),
    _known(
        "server does not support SSL",
        "the server doesn't encrypt connections",
        "turn it on (ALTER SYSTEM SET ssl = on), or set advanced/sslmode to disable",
    ),
    _known(
        "certificate verify failed|certificate is not yet valid|self.signed certificate",
        "the server's certificate isn't signed by an authority that is trusted here, or is expired",
        "put the certificate of the server's CA into advanced/ssl_server_ca",
    ),
    _known(
        "server certificate for .* does not match host name",
        "the server's certificate is for another host than that of address {address!r}",
        "use a host that the certificate names, or set advanced/sslmode to verify-ca",
    ),
    _known(
        "requires a valid client certificate|certificate required|connection requires .* client",
        "the server asks for a client certificate",
        "set advanced/ssl_client_cert and advanced/ssl_client_key",
    ),
    _known(
        "certificate authentication failed",
        "the server doesn't take the client certificate for user {user!r}",
        "its common name has to be the user's",
    ),
    _known(
        "alert unknown ca|alert bad certificate|alert certificate",
        "the server doesn't accept the client certificate",
        "use one that is signed by the authority which the server's ssl_ca_file names",
    ),
    _known(
        "could not load private key file|could not read certificate file|key values mismatch|"
        "does not match private key",
        "the client certificate and its key can't be used together",
        "set both advanced/ssl_client_cert and advanced/ssl_client_key, as PEM",
    ),
    _known(
        "invalid response to SSL negotiation|expected authentication request|wrong version number",
        "what answers there isn't PostgreSQL",
        "check host and port",
    ),
)

# Classes of SQLSTATEs, or whole ones, that may pass by themselves.
PASSING_STATES: Final = ("08", "40", "53", "55006", "55P03", "57", "58", "XX")

# What to do about SQLSTATEs whose words say what is the matter.
_REMEDIES: Final[dict[str, str]] = {
    "25006": "the server is read-only: use the primary, or a user who may write",
    "53100": "make room on the server's disk",
    "53300": "end connections, or raise max_connections",
}


def translated(error: psycopg.Error, asker: Asker, verb: str) -> CdkError:
    """Return the error of ours that a driver's error stands for.

    ConfigError where the user must act, TransientError where it may pass by itself; `sqlstate` is
    the server's code, None where there is none. `verb` and its object follow "can't".
    """
    state = error.sqlstate
    text = " ".join(str(error).split()) or type(error).__name__
    if state is None or state[:2] in {"08", "28", "3D"}:
        for refusal in CONNECTING:
            if refusal.words.search(text):
                return _told(refusal, asker, verb, state)
    if state is None:
        # libpq has no class for a connection that breaks amid an answer.
        passing = (
            isinstance(error, psycopg.OperationalError) or type(error) is psycopg.DatabaseError
        )
    else:
        passing = state.startswith(PASSING_STATES)
    kind: Callable[..., CdkError] = TransientError if passing else ConfigError
    remedy = _REMEDIES.get(state or "")
    return kind(
        f"can't {verb}: {text}", hint=_filled(remedy, asker) if remedy else None, sqlstate=state
    )


Translate = Callable[[psycopg.Error, Any, str], CdkError]


@contextmanager
def explained(
    asker: Asker, verb: str, way: Way | None = None, translate: Translate = translated
) -> Iterator[None]:
    """Raise what the server or the driver reports as an error that says who must act.

    Where the connection went by a way that is closed now, that is told instead.
    """
    try:
        yield
    except psycopg.Error as error:
        if way is not None and way.failure is not None and error.sqlstate is None:
            raise way.failure from error
        raise translate(error, asker, verb) from error


def _told(refusal: Refusal, asker: Asker, verb: str, state: str | None) -> CdkError:
    kind: Callable[..., CdkError] = TransientError if refusal.passing else ConfigError
    hint = _filled(refusal.remedy, asker) if refusal.remedy else None
    return kind(f"can't {verb}: {_filled(refusal.reason, asker)}", hint=hint, sqlstate=state)


def _filled(text: str, asker: Asker) -> str:
    return text.format(address=asker.address, database=asker.database, user=asker.user)
