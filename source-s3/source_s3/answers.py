"""The answers of S3 to listings, parsed at once.

botocore's parser of XML builds a value for every element, which takes longer than all else about a
listing. It lets who listens have the body before it is parsed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from xml.etree.ElementTree import Element, fromstring

from botocore.compat import unquote_str

from estuary_cdk.kits.files import StoredFile
from source_s3.listing import Page

ARCHIVED: Final = {"GLACIER", "DEEP_ARCHIVE"}
EVENT: Final = "before-parse.s3.ListObjectsV2"
BODY: Final = "Body"
EMPTY: Final = b"<ListBucketResult/>"


def intercept(client: Any) -> None:
    """Have a client's listings come as they are, under `BODY`."""
    client.meta.events.register(EVENT, _taken)


def _taken(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict[BODY] = response_dict["body"]
        response_dict["body"] = EMPTY


def page_of(answer: Mapping[str, Any]) -> tuple[Page, int]:
    """Return what a listing says, and how many of its files are archived: those are left out."""
    root = fromstring(answer[BODY])  # noqa: S314 - expat bounds what entities expand to
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    text = unquote_str if root.findtext(f"{space}EncodingType") == "url" else str
    files: list[StoredFile] = []
    last = ""
    archived = 0
    for contents in root.iterfind(f"{space}Contents"):
        said = _members(contents, len(space))
        last = text(said["Key"])
        if said.get("StorageClass") in ARCHIVED:
            archived += 1
            continue
        modified = datetime.fromisoformat(said["LastModified"])
        files.append(StoredFile(last, int(said["Size"]), said["ETag"], modified))
    prefixes = root.iterfind(f"{space}CommonPrefixes/{space}Prefix")
    folders = [text(each.text or "") for each in prefixes]
    token = root.findtext(f"{space}NextContinuationToken")
    return Page(files, last, token, folders), archived


def _members(element: Element, space: int) -> dict[str, str]:
    return {each.tag[space:]: each.text or "" for each in element}
