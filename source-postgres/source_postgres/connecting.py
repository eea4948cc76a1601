"""Connections for a capture: sessions that write values as they are read here, and walsenders."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.kits import postgres
from source_postgres.config import Config
from source_postgres.values import SESSION_SETTINGS

STATEMENT_TIMEOUT: Final = "2min"
_UNITS: Final = {"s": "s", "m": "min"}


@contextmanager
def explained(config: Config, verb: str) -> Iterator[None]:
    """Raise what the server or the driver reports as an error that says who must act."""
    with postgres.explained(config, verb, config.way):
        yield


def connect(
    config: Config, *, replication: bool = False, walsender: bool = True
) -> Connection[Any]:
    """Connect, in autocommit; raises ConfigError for refusals, TransientError for failures.

    Every session speaks with SESSION_SETTINGS; a connection for replication has no statement
    timeout, and is a walsender's unless it is to read changes with queries.
    """
    settings = _settings(config)
    if replication:
        settings["statement_timeout"] = "0"
    parameters = {"replication": "database"} if replication and walsender else {}
    connection = postgres.connect(config.server, settings, **parameters)
    connection.prepare_threshold = None
    return connection


@contextmanager
def dialling(config: Config) -> Iterator[dict[str, Any]]:
    """Give the parameters with which `psycopg.connect` does what `connect` does, in the block."""
    with postgres.dialling(config.server, _settings(config)) as given:
        yield {**given, "autocommit": True, "prepare_threshold": None}


def _settings(config: Config) -> dict[str, str]:
    return {
        **SESSION_SETTINGS,
        "statement_timeout": _statement_timeout(config),
        "max_parallel_workers_per_gather": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }


def _statement_timeout(config: Config) -> str:
    text = config.advanced.statement_timeout
    if not text:
        return STATEMENT_TIMEOUT
    return text if text == "0" else text[:-1] + _UNITS[text[-1]]
