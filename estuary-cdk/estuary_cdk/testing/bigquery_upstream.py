"""The emulator of BigQuery behind the front: one request at a time goes on to it.

It has one connection to its database, so that what clients ask for at the same time would get into
each other's transactions.
"""

import fnmatch
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from estuary_cdk.testing.bigquery_jobs import Asked
from estuary_cdk.testing.bigquery_tables import Refused

_DROPPED: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "date", "server", "transfer-encoding"}
)


class Upstream:
    """Connections to the emulator, and to the store whose files loads name."""

    def __init__(self, address: str, files: Path) -> None:
        self.address = address
        self.store: str | None = None
        self._files = files
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open what is needed."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def forward(self, asked: Asked) -> web.Response:
        """Hand a request on, and its answer back."""
        assert self._session is not None
        url = URL(self.address + asked.target, encoded=True)
        async with self._session.request(
            asked.method,
            url,
            headers=_kept(asked.headers),
            data=BytesIO(asked.body),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            return web.Response(status=answer.status, body=body, headers=_kept(answer.headers))

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Ask for a path; returns the status and the answer."""
        text = b"" if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        answer = await self.forward(Asked(method, path, headers, text))
        return answer.status, decoded(answer)

    async def run(self, project: str, sql: str, settings: Mapping[str, Any]) -> None:
        """Run a statement in the emulator's own words; raises Refused."""
        query = {"useLegacySql": False, **settings, "query": sql}
        reference = {"projectId": project, "jobId": f"front_{uuid4().hex}"}
        body = {"jobReference": reference, "configuration": {"query": query}}
        _status, answer = await self.ask("POST", f"/bigquery/v2/projects/{project}/jobs", body)
        error = answer.get("error") or (answer.get("status") or {}).get("errorResult")
        if error is not None:
            reason = error.get("reason") or error["errors"][0]["reason"]
            raise Refused(reason, error["message"])

    async def fetch(self, address: str) -> None:
        """Put files of the store (`gs://`, with `*`) where the emulator looks for them."""
        if self.store is None:
            return
        assert self._session is not None
        parts = urlsplit(address)
        bucket, pattern = parts.netloc, parts.path.removeprefix("/")
        listing = f"{self.store}/storage/v1/b/{bucket}/o"
        query = {"prefix": pattern.partition("*")[0]}
        while True:
            async with self._session.get(listing, params=query) as answer:
                page = msgspec.json.decode(await answer.read(), type=dict[str, Any])
            names = [each["name"] for each in page.get("items") or ()]
            for name in fnmatch.filter(names, pattern):
                url = URL(f"{listing}/{quote(name, safe='')}?alt=media", encoded=True)
                async with self._session.get(url) as answer:
                    goal = self._files / bucket / name
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    goal.write_bytes(await answer.read())
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]


def decoded(answer: web.Response) -> dict[str, Any]:
    """Read an answer; one without text says nothing."""
    assert isinstance(answer.body, bytes)
    try:
        return msgspec.json.decode(answer.body or b"{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _DROPPED}
