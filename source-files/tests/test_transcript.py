"""A golden transcript: every message of a scripted conversation, from spec to changes."""

from pathlib import Path

from estuary_cdk.kits.files import following, pulling
from estuary_cdk.testing.file_transcript import file_transcript, is_golden

GOLDEN = Path(__file__).with_name("transcript.txt")


async def test_the_conversation_is_as_it_was(task, root, monkeypatch):
    monkeypatch.setattr(following, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(pulling, "BINDINGS_AT_ONCE", 1)

    def put(path, content):
        place = root / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)

    task.config["prefixes"] = ["in/", "bad/"]
    names = {str(root): "DIRECTORY"}
    found = await file_transcript(task, put, lambda path: (root / path).unlink(), names)
    assert is_golden(found, GOLDEN), "run with UPDATE_SNAPSHOTS=true if meant so"
