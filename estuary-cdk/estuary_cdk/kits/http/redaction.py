"""Keeps secrets out of everything that people read: errors and logs.

Two nets: the very secrets that a client signs with are replaced wherever they occur, in any of the
spellings they travel in; and query parameters that are named like a secret lose their value.
"""

import re
from base64 import b64encode
from collections import OrderedDict
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

MASK = "***"
SECRETS_MAX = 64
SECRET_CHARS_MIN = 4

_SECRET_NAME = re.compile(
    r"(?i)(token|secret|passw|pwd|signature|\bsig\b|credential|\bauth\b|authorization|api_?-?key|\bkey\b|access_?key)"
)


class Redaction:
    """The secrets of one client; the last `SECRETS_MAX` are remembered, as tokens come and go.

    Secrets of fewer than `SECRET_CHARS_MIN` characters are not searched for in text: masking them
    would garble it and give their length away.
    """

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, None] = OrderedDict()

    def add(self, *secrets: str) -> None:
        for secret in secrets:
            for spelling in _spellings(secret):
                self._secrets[spelling] = None
                self._secrets.move_to_end(spelling)
        while len(self._secrets) > SECRETS_MAX:
            self._secrets.popitem(last=False)

    def text(self, text: str) -> str:
        """Return `text` with every known secret masked."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def url(self, url: str) -> str:
        """Return `url` for people: user info, known secrets and secret parameters masked."""
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        query = parts.query
        pairs = parse_qsl(query, keep_blank_values=True)
        if any(_SECRET_NAME.search(name) for name, _ in pairs):
            masked = [(n, MASK if _SECRET_NAME.search(n) else value) for n, value in pairs]
            query = urlencode(masked, safe="*")
        return self.text(urlunsplit(parts._replace(netloc=place, query=query)))


def _spellings(secret: str) -> set[str]:
    if len(secret) < SECRET_CHARS_MIN:
        return set()
    encoded = b64encode(secret.encode()).decode()
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    return {secret, *quoted, encoded, encoded.rstrip("=")}
