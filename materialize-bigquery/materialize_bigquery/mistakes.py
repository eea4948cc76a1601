"""What the service's errors mean, and who must act: a reason to a sentence with a remedy.

Errors are told apart by their reason and status, never by their words; only the name of a missing
permission is taken from these. See https://cloud.google.com/bigquery/docs/error-messages.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import requests
from google.api_core import exceptions
from google.auth import exceptions as auth

from estuary_cdk.errors import CdkError, ConfigError, TransientError, shortened
from materialize_bigquery.names import STAGED_PREFIX

MESSAGE_CHARS_MAX: Final = 400

TRANSIENT_REASONS: Final = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
        "tableUnavailable",
    }
)
_TRANSIENT_STATUSES: Final = (429, 500, 502, 503, 504)
# A transaction that met another one; the service has no reason of its own for it.
_CONFLICT: Final = re.compile(
    r"concurrent update|could not serialize|aborted due to concurrent|retry the query",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"^[A-Z]+ https?://\S+: ")
_PERMISSION: Final = re.compile(r"\b((?:bigquery|storage|serviceusage)\.[A-Za-z.]+[A-Za-z])\b")

# Which predefined role grants what, the first whose beginning matches.
_ROLES: Final[tuple[tuple[str, str], ...]] = (
    ("bigquery.jobs.", "BigQuery Job User (roles/bigquery.jobUser) on project {jobs}"),
    (
        "bigquery.readsessions.",
        "BigQuery Read Session User (roles/bigquery.readSessionUser) on project {jobs}",
    ),
    ("bigquery.datasets.create", "BigQuery User (roles/bigquery.user) on project {project}"),
    ("bigquery.", "BigQuery Data Editor (roles/bigquery.dataEditor) on dataset {dataset}"),
    ("storage.", "Storage Object Admin (roles/storage.objectAdmin) on the bucket"),
    ("serviceusage.", "Service Usage Consumer (roles/serviceusage.serviceUsageConsumer)"),
)


class Scope:
    """What an error's sentence may name of a config: where jobs run and where tables are."""

    def __init__(self, project: str, jobs_project: str, dataset: str, region: str) -> None:
        self.project = project
        self.jobs_project = jobs_project
        self.dataset = dataset
        self.region = region


