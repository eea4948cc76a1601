"""A golden transcript: every message of a scripted conversation, from spec to changes."""

from pathlib import Path

from estuary_cdk.kits.files import following, pulling
from estuary_cdk.testing.file_transcript import file_transcript, is_golden

GOLDEN = Path(__file__).with_name("transcript.txt")


async def test_the_conversation_is_as_it_was(task, bucket, endpoint, monkeypatch):
    monkeypatch.setattr(following, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(pulling, "BINDINGS_AT_ONCE", 1)
    task.config["prefixes"] = ["in/", "bad/"]
    names = {endpoint: "ENDPOINT", bucket.name: "BUCKET"}

    def put(path, content):
        bucket.blob(path).upload_from_string(content)

    found = await file_transcript(task, put, bucket.delete_blob, names)
    assert is_golden(found, GOLDEN), "run with UPDATE_SNAPSHOTS=true if meant so"
