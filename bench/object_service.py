"""A loopback service that speaks as much of S3 as reading takes, and as fast as files can be sent.

    python bench/object_service.py DIRECTORY

The files of a directory are the objects of every bucket: ListObjectsV2 (one page), HeadObject and
GetObject with ranges and conditions, which the kernel sends. Signatures are accepted unchecked, so
that what is measured is who reads. It prints its address and serves until it is terminated.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

ENTRY = (
    "<Contents><Key>{}</Key><Size>{}</Size><ETag>&quot;{}&quot;</ETag>"
    "<LastModified>{}</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
)


def entry(key: str, size: int, etag: str, modified: datetime) -> str:
    """Return an object as a listing tells it."""
    return ENTRY.format(key, size, etag, modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"))


def listing(parts: Iterable[str]) -> web.Response:
    """Answer with what a listing says."""
    return web.Response(text=f"<ListBucketResult>{''.join(parts)}</ListBucketResult>")


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Run the service in a process of its own for the block; give its address."""
    command = [sys.executable, __file__, directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            yield service.stdout.readline().strip()
        finally:
            service.terminate()


def _application(directory: Path) -> web.Application:
    async def listed(request: web.Request) -> web.Response:
        prefix = request.query.get("prefix", "")
        found = sorted(each for each in directory.iterdir() if each.name.startswith(prefix))
        return listing(map(_entry, found))

    async def read(request: web.Request) -> web.StreamResponse:
        path = directory / request.match_info["key"]
        if not path.is_file():
            return web.Response(status=404)
        return web.FileResponse(path)

    application = web.Application()
    application.router.add_get("/{bucket}", listed)
    application.router.add_get("/{bucket}/", listed)
    application.router.add_get("/{bucket}/{key}", read)
    return application


def _entry(path: Path) -> str:
    found = path.stat()
    # As FileResponse tells and checks it.
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}"
    return entry(path.name, found.st_size, etag, datetime.fromtimestamp(found.st_mtime, UTC))


async def _serve(directory: Path) -> None:
    runner = web.AppRunner(_application(directory))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
