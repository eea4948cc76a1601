"""How long 100,000 small files take to be listed and decided: by the kit alone, and from S3.

    .venv/bin/python bench/listing.py

The service is one of our own on a loopback port that has its answers ready; its CPU seconds are in
the figures, since it runs in the same process. Nothing is read: no file has changed.
"""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from object_service import entry, listing

from estuary_cdk.capture.state import merged
from estuary_cdk.kits.files import Selection, StoredFile
from estuary_cdk.kits.files.folder import Folder, FolderState
from estuary_cdk.kits.files.following import Following, Outcome
from estuary_cdk.kits.files.stores import Store
from source_s3.config import Config
from source_s3.store import opened

PAGE_FILES = 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(number: int) -> str:
    """Return the name of a file: a thousand in each folder."""
    return f"logs/{number // 1000:04}/part-{number % 1000:04}.jsonl"


class Files:
    """So many files in memory, listed a page at a time."""

    def __init__(self, count: int) -> None:
        self._files = [StoredFile(key(n), 20, f'"{n:032x}"', NOW) for n in range(count)]

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List all files; the arguments stay empty here."""
        del prefix, after
        for start in range(0, len(self._files), PAGE_FILES):
            yield self._files[start : start + PAGE_FILES]

    async def look(self, path: str) -> StoredFile | None:
        """Nothing is looked at."""
        raise NotImplementedError(path)

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Return the same short line for each."""
        del file, start
        return b'{"id":1,"name":"a"}\n'[:size]


async def swept(store: Store, state: dict[str, object]) -> tuple[Outcome, dict[str, object]]:
    """Sweep once; return what came of it, and the state as it is kept."""

    async def commit(documents: list[bytes], patch: dict[str, object], _: Sequence[bytes]) -> None:
        nonlocal state
        del documents
        state = merged(state, msgspec.json.decode(msgspec.json.encode(patch)))

    folder = Folder(FolderState.model_validate(state), "recipe")
    outcome = await Following(store, folder, Selection(), commit).sweep()
    return outcome, state


@asynccontextmanager
async def service(count: int) -> AsyncIterator[str]:
    """Serve listings of so many files."""
    entries = [(key(n), entry(key(n), 20, f"{n:032x}", NOW)) for n in range(count)]
    folders = sorted({name.rpartition("/")[0] + "/" for name, _ in entries})

    async def listed(request: web.Request) -> web.Response:
        query = request.query
        if "delimiter" in query:
            told = folders if query.get("prefix") == "logs/" else ["logs/"]
            return listing(f"<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>" for f in told)
        after = query.get("continuation-token") or query.get("start-after", "")
        start = position(after)
        page = entries[start : start + PAGE_FILES]
        parts = [each for _, each in page]
        if start + PAGE_FILES < count:
            parts.append(f"<NextContinuationToken>{page[-1][0]}</NextContinuationToken>")
        return listing(parts)

    def position(after: str) -> int:
        if not after:
            return 0
        folder, _, name = after.removeprefix("logs/").partition("/")
        return int(folder) * 1000 + (int(name[5:9]) + 1 if name else 0)

    application = web.Application()
    application.router.add_get("/{tail:.*}", listed)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def report(what: str, began: tuple[float, float], outcome: Outcome) -> None:
    """Print what a sweep cost."""
    cpu, wall = spent()
    sys.stdout.write(
        f"{what}: {outcome.listed} listed, {outcome.read} read, "
        f"{cpu - began[0]:.2f} CPU s, {wall - began[1]:.2f} s\n"
    )


def spent() -> tuple[float, float]:
    """Return CPU seconds of this process, and the time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, time.perf_counter()


async def main(count: int) -> None:
    """Measure, and print a line for each."""
    files = Files(count)
    began = spent()
    outcome, state = await swept(files, {})
    report("read first, in memory", began, outcome)
    sys.stdout.write(f"state: {len(msgspec.json.encode(state)) / count:.1f} bytes a file\n")
    began = spent()
    outcome, _ = await swept(files, state)
    report("listed and decided, in memory", began, outcome)
    async with service(count) as endpoint:
        config = Config.model_validate(
            {
                "bucket": "files",
                "credentials": {"auth_type": "AWSAnonymous"},
                "advanced": {"endpoint": endpoint},
            }
        )
        async with opened(config) as store:
            began = spent()
            outcome, _ = await swept(store, state)
            report("listed and decided, from S3", began, outcome)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    asyncio.run(main(parser.parse_args().files))
