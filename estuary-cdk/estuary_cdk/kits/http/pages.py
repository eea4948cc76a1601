"""Paging schemes as values: where the items are, and where the next page is.

A scheme is a pure function from one page to the step that leads to the next. The client walks the
steps (`Client.pages`), at most `PAGES_MAX`, and never visits a position twice.

No scheme takes a short page for the last one: servers lower a page size silently, and the rest
would be lost. Where the server doesn't say that there is no more, an empty page ends the walk.

Paths into answers are dotted ("records.cursor"), or JSON pointers when they begin with a slash; ""
is the whole answer. `empty_status` is a status that means "no items" rather than a failure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from estuary_cdk.kits.http.address import resolved
from estuary_cdk.kits.http.answers import scalar_at, value_at
from estuary_cdk.kits.http.errors import PagingError

PAGES_MAX = 100_000

_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*(?:"[^"]*"|[^\s";,]*))*)')
_NEXT = re.compile(r'(?i);\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=[\s;]|$))')


@dataclass(frozen=True, slots=True)
class Step:
    """How to ask for a page: parameters to add to the first request, or a whole other address.

    `position` names the page; the same position twice in one walk is an error.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came: its number from 1, its items and the items on all pages before it.

    `address` is where it came from, `url` the same for people: free of secrets.
    """

    number: int
    items: int
    items_before: int
    body: bytes
    headers: Mapping[str, str]
    address: str
    url: str


class Paging(Protocol):
    """A paging scheme; see the module for the meaning of the two attributes."""

    @property
    def items(self) -> str: ...

    @property
    def empty_status(self) -> int | None: ...

    def first(self) -> Step: ...

    def after(self, page: Page) -> Step | None:
        """Return the step to the page after `page`, None when it was the last."""
        ...


@dataclass(frozen=True, slots=True)
class SinglePage:
    """Everything comes at once."""

    items: str = ""
    empty_status: int | None = None

    def first(self) -> Step:
        return Step()

    def after(self, page: Page) -> Step | None:
        del page
        return None


@dataclass(frozen=True, slots=True)
class CursorPages:
    """Each answer holds the cursor of the next page; none, null or "" ends the walk.

    The cursor goes back in the query parameter `parameter`, by default named like the last part of
    the path. Where the server sends a cursor even with the last page, `more` is the path of the
    boolean that says whether to go on.
    """

    items: str
    cursor: str
    parameter: str | None = None
    more: str | None = None
    empty_status: int | None = None

    def first(self) -> Step:
        return Step()

    def after(self, page: Page) -> Step | None:
        if self.more is not None and scalar_at(page.body, self.more, page.url) != "true":
            return None
        cursor = scalar_at(page.body, self.cursor, page.url)
        if not cursor:
            return None
        name = self.parameter or re.split(r"[./]", self.cursor)[-1]
        return Step({name: cursor}, position=f"cursor {cursor!r}")


@dataclass(frozen=True, slots=True)
class NextUrlPages:
    """Each answer holds the address of the next page, whole or relative; none ends the walk."""

    items: str
    next_url: str
    empty_status: int | None = None

    def first(self) -> Step:
        return Step()

    def after(self, page: Page) -> Step | None:
        address = scalar_at(page.body, self.next_url, page.url)
        if not address:
            return None
        url = resolved(page.address, address)
        return Step(url=url, position=f"address {url!r}")


@dataclass(frozen=True, slots=True)
class LinkHeaderPages:
    """The `Link` header with `rel="next"` (RFC 8288) leads on; without one the walk ends."""

    items: str = ""
    empty_status: int | None = None

    def first(self) -> Step:
        return Step()

    def after(self, page: Page) -> Step | None:
        for target, attributes in _LINK.findall(page.headers.get("Link", "")):
            if _NEXT.search(attributes):
                url = resolved(page.address, target)
                return Step(url=url, position=f"address {url!r}")
        return None


@dataclass(frozen=True, slots=True)
class OffsetPages:
    """Pages begin at a count of items; it advances by what really came.

    Ends at the count at path `total` where there is one, else at an empty page.
    """

    items: str
    limit: int = 100
    offset_parameter: str = "offset"
    limit_parameter: str = "limit"
    total: str | None = None
    empty_status: int | None = None

    def first(self) -> Step:
        return self._at(0)

    def after(self, page: Page) -> Step | None:
        seen = page.items_before + page.items
        if page.items == 0 or _reached(page, self.total, seen):
            return None
        return self._at(seen)

    def _at(self, offset: int) -> Step:
        return Step({self.offset_parameter: str(offset), self.limit_parameter: str(self.limit)})


@dataclass(frozen=True, slots=True)
class NumberedPages:
    """Pages are numbered from `first_number`.

    Ends at the number of pages at path `total_pages` where there is one, else at an empty page.
    """

    items: str
    size: int | None = None
    number_parameter: str = "page"
    size_parameter: str = "per_page"
    first_number: int = 1
    total_pages: str | None = None
    empty_status: int | None = None

    def first(self) -> Step:
        return self._at(1)

    def after(self, page: Page) -> Step | None:
        if page.items == 0 or _reached(page, self.total_pages, page.number):
            return None
        return self._at(page.number + 1)

    def _at(self, number: int) -> Step:
        size = {} if self.size is None else {self.size_parameter: str(self.size)}
        return Step({self.number_parameter: str(self.first_number + number - 1), **size})


def _reached(page: Page, path: str | None, seen: int) -> bool:
    if path is None or value_at(page.body, path, page.url) is None:
        return False
    total = scalar_at(page.body, path, page.url)
    if total is None or not total.isdecimal():
        raise PagingError(f"can't page through {page.url}: {path!r} is {total!r}, not a count")
    return seen >= int(total)
