"""A private Google Cloud Storage service for tests: an emulator on a loopback port.

What the emulator leaves out and captures need is added: pages, where a listing starts, and reads of
one generation alone.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

PAGE_FILES = 1000
BUCKET = r"/storage/v1/b/(?P<bucket_name>[-.\w]+)/o"


@contextmanager
def gcs() -> Iterator[str]:
    """Run a service without any bucket; give its address."""
    file = {"GET": _get, "DELETE": objects.delete, "PATCH": objects.patch}
    ours = (
        (rf"^{BUCKET}$", {"GET": _ls}),
        (rf"^(?:/download)?{BUCKET}/(?P<object_id>.*[^/]+)$", file),
    )
    # It reads its routes at every request.
    before = server.HANDLERS
    server.HANDLERS = (*ours, *before)
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    service = server.Server("127.0.0.1", 0, in_memory=True)
    service.start()
    try:
        yield f"http://127.0.0.1:{service._api._httpd.server_port}"  # noqa: SLF001 - tells it nowhere
    finally:
        service.stop()
        server.HANDLERS = before


def _ls(request: Any, response: Any, storage: Any, *_: Any, **__: Any) -> None:
    query = {name: values[0] for name, values in request.query.items()}
    try:
        found, _prefixes = storage.get_file_list(request.params["bucket_name"], query.get("prefix"))
    except NotFound:
        response.status = HTTPStatus.NOT_FOUND
        return
    start = (query.get("pageToken") or query.get("startOffset") or "").encode()
    items = sorted((each["name"].encode(), each) for each in found)
    names = [name for name, _each in items if name >= start]
    by_name = dict(items)
    size = int(query.get("maxResults") or PAGE_FILES)
    page: dict[str, Any] = {"items": [by_name[name] for name in names[:size]]}
    if len(names) > size:
        page["nextPageToken"] = names[size].decode()
    response.json(page)


def _get(request: Any, response: Any, storage: Any, *_: Any, **__: Any) -> None:
    place = (request.params["bucket_name"], request.params["object_id"])
    wanted = request.query.get("generation", [None])[0]
    try:
        is_other = wanted not in {None, storage.get_file_obj(*place)["generation"]}
    except NotFound:
        is_other = True
    if is_other:
        response.status = HTTPStatus.NOT_FOUND
    elif request.path.startswith("/download"):
        objects.download(request, response, storage)
    else:
        objects.get(request, response, storage)
