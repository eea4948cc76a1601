"""A scripted conversation with a capture of files, the same for every store: a golden transcript.

    text = await file_transcript(task, put, remove, {"/tmp/x": "DIRECTORY"})
    assert is_golden(text, Path(__file__).with_name("transcript.txt"))

Files of several kinds are captured, then some change, come and go, and a bad one is mended. Names
that differ from run to run are replaced by what they are.
"""

import gzip
import io
import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from estuary_cdk.testing.file_task import FileTask
from estuary_cdk.testing.runtime import CaptureRuntime
from estuary_cdk.testing.transcript import Transcript

Put = Callable[[str, bytes], object]
Remove = Callable[[str], object]

PATTERNS: Final = {
    # What is compressed differs from one version of zlib to the next.
    r'"read":\{"0":"[^"]+"\}': '"read":{"0":"FILES"}',
    r'"(recipe|sha256)":"[0-9a-f]+"': r'"\1":"DIGEST"',
}


async def file_transcript(
    task: FileTask, put: Put, remove: Remove, names: Mapping[str, str]
) -> str:
    """Return all that passes; the task's streams are all of the files, or in/ and bad/.

    The files of one stream, and the streams, have to be read one at a time: the order in which
    several end is nobody's promise.
    """
    transcript = Transcript(partial(task.capture.serve, clock=task.clock), without="parser")
    runtime = CaptureRuntime(transcript.serve)
    task.config.setdefault("advanced", {}).update({"onDelete": "delete", "onError": "skip"})
    rows = 'id,name,score\n1,"Ann ""A"" ü",1.50\n02,Bob,\n9007199254740993,,-1e3\n'
    put("in/a.csv", rows.encode())
    put("in/b.csv.gz", gzip.compress(b"id\n4\n"))
    put("in/c.zip", _zipped(one="id\n5\n", two="id\n6\n"))
    put("in/d.jsonl", b'{"id":7,"nested":{"a":[1.0,null]}}\n{"_meta":{"own":1},"id":8}\n')
    put("in/e.json", b'[{"id":9}]')
    put("in/empty.csv", b"")
    put("bad/f.json", b'[{"id":10}')
    await runtime.spec()
    built = await runtime.build(task.config)
    await runtime.apply(built)
    first = await runtime.run(built)
    put("in/a.csv", b"id,name,score\n1,Ann,2\n")
    put("in/aa.csv", b"id\n11\n")
    remove("in/b.csv.gz")
    put("bad/f.json", b'[{"id":10}]')
    second = await runtime.run(built, state=first.state)
    await runtime.run(built, state=second.state)
    return transcript.text(names, PATTERNS)


def is_golden(text: str, golden: Path) -> bool:
    """Tell whether a transcript is the golden one.

    With UPDATE_SNAPSHOTS=true in the environment it becomes that.
    """
    if os.environ.get("UPDATE_SNAPSHOTS") == "true":
        golden.write_text(text)
    return text == golden.read_text()


def _zipped(**entries: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.csv", content)
    return packed.getvalue()
