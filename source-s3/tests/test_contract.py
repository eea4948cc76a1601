"""The capture keeps what every capture promises."""

import gzip
from functools import partial

import pytest

from estuary_cdk.kits.files import outbox
from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject
from source_s3 import capture

SECRET = "correct horse battery staple"


@pytest.fixture
def subject(bucket, monkeypatch) -> CaptureSubject:
    """A bucket with some files, and checkpoints after few documents."""
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 4)
    bucket.put("a.csv.gz", gzip.compress(b"id,v\n" + b"".join(b"%d,x\n" % n for n in range(9))))
    bucket.put("b.jsonl", b'{"id":1}\n{"id":2}\n')
    bucket.put("c/d.json", b'[{"id":1.0},{"nested":{"a":[]}}]')
    return CaptureSubject(
        serve=partial(capture.serve, clock=bucket.clock),
        config=bucket.config,
        refused={**bucket.config, "bucket": "nobody-has-this"},
        secrets=[SECRET],
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, subject):
    await promise(subject)