def reason_of(error: exceptions.GoogleAPICallError) -> str:
    """Return the service's word for what happened, empty where it has none."""
    for each in error.errors:
        if isinstance(each, Mapping) and each.get("reason"):
            return str(each["reason"])
    return ""


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed when it is sent again."""
    if isinstance(error, exceptions.GoogleAPICallError):
        return (
            reason_of(error) in TRANSIENT_REASONS
            or error.code in _TRANSIENT_STATUSES
            or _is_unavailable(error)
        )
    return isinstance(
        error, requests.ConnectionError | requests.Timeout | auth.TransportError | ConnectionError
    )


def _is_unavailable(error: exceptions.GoogleAPICallError) -> bool:
    return isinstance(error, exceptions.ServiceUnavailable | exceptions.DeadlineExceeded)


def may_pass(result: Mapping[str, Any]) -> bool:
    """Tell whether a job that failed with this result may succeed when it is run again."""
    message = str(result.get("message", ""))
    return result.get("reason") in TRANSIENT_REASONS or _CONFLICT.search(message) is not None


def translated(error: BaseException, scope: Scope, verb: str) -> CdkError:
    """Return the error of ours that an error of the libraries stands for."""
    if isinstance(error, auth.GoogleAuthError):
        return _unauthenticated(error, verb)
    if isinstance(error, exceptions.GoogleAPICallError):
        message = str(error.message)
        return sentence(reason_of(error) or _reason_by_status(error), message, scope, verb)
    return TransientError(
        f"can't {verb}: {type(error).__name__}: {told(str(error))}",
        hint="check that the endpoint can be reached",
    )


def _unauthenticated(error: auth.GoogleAuthError, verb: str) -> CdkError:
    if isinstance(error, auth.TransportError):
        return TransientError(
            f"can't {verb}: Google's servers of tokens can't be reached",
            hint="check the network; nothing was lost",
        )
    if isinstance(error, auth.DefaultCredentialsError):
        return ConfigError(
            f"can't {verb}: the environment has no application default credentials",
            hint="attach a service account to the machine, or name a key file in "
            "GOOGLE_APPLICATION_CREDENTIALS",
        )
    # The words of the library may have what it was given in them.
    return ConfigError(
        f"can't {verb}: Google refuses the credentials",
        hint="check that the service account exists, is enabled and that its key wasn't deleted; "
        "make a new key if in doubt",
    )


def _reason_by_status(error: exceptions.GoogleAPICallError) -> str:
    known = {401: "authError", 403: "accessDenied", 404: "notFound"}
    if is_transient(error):
        return "backendError"
    return known.get(error.code or 0, "")


def sentence(reason: str, message: str, scope: Scope, verb: str) -> CdkError:
    """Return the error for a reason and the service's words."""
    words = told(message)
    if reason == "accessDenied":
        return _denied(words, scope, verb)
    if reason == "authError":
        return _unauthenticated(auth.RefreshError(), verb)
    if reason == "notFound":
        return _missing(words, scope, verb)
    if reason in {"quotaExceeded", "billingTierLimitExceeded"}:
        return TransientError(
            f"can't {verb}: {words}",
            hint="a quota is used up: nothing is lost, start again once it is refilled, or ask "
            "Google for more; a sync schedule makes transactions fewer",
            reason=reason,
        )
    if reason in {"billingNotEnabled", "accountSuspended"}:
        return ConfigError(
            f"can't {verb}: {words}",
            hint=f"enable billing for project {scope.jobs_project!r}",
            reason=reason,
        )
    if reason in TRANSIENT_REASONS or _CONFLICT.search(message):
        return TransientError(
            f"can't {verb}: {words}", hint="nothing is lost, start again", reason=reason
        )
    return ConfigError(
        f"can't {verb}: {words}",
        hint="if a table or column was changed by someone else: start the task again, which "
        "repairs what it can, or backfill the binding",
        reason=reason,
    )


def _denied(words: str, scope: Scope, verb: str) -> CdkError:
    found = _PERMISSION.search(words)
    permission = found[1] if found else ""
    fallback = _ROLES[0][1] if "job" in verb or "connect" in verb else _ROLES[3][1]
    role = next((role for start, role in _ROLES if permission.startswith(start)), fallback)
    granted = role.format(jobs=scope.jobs_project, project=scope.project, dataset=scope.dataset)
    named = f"permission {permission} is missing" if permission else words
    return ConfigError(
        f"can't {verb}: {named}", hint=f"grant the role {granted}", permission=permission
    )


def _missing(words: str, scope: Scope, verb: str) -> CdkError:
    hint = "it was dropped; start the task again, which creates it"
    if STAGED_PREFIX in words:
        return ConfigError(
            f"can't {verb}: what was staged is gone: {words}",
            hint="somebody deleted it, or it wasn't applied for 30 days; backfill the binding",
            reason="notFound",
        )
    if "dataset" in words.lower():
        hint = (
            f"it was deleted, or isn't in region {scope.region!r}: start the task again, which "
            "creates it, or name its region"
        )
    elif "project" in words.lower():
        hint = "check the project's ID"
    return ConfigError(f"can't {verb}: {words}", hint=hint, reason="notFound")


def told(message: str) -> str:
    """Return the service's own words on one line, shortened."""
    text = _ADDRESS.sub("", " ".join(message.split()))
    return text if len(text) <= MESSAGE_CHARS_MAX else shortened(text, MESSAGE_CHARS_MAX)[1:-1]


def first_error(errors: Sequence[Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """Return the first of a job's errors."""
    return errors[0] if errors else {}
