"""What can go wrong with an answer, told apart by who must act.

HttpError                   an answer with a status that nobody asked for
    Refused                 also ConfigError: 4xx; address, credentials or request are wrong
    Unavailable             also TransientError: 408, 425, 429, 5xx, when the retries are used up
PagingError                 ContractError: the server doesn't page as the author said
ContentChanged              TransientError: a broken download can't continue, start it again

`url` and `body` carry no secrets, and `body` at most `errors.VALUE_CHARS_MAX` characters. Failures
before there is an answer (names, connections, TLS, time) are plain ConfigError or TransientError.
"""

from collections.abc import Mapping
from http import HTTPStatus

from estuary_cdk.errors import CdkError, ConfigError, ContractError, TransientError

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_HINTS = {
    401: "check the credentials",
    403: "these credentials may not do this",
    404: "check the address",
    405: "check the address and the method",
    407: "the proxy asks for credentials",
    410: "it was removed for good",
    429: "too many requests; lower the rate",
}


class HttpError(CdkError):
    """An answer with a status that the caller didn't ask for."""

    status: int
    url: str
    body: str
    headers: Mapping[str, str]


class Refused(HttpError, ConfigError):  # noqa: N818 - what the server did
    """The server understood and said no (4xx): asking again won't help, changing something may."""


class Unavailable(HttpError, TransientError):  # noqa: N818 - a state of the server
    """The server can't answer now (408, 425, 429, 5xx)."""


class PagingError(ContractError):
    """Pages don't follow each other as the connector's author said they do."""


class ContentChanged(TransientError):  # noqa: N818 - a state of affairs
    """The rest of a broken download isn't provably the rest of the same content: start again."""


def http_error(
    verb: str, url: str, status: int, *, body: str, headers: Mapping[str, str]
) -> HttpError:
    """Return the error that fits `status`; `url` and `body` must be free of secrets already."""
    kind: type[HttpError] = HttpError
    if status in TRANSIENT_STATUSES or status >= 500:
        kind = Unavailable
    elif 400 <= status < 500:
        kind = Refused
    said = f"{status} {_phrase(status)}".rstrip()
    detail = f": {body}" if body and not body.lstrip().startswith("<") else ""
    return kind(
        f"can't {verb.lower()} {url!r}: the server answered {said}{detail}",
        hint=_HINTS.get(status),
        status=status,
        url=url,
        body=body,
        headers=headers,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
