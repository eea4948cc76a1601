"""The capture keeps what every capture promises."""

import gzip

import pytest

from estuary_cdk.kits.files import outbox
from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject


@pytest.fixture
def subject(task, root, monkeypatch) -> CaptureSubject:
    """A directory with some files, and checkpoints after few documents."""
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 4)
    packed = gzip.compress(b"id,v\n" + b"".join(b"%d,x\n" % n for n in range(9)))
    (root / "a.csv.gz").write_bytes(packed)
    (root / "b.jsonl").write_bytes(b'{"id":1}\n{"id":2}\n')
    (root / "c").mkdir()
    (root / "c/d.json").write_bytes(b'[{"id":1.0},{"nested":{"a":[]}}]')
    return CaptureSubject(
        serve=task.capture.serve,
        config=task.config,
        refused={**task.config, "directory": "/missing"},
        secrets=[task.config["credentials"]["sshKey"]],
    )


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, subject):
    await promise(subject)
