"""Large content over connections that break: downloads that resume only what is provably the same.

A break is answered with a request for the missing range under `If-Range`, so the server itself
says whether the rest belongs to what was read before. Where it can't (no strong ETag, no old
enough date) or says no, the download ends in `ContentChanged` and must start again: half of one
version is never joined to half of another.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.http.client import Client, Parameters, Streamed
from estuary_cdk.kits.http.conditions import (
    Validators,
    content_range,
    resume_condition,
    validators,
)
from estuary_cdk.kits.http.encodings import decoded
from estuary_cdk.kits.http.errors import ContentChanged

RESUMES_MAX = 20
NOT_MODIFIED = 304
PARTIAL = 206

_RANGE_ANSWERS = frozenset({412, 416})


@dataclass(frozen=True, slots=True)
class Download:
    """What the server holds now, or that it still holds what is known.

    When `unchanged`, there are no blocks. Otherwise `blocks` yields the content once, in order:
    the stored bytes, with a `Content-Encoding` undone that was not asked for. `bytes_total` is the
    length of the body when the server told it (of the encoded one, if it encoded). Reading raises
    ContentChanged when the download must start again, and TransientError when `resumes_max` breaks
    were not enough. After `abandon`, which ends the connection, nothing more can be read.
    """

    unchanged: bool
    validators: Validators
    headers: Mapping[str, str]
    url: str
    bytes_total: int | None
    blocks: AsyncIterator[bytes] = field(repr=False)
    abandon: Callable[[], Awaitable[None]] = field(repr=False)


@asynccontextmanager
async def download(
    client: Client,
    path: str,
    *,
    known: Validators | None = None,
    parameters: Parameters | None = None,
    headers: Mapping[str, str] | None = None,
    resumes_max: int = RESUMES_MAX,
) -> AsyncGenerator[Download]:
    """Give the content at `path`, unless it is still the one that `known` describes."""
    conditions = known.conditional_headers() if known else {}
    async with AsyncExitStack() as stack:
        body = _Body(client, path, parameters, dict(headers or {}), stack)
        first = await body.opened(conditions, frozenset({NOT_MODIFIED} if conditions else ()))
        unchanged = first.status == NOT_MODIFIED
        blocks = body.blocks(first, resumes_max)
        content = decoded(blocks, first.headers.get("Content-Encoding", ""), first.url)
        async with aclosing(content):
            yield Download(
                unchanged=unchanged,
                validators=validators(first.headers),
                headers=first.headers,
                url=first.url,
                bytes_total=None if unchanged else _length(first.headers),
                blocks=_nothing() if unchanged else content,
                abandon=stack.aclose,
            )


@dataclass(frozen=True, slots=True)
class _Body:
    client: Client
    path: str
    parameters: Parameters | None
    headers: Mapping[str, str]
    stack: AsyncExitStack

    async def opened(self, extra: Mapping[str, str], accept: frozenset[int]) -> Streamed:
        await self.stack.aclose()
        return await self.stack.enter_async_context(
            self.client.stream(
                self.path,
                parameters=self.parameters,
                headers={**self.headers, **extra},
                accept=accept,
            )
        )

    async def blocks(self, first: Streamed, resumes_max: int) -> AsyncGenerator[bytes]:
        """Yield the raw bytes of the version that `first` began, across breaks."""
        offset, skip, resumes = 0, 0, 0
        current = first
        while True:
            try:
                async for block in current.blocks:
                    fresh = block[skip:]
                    skip -= len(block) - len(fresh)
                    if fresh:
                        offset += len(fresh)
                        yield fresh
                _require_all(first, offset)
            except TransientError as error:
                resumes += 1
                if resumes > resumes_max:
                    raise
                condition = _condition(first, offset, error)
            else:
                return
            await self.client.exchanges.paused(resumes)
            current, skip = await self._resumed(first, condition, offset)

    async def _resumed(
        self, first: Streamed, condition: dict[str, str], offset: int
    ) -> tuple[Streamed, int]:
        """Return the rest, and how many of its bytes were read before."""
        current = await self.opened(condition, _RANGE_ANSWERS)
        same = validators(current.headers) == validators(first.headers)
        encoding = first.headers.get("Content-Encoding", "")
        if current.headers.get("Content-Encoding", "") == encoding:
            if current.status == PARTIAL and _continues(current, first, offset):
                return current, 0
            if current.status == 200 and same:
                return current, offset
        raise ContentChanged(
            f"can't resume {first.url} at byte {offset}: its content changed meanwhile"
        )


def _condition(first: Streamed, offset: int, error: TransientError) -> dict[str, str]:
    """Return the headers that ask for the rest, or for all of it while nothing was handed on."""
    if offset == 0:
        return {}
    condition = resume_condition(first.headers)
    if condition is None:
        raise ContentChanged(
            f"can't resume {first.url} at byte {offset}: the server doesn't say whether its "
            "content is still the same"
        ) from error
    return {"Range": f"bytes={offset}-", "If-Range": condition}


def _continues(current: Streamed, first: Streamed, offset: int) -> bool:
    part = content_range(current.headers)
    etag, total = validators(current.headers).etag, _length(first.headers)
    return (
        part is not None
        and part.start == offset
        and etag in {None, validators(first.headers).etag}
        and (part.total is None or total is None or part.total == total)
    )


def _require_all(first: Streamed, offset: int) -> None:
    total = _length(first.headers)
    if total is not None and offset < total:
        raise TransientError(f"can't read {first.url}: {offset} of {total} bytes came")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() else None


async def _nothing() -> AsyncGenerator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for block in nothing:
        yield block
