"""Connections to the server, and what its refusals mean for the user."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from source_postgres.config import Config
from source_postgres.values import SESSION_SETTINGS

CONNECT_TIMEOUT_S: Final = 20
APPLICATION_NAME: Final = "estuary_flow"
STATEMENT_TIMEOUT: Final = "2min"
_UNITS: Final = {"s": "s", "m": "min"}
_TRANSIENT_CLASSES: Final = ("08", "53", "57", "58", "XX", "40")


@contextmanager
def explained(config: Config, verb: str) -> Iterator[None]:
    """Raise what the server or the driver reports as an error that says who must act."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error, config, verb) from error


def translated(error: psycopg.Error, config: Config, verb: str) -> CdkError:
    """Return the error of ours that a driver's error stands for."""
    code = error.sqlstate or ""
    text = " ".join(str(error).split()) or type(error).__name__
    if code == "28P01" or "password authentication failed" in text:
        return ConfigError(f"can't {verb}: incorrect username or password")
    # Before a session begins libpq tells no code.
    if code == "3D000" or ("FATAL" in text and "does not exist" in text and "database" in text):
        return ConfigError(f"can't {verb}: database {config.database!r} does not exist")
    if "permission denied for database" in text:
        return ConfigError(
            f"can't {verb}: user {config.user!r} does not have CONNECT privilege to database "
            f"{config.database!r}",
            hint=f'GRANT CONNECT ON DATABASE "{config.database}" TO "{config.user}"',
        )
    if not code and isinstance(error, psycopg.OperationalError):
        return TransientError(f"can't {verb}: {text}")
    if code[:2] in _TRANSIENT_CLASSES:
        return TransientError(f"can't {verb}: {text}", sqlstate=code)
    return ConfigError(f"can't {verb}: {text}", sqlstate=code)


def connect(
    config: Config, *, replication: bool = False, walsender: bool = True
) -> Connection[Any]:
    """Connect, in autocommit; raises ConfigError for refusals, TransientError for failures.

    Every session speaks with SESSION_SETTINGS; a connection for replication has no statement
    timeout, and is a walsender's unless it is to read changes with queries.
    """
    timeout = "0" if replication else _statement_timeout(config)
    settings = {
        **SESSION_SETTINGS,
        "statement_timeout": timeout,
        "max_parallel_workers_per_gather": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    options = " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items()
    )
    host, port = config.host_and_port
    parameters: dict[str, Any] = {
        "host": host,
        "port": port,
        "dbname": config.database,
        "user": config.user,
        "password": config.secret,
        "application_name": APPLICATION_NAME,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 120,
        "keepalives_interval": 30,
        "keepalives_count": 6,
        "options": options,
    }
    if replication and walsender:
        parameters["replication"] = "database"
    if config.advanced.sslmode:
        parameters["sslmode"] = config.advanced.sslmode
    with explained(config, f"connect to {config.address!r}"), _authority(config) as authority:
        if authority:
            parameters["sslrootcert"] = authority
        elif config.advanced.sslmode in {"verify-ca", "verify-full"}:
            parameters["sslrootcert"] = _system_roots()
        connection: Connection[Any] = Connection.connect(autocommit=True, **parameters)
        connection.prepare_threshold = None
        return connection


def _statement_timeout(config: Config) -> str:
    text = config.advanced.statement_timeout
    if not text:
        return STATEMENT_TIMEOUT
    return text if text == "0" else text[:-1] + _UNITS[text[-1]]


@contextmanager
def _authority(config: Config) -> Iterator[str | None]:
    """Put the CA's certificates into a file for as long as libpq needs to read them."""
    if not config.advanced.ssl_server_ca:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ca-") as folder:
        path = os.path.join(folder, "ca.pem")  # noqa: PTH118 - libpq wants text
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(config.advanced.ssl_server_ca)
        yield path


def _system_roots() -> str:
    """Return where the system keeps the certificates it trusts."""
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile
