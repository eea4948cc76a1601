"""The keys of a bucket in order, several stretches of them listed at once.

Pages of one listing can only be asked for one after the other. Where there is more than one, the
names of folders tell where to cut the keys into stretches; each is listed by itself, a few at a
time, and handed on in order. Without folders there is nothing to cut at.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from estuary_cdk.kits.files import StoredFile

STRETCHES_MAX: Final = 64
STRETCHES_AT_ONCE: Final = 8
PAGES_AHEAD: Final = 16
FOLDER_PAGES_MAX: Final = 3
DEPTH_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its files, its last key, how to go on (None at the end), its folders."""

    files: Sequence[StoredFile]
    last: str
    token: str | None
    folders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What one answer is asked for: keys with a prefix, beyond `after` or on from `token`.

    With `folders`, keys that have a slash behind the prefix are told by folder.
    """

    prefix: str
    after: str = ""
    token: str | None = None
    folders: bool = False


Ask = Callable[[Question], Awaitable[Page]]
Pages = asyncio.Queue[Sequence[StoredFile] | Exception | None]


async def in_order(ask: Ask, prefix: str, after: str) -> AsyncGenerator[Sequence[StoredFile]]:
    """Yield all files below a prefix and beyond `after`, in order of their keys' bytes."""
    page = await ask(Question(prefix, after))
    yield page.files
    if page.token is None:
        return
    cuts = await _cuts(ask, prefix, page.last)
    if not cuts:
        async for files in _stretch(ask, Question(prefix, after, page.token), None):
            yield files
        return
    bounds: list[str | None] = [page.last, *cuts, None]
    stretches = (_stretch(ask, Question(prefix, low or ""), high) for low, high in pairwise(bounds))
    async with aclosing(_several(stretches)) as several:
        async for files in several:
            yield files


async def _cuts(ask: Ask, prefix: str, after: str) -> list[str]:
    """Return keys to cut at, beyond `after`: names of folders, few enough and evenly spread."""
    for _ in range(DEPTH_MAX):
        found: list[str] = []
        question = Question(prefix, after, folders=True)
        for _ in range(FOLDER_PAGES_MAX):
            page = await ask(question)
            found += page.folders
            if page.token is None or not page.folders:
                break
            question = Question(prefix, after, page.token, folders=True)
        if len(found) != 1 or not found[0].startswith(prefix):
            break
        prefix = found[0]
    folders = sorted({name for name in found if name > after}, key=str.encode)
    step = -(-len(folders) // STRETCHES_MAX) or 1
    return folders[::step]


async def _stretch(
    ask: Ask, question: Question, high: str | None
) -> AsyncGenerator[Sequence[StoredFile]]:
    """Yield the files of one listing up to and with the key `high`."""
    page = await ask(question)
    end = None if high is None else high.encode()
    while True:
        if end is not None and page.last.encode() > end:
            yield [file for file in page.files if file.path.encode() <= end]
            return
        if page.token is None:
            yield page.files
            return
        # The next page is on its way while this one is worked on.
        following = asyncio.ensure_future(ask(Question(question.prefix, token=page.token)))
        try:
            yield page.files
            page = await following
        finally:
            following.cancel()


async def _several(
    stretches: Iterator[AsyncGenerator[Sequence[StoredFile]]],
) -> AsyncGenerator[Sequence[StoredFile]]:
    """Yield what the stretches do, one after the other, while the next of them are listed."""
    ahead: deque[tuple[Pages, asyncio.Task[None]]] = deque()
    try:
        while True:
            while len(ahead) < STRETCHES_AT_ONCE and (stretch := next(stretches, None)):
                pages: Pages = asyncio.Queue(PAGES_AHEAD)
                ahead.append((pages, asyncio.ensure_future(_listed(stretch, pages))))
            if not ahead:
                return
            while (files := await ahead[0][0].get()) is not None:
                if isinstance(files, Exception):
                    raise files
                yield files
            ahead.popleft()
    finally:
        for _, task in ahead:
            task.cancel()
        await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)


async def _listed(stretch: AsyncGenerator[Sequence[StoredFile]], pages: Pages) -> None:
    """Put all pages of a stretch, then None, or what went wrong instead of the rest."""
    end: Exception | None = None
    try:
        async with aclosing(stretch):
            async for files in stretch:
                await pages.put(files)
    except Exception as error:  # noqa: BLE001 - raised where the pages are taken
        end = error
    await pages.put(end)
