"""What the service or the network refuses, as one sentence with its remedy."""

import requests
from google.api_core import exceptions as answers
from google.auth import exceptions as auth

from estuary_cdk.errors import CdkError, ConfigError, TransientError, shortened
from estuary_cdk.kits.files import FileChanged

TRANSIENT = (answers.TooManyRequests, answers.ServerError)


def refusal(error: Exception, verb: str, what: str, permission: str) -> CdkError:
    """Return the error for a request that failed: who must act, and how.

    `verb` and `what` say what couldn't be done; `permission` is what it takes.
    """
    done = f"can't {verb} {what}"
    if isinstance(error, answers.RetryError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, answers.GoogleAPICallError):
        return _answered(error, done, verb, permission)
    match error:
        case auth.InvalidOperation():
            return ConfigError(f"{done}: it isn't open to everyone", hint="set credentials")
        case auth.DefaultCredentialsError():
            return ConfigError(f"{done}: there are no credentials", hint="set credentials")
        case auth.TransportError():
            return TransientError(f"{done}: {shortened(str(error))}")
        case auth.GoogleAuthError():
            return ConfigError(
                f"{done}: the credentials are refused: {shortened(str(error.args[0]))}",
                hint="check the credentials",
            )
        case requests.RequestException() | OSError():
            return TransientError(f"{done}: {shortened(str(error))}", hint="check endpoint")
        case _:
            return ConfigError(f"{done}: {shortened(str(error))}", hint="check the settings")


def _answered(error: answers.GoogleAPICallError, done: str, verb: str, permission: str) -> CdkError:
    match error:
        case answers.NotFound() if verb == "list":
            return ConfigError(f"{done}: there is no such bucket", hint="check bucket")
        case answers.NotFound() | answers.PreconditionFailed():
            return FileChanged(f"{done}: it is no longer what was listed")
        case answers.RequestRangeNotSatisfiable():
            return FileChanged(f"{done}: it is shorter than what was listed")
        case answers.Unauthorized():
            return ConfigError(f"{done}: the credentials are refused", hint="check the credentials")
        case answers.Forbidden():
            hint = f"the credentials need the permission {permission}"
            return ConfigError(f"{done}: access is denied", hint=hint)
        case answers.BadRequest() if "requester pays" in str(error).lower():
            return ConfigError(f"{done}: its requesters pay", hint="set advanced.userProject")
        case _:
            kind = TransientError if isinstance(error, TRANSIENT) else ConfigError
            said = f"{error.code or ''} {shortened(error.message or '')}".strip()
            return kind(f"{done}: the service answered {said}")
