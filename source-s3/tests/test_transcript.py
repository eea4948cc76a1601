"""A golden transcript: every message of a scripted conversation, from spec to changes.

Names that differ from run to run are replaced by what they are. With UPDATE_SNAPSHOTS=true in the
environment the transcript is written anew.
"""

import gzip
import io
import os
import zipfile
from pathlib import Path

from estuary_cdk.kits.files import following, pulling
from estuary_cdk.testing.runtime import CaptureRuntime
from estuary_cdk.testing.transcript import Transcript
from source_s3 import capture

GOLDEN = Path(__file__).with_name("transcript.txt")
PATTERNS = {
    # What is compressed differs from one version of zlib to the next.
    r'"read":\{"0":"[^"]+"\}': '"read":{"0":"FILES"}',
    r'"(recipe|sha256)":"[0-9a-f]+"': r'"\1":"DIGEST"',
}


def zipped(**entries: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()


async def test_the_conversation_is_as_it_was(bucket, monkeypatch):
    # The order in which files and streams end is nobody's promise where several are read at once.
    monkeypatch.setattr(following, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(pulling, "BINDINGS_AT_ONCE", 1)
    transcript = Transcript(capture.serve, without="parser")
    runtime = CaptureRuntime(transcript.serve)
    bucket.config["advanced"] |= {"onDelete": "delete", "onError": "skip"}
    bucket.config["prefixes"] = ["in/", "bad/"]
    rows = 'id,name,score\n1,"Ann ""A"" ü",1.50\n02,Bob,\n9007199254740993,,-1e3\n'
    bucket.put("in/a.csv", rows.encode())
    bucket.put("in/b.csv.gz", gzip.compress(b"id\n4\n"))
    bucket.put("in/c.zip", zipped(one="id\n5\n", two="id\n6\n"))
    bucket.put("in/d.jsonl", b'{"id":7,"nested":{"a":[1.0,null]}}\n{"_meta":{"own":1},"id":8}\n')
    bucket.put("in/e.json", b'[{"id":9}]')
    bucket.put("in/empty.csv", b"")
    bucket.put("bad/f.json", b'[{"id":10}')
    await runtime.spec()
    built = await runtime.build(bucket.config)
    await runtime.apply(built)
    first = await runtime.run(built)
    bucket.put("in/a.csv", b"id,name,score\n1,Ann,2\n")
    bucket.put("in/aa.csv", b"id\n11\n")
    bucket.remove("in/b.csv.gz")
    bucket.put("bad/f.json", b'[{"id":10}]')
    second = await runtime.run(built, state=first.state)
    await runtime.run(built, state=second.state)
    found = transcript.text({bucket.endpoint: "ENDPOINT", bucket.name: "BUCKET"}, PATTERNS)
    if os.environ.get("UPDATE_SNAPSHOTS") == "true":
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), "run with UPDATE_SNAPSHOTS=true if meant so"
