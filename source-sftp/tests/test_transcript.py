"""A golden transcript: every message of a scripted conversation, from spec to changes."""

import os
from itertools import count
from pathlib import Path
from urllib.parse import quote

from estuary_cdk.kits.files import following, pulling
from estuary_cdk.testing.file_transcript import file_transcript, is_golden

GOLDEN = Path(__file__).with_name("transcript.txt")


async def test_the_conversation_is_as_it_was(task, root, server, monkeypatch):
    monkeypatch.setattr(following, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(pulling, "BINDINGS_AT_ONCE", 1)
    seconds = count(1_700_000_000)

    def put(path, content):
        place = root / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
        # What changed just now is read once more, which is another test's.
        os.utime(place, (second := next(seconds), second))

    key = task.config["credentials"]["sshKey"].replace("\n", "\\n")
    places = {str(root): "/DIRECTORY", quote(str(root), safe=""): "%2FDIRECTORY"}
    names = {**places, str(root)[1:]: "DIRECTORY", server.address: "ADDRESS", key: "KEY"}
    found = await file_transcript(task, put, lambda path: (root / path).unlink(), names)
    assert is_golden(found, GOLDEN), "run with UPDATE_SNAPSHOTS=true if meant so"
