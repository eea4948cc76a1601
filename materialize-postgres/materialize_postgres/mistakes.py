"""What the server's errors mean, and who must act: SQLSTATE to a sentence with a remedy."""

from contextlib import AbstractContextManager
from typing import Final

import psycopg

from estuary_cdk.errors import CdkError, ConfigError, DataError, TransientError
from estuary_cdk.kits import postgres
from estuary_cdk.kits.postgres import Way
from materialize_postgres.config import Config

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONFIG: Final = {
    "42501": (
        None,
        "grant it: CREATE on the schema and, where the schema is missing, on the database; "
        "TEMPORARY on the database; a table that is there must be owned by the user",
    ),
    "25006": (
        "the server is read-only",
        "name the primary rather than a replica, or let it take writes again",
    ),
    "42P01": (None, "it was dropped; start the task again, which creates it"),
    "42703": (None, "it was dropped; start the task again, which adds it"),
    "2BP01": (None, "drop what depends on it and start the task again"),
    "0A000": (None, "drop the view or rule that uses the column and start the task again"),
    "42804": (None, "a column's type was changed by someone else; backfill the binding"),
    "54000": (None, "select fewer fields or shorter keys"),
}
_DATA: Final = {
    "23505": "a row with this key was written by something else; backfill the binding",
    "23502": "the column may not be null; start the task again, which allows it where the "
    "collection's schema does",
    "23503": "a foreign key of the table forbids the row; drop the constraint",
    "23514": "a check of the table forbids the row; drop the constraint",
    "22P02": "the column's type doesn't take the value: was it changed by someone else? backfill "
    "the binding, or set castToString for the field",
    "22P03": "the column's type was changed by someone else; start the task again, or backfill the "
    "binding",
    "54001": "the document is nested too deeply for JSONB",
}
_TRANSIENT: Final = {
    "53100": "nothing of the transaction was committed; free some space and start again",
    "53200": "nothing of the transaction was committed",
    "53300": "the server has no connection left; raise max_connections or end other sessions",
    "40P01": "nothing of the transaction was committed; start again",
    "55P03": "end the session that holds the lock: pg_stat_activity and pg_locks tell which",
    "57014": "nothing of the transaction was committed; raise statement_timeout for this user, or "
    "set it to 0, and end what blocks the statement",
    "57P01": "the server was shut down or the session ended by an administrator; start again",
    "25P03": "raise idle_in_transaction_session_timeout for this user, or set it to 0",
    "25P04": "raise transaction_timeout for this user, or set it to 0",
    "57P05": "raise idle_session_timeout for this user, or set it to 0",
}


def explained(config: Config, verb: str, way: Way | None = None) -> AbstractContextManager[None]:
    """Raise what the server or the driver reports as an error that says who must act."""
    return postgres.explained(config, verb, way, translated)


def translated(error: psycopg.Error, config: Config, verb: str) -> CdkError:
    """Return the error of ours that a driver's error stands for."""
    code = error.sqlstate or ""
    text = _told(error)
    if code in _TRANSIENT:
        return TransientError(f"can't {verb}: {text}", hint=_TRANSIENT[code], sqlstate=code)
    if code in _DATA or (code[:2] == "22" and code not in _CONFIG):
        return DataError(f"can't {verb}: {text}", hint=_DATA.get(code), sqlstate=code)
    if code in _CONFIG:
        reason, hint = _CONFIG[code]
        return ConfigError(f"can't {verb}: {reason or text}", hint=hint, sqlstate=code)
    return postgres.translated(error, config, verb)


def _told(error: psycopg.Error) -> str:
    """Return the server's own words, and where in the data it was."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else f"{text[:250]} ... {text[-245:]}"
