"""The capture keeps what every capture promises."""

import gzip

import pytest

from estuary_cdk.kits.files import outbox
from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject


@pytest.fixture
def subject(task, bucket, monkeypatch) -> CaptureSubject:
    """A bucket with some files, and checkpoints after few documents."""
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 4)
    packed = gzip.compress(b"id,v\n" + b"".join(b"%d,x\n" % n for n in range(9)))
    bucket.blob("a.csv.gz").upload_from_string(packed)
    bucket.blob("b.jsonl").upload_from_string(b'{"id":1}\n{"id":2}\n')
    bucket.blob("c/d.json").upload_from_string(b'[{"id":1.0},{"nested":{"a":[]}}]')
    return CaptureSubject(
        serve=task.capture.serve,
        config=task.config,
        refused={**task.config, "bucket": "nobody-has-this"},
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, subject):
    await promise(subject)
