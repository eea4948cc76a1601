"""What a server says about the version of its content, and how to ask about it later (RFC 9110)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# A file may change twice within the second that Last-Modified resolves. By the time an answer is
# dated this much later, a further change would have shown another date.
DATE_MARGIN = timedelta(seconds=60)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Validators:
    """`ETag` and `Last-Modified` as the server spelled them; both None when it said neither."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def strong_etag(self) -> str | None:
        """The ETag if it promises equality byte for byte."""
        return None if self.etag is None or self.etag.startswith("W/") else self.etag

    def conditional_headers(self) -> dict[str, str]:
        """Return the headers that ask for the content only if it changed; {} without validators."""
        if self.etag is not None:
            return {"If-None-Match": self.etag}
        if self.last_modified is not None:
            return {"If-Modified-Since": self.last_modified}
        return {}


def validators(headers: Mapping[str, str]) -> Validators:
    """Return what the headers of an answer say about its version."""
    return Validators(headers.get("ETag") or None, headers.get("Last-Modified") or None)


def resume_condition(headers: Mapping[str, str]) -> str | None:
    """Return the `If-Range` value that proves a later range belongs to the same bytes, if any.

    That is a strong ETag, or without any ETag a `Last-Modified` that lay `DATE_MARGIN` back when
    the answer was made.
    """
    version = validators(headers)
    if version.etag is not None:
        return version.strong_etag
    modified = _moment(version.last_modified)
    dated = _moment(headers.get("Date"))
    if modified is None or dated is None or dated - modified < DATE_MARGIN:
        return None
    return version.last_modified


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes a 206 holds, both ends included; `total` is None when the server doesn't know."""

    start: int
    end: int
    total: int | None


def content_range(headers: Mapping[str, str]) -> ContentRange | None:
    """Return the parsed `Content-Range`, or None without a readable one."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None
    start, end, total = match.groups()
    return ContentRange(int(start), int(end), None if total == "*" else int(total))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
