"""How a stream's address is asked, and what its answer says about the version of the file."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit, urlunsplit

import msgspec

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.kits.files import Hints, Version
from estuary_cdk.kits.http import Client, Download, Validators, download
from estuary_cdk.kits.http.conditions import resume_condition, validators
from source_http.config import Stream


def client(stream: Stream, clock: Clock | None = None) -> Client:
    """Return the client of a stream, to be entered."""
    return Client(
        stream.url,
        clock=clock or SystemClock(),
        auth=stream.credentials.auth(),
        headers={header.key: header.value for header in stream.headers.items},
    )


def opened(
    connected: Client, stream: Stream, known: Version | None = None
) -> AbstractAsyncContextManager[Download]:
    """Ask for the stream's file, unless it is still `known`."""
    version = Validators(known.etag, known.last_modified) if known else None
    return download(connected, stream.url, known=version)


def file_name(stream: Stream) -> str:
    """Return the stream's address without what may be secret: its query."""
    parts = urlsplit(stream.url.strip())
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def hints(headers: Mapping[str, str]) -> Hints:
    """Return what an answer says about the format of its file."""
    return Hints(headers.get("Content-Type"))


def version(headers: Mapping[str, str]) -> Version:
    """Return the version an answer claims to be.

    A modification date counts only when the file can't change again without changing it.
    """
    said = validators(headers)
    settled = said.etag is None and resume_condition(headers) is not None
    return Version(etag=said.etag, last_modified=said.last_modified if settled else None)


def prologue(headers: Mapping[str, str]) -> bytes:
    """Return what besides a file's bytes decides how they are read, as bytes."""
    return headers.get("Content-Type", "").encode() + b"\n"


def recipe(stream: Stream, key: Sequence[str] | None) -> str:
    """Return a digest of the settings that decide which documents a stream becomes."""
    settings = [stream.url, key, stream.parser.model_dump(mode="json")]
    encoded = msgspec.json.encode(settings, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:32]
