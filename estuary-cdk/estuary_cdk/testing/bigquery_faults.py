"""What a test may let go wrong at the service of `estuary_cdk.testing.bigquery`.

A fault names requests and what becomes of them: an answer in the service's words, a job that is
taken and fails, or a connection that breaks before or after the work was done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

STATUS_OF_REASON: Mapping[str, int] = {
    "accessDenied": 403,
    "backendError": 503,
    "duplicate": 409,
    "internalError": 500,
    "invalid": 400,
    "invalidQuery": 400,
    "notFound": 404,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "resourceInUse": 400,
    "stopped": 499,
}
NAME_OF_STATUS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request isn't done; its answer is an error of HTTP."""

    reason: str
    message: str

    @property
    def status(self) -> int:
        return STATUS_OF_REASON[self.reason]

    @property
    def answer(self) -> dict[str, Any]:
        """The body of the answer."""
        error = {"message": self.message, "domain": "global", "reason": self.reason}
        status = NAME_OF_STATUS.get(self.status, "UNKNOWN")
        return {
            "error": {
                "code": self.status,
                "message": self.message,
                "errors": [error],
                "status": status,
            }
        }


@dataclass(frozen=True, slots=True)
class JobFailure:
    """The job is taken and its id used; it does nothing and ends with an error."""

    reason: str
    message: str

    @property
    def result(self) -> dict[str, str]:
        """The job's `errorResult`."""
        return {"reason": self.reason, "message": self.message}


class Break(Enum):
    """The connection is closed without an answer."""

    BEFORE = auto()
    """Nothing was done."""
    AFTER = auto()
    """All was done."""


def access_denied(permission: str, resource: str = "Table test:shop.orders") -> Refusal:
    """Refuse for want of a permission, such as `bigquery.tables.create`."""
    return Refusal(
        "accessDenied",
        f"Access Denied: {resource}: Permission {permission} denied on resource "
        "(or it may not exist).",
    )


def dataset_not_found(dataset: str = "test:shop", location: str = "EU") -> Refusal:
    """Refuse because the dataset is gone, or somewhere else."""
    return Refusal("notFound", f"Not found: Dataset {dataset} was not found in location {location}")


def invalid_query(message: str = "Syntax error: Unexpected end of script at [1:1]") -> Refusal:
    """Refuse a statement."""
    return Refusal("invalidQuery", message)


RATE_LIMITED = Refusal(
    "rateLimitExceeded",
    "Exceeded rate limits: too many api requests per user per method for this user_method. For "
    "more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas",
)
QUOTA_EXCEEDED = Refusal(
    "quotaExceeded",
    "Quota exceeded: Your table exceeded quota for imports or query appends per table. For more "
    "information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas",
)
BACKEND_ERROR = Refusal("backendError", "Error encountered during execution. Retrying may help.")
CONCURRENT_UPDATE = JobFailure(
    "invalidQuery",
    "Could not serialize access to table test:shop.orders due to concurrent update",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `job` is the type of the job that it makes, else empty; `statement` its SQL.

    `configuration` is that of the job. A resumable upload makes its job with its last piece.
    """

    method: str
    path: str
    query: Mapping[str, str]
    job: str = ""
    job_id: str = ""
    statement: str = ""
    configuration: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of requests: of those that match all that is given, after the first `skip` of
    them, the next `times`.

    `path` and `statement` are regular expressions, searched; `job` is `load`, `query`, `copy` or
    `extract` and means the request that makes such a job. A JobFailure needs such a request.
    """

    does: Refusal | JobFailure | Break
    method: str = ""
    path: str = ""
    job: str = ""
    statement: str = ""
    skip: int = 0
    times: int = 1

    def matches(self, call: Call) -> bool:
        """Say whether a request is meant."""
        return (
            self.method in {"", call.method}
            and self.job in {"", call.job}
            and (not isinstance(self.does, JobFailure) or call.job != "")
            and re.search(self.path, call.path) is not None
            and re.search(self.statement, call.statement, re.DOTALL) is not None
        )


class Faults:
    """Faults in the order they were given; the first that is due is what happens."""

    def __init__(self) -> None:
        self._waiting: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Let it happen from now on."""
        self._waiting.append(_Armed(fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Let nothing happen any more."""
        self._waiting.clear()

    def due(self, call: Call) -> Refusal | JobFailure | Break | None:
        """Count a request, and return what becomes of it; None: what it asks for."""
        for armed in [each for each in self._waiting if each.fault.matches(call)]:
            if armed.skip:
                armed.skip -= 1
                continue
            armed.times -= 1
            if armed.times == 0:
                self._waiting.remove(armed)
            return armed.fault.does
        return None


@dataclass(slots=True)
class _Armed:
    fault: Fault
    skip: int
    times: int
