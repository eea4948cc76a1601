"""Addresses: joined and encoded, who is the same origin, and where a redirect leads.

Credentials belong to an origin: scheme, host and port. They go along to the same origin and to
the https twin of an http origin on the same host (both on their default ports), nowhere else.
"""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from yarl import URL

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.http.transport import Request

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 10

# Headers that describe what is asked for rather than who asks; these go to any host.
IMPERSONAL_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "user-agent",
    }
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSAFE = frozenset(' "<>\\^`{|}')


def checked(url: str) -> str:
    """Return `url` encoded and without its fragment; ConfigError unless it is http(s) with a host.

    What is already encoded stays byte for byte, so signed addresses survive.
    """
    problem = "can't use an address"
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{problem}: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{problem} of {parts.hostname}: it holds a user name or password",
            hint="put them into the credentials",
        )
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(
            f"{problem}: {url[:100].partition('?')[0]!r} isn't an http(s) address",
            hint="write it like https://example.com/path",
        )
    plain = urlunsplit(parts._replace(fragment=""))
    if plain.isascii() and plain.isprintable() and not _UNSAFE.intersection(plain):
        return plain
    try:
        return str(URL(plain))
    except ValueError as error:
        raise ConfigError(f"{problem} of {parts.hostname}: {error}") from error


def joined(base: str, path: str) -> str:
    """Return the address of `path` below `base`; "" is `base` itself, a whole address stays."""
    if path.startswith(("http://", "https://")):
        return checked(path)
    if not path:
        return base
    below, _, query = path.partition("?")
    parts = urlsplit(base)
    whole = "&".join(filter(None, [parts.query, query]))
    return checked(
        urlunsplit(
            parts._replace(path=f"{parts.path.rstrip('/')}/{below.lstrip('/')}", query=whole)
        )
    )


def resolved(base: str, reference: str) -> str:
    """Return the address that a server's `reference`, whole or relative to `base`, leads to."""
    try:
        return checked(urljoin(base, reference))
    except ValueError as error:
        raise ConfigError(f"can't use an address the server gave: {error}") from error


def with_parameters(url: str, parameters: Mapping[str, str]) -> str:
    """Return `url` with query parameters added; one that was there already is replaced."""
    if not parameters:
        return url
    parts = urlsplit(url)
    kept = [
        pair
        for pair in parts.query.split("&")
        if pair and pair.partition("=")[0] not in {urlencode({n: ""})[:-1] for n in parameters}
    ]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(parameters)])))


def trusted(origin: str, url: str) -> bool:
    """Say whether credentials for `origin` may go to `url`."""
    ours, theirs = _origin(origin), _origin(url)
    upgraded = ("https", ours[1], 443)
    return theirs == ours or (ours[0] == "http" and ours[2] == 80 and theirs == upgraded)


def redirected(request: Request, status: int, location: str) -> Request:
    """Return the request that follows a redirect.

    Within the same origin everything goes along. To another origin only impersonal headers do, and
    neither a request body nor an unencrypted hop after an encrypted one is allowed (ConfigError).
    """
    url = resolved(request.url, location)
    place = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    turned = replace(request, url=url)
    if status == 303 or (status in {301, 302} and request.method == "POST"):
        method = "HEAD" if request.method == "HEAD" else "GET"
        turned = replace(turned, method=method, body=None)
    if trusted(request.url, url):
        return turned
    if request.url.startswith("https:") and url.startswith("http:"):
        raise ConfigError(f"can't follow a redirect to {place}: it leaves https for http")
    if turned.body is not None:
        raise ConfigError(
            f"can't follow a redirect to {place}: it would carry data to another host"
        )
    return replace(turned, headers=impersonal(request.headers))


def impersonal(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that may go to any host."""
    return {name: value for name, value in headers.items() if name.lower() in IMPERSONAL_HEADERS}


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
