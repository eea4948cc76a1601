"""What passes between a connector and its runtime, line by line: for golden transcripts.

transcript = Transcript(capture.serve)
runtime = CaptureRuntime(transcript.serve)
...
assert transcript.text({bucket: "BUCKET"}) == golden
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from estuary_cdk.testing.runtime import Serve
from estuary_cdk.transport import Reader, Writer


class _Recorded:
    """A reader or a writer that keeps what passes."""

    def __init__(self, stream: Any, lines: list[bytes], mark: bytes) -> None:
        self._stream, self._lines, self._mark = stream, lines, mark

    async def read(self) -> Any:
        block = await self._stream.read()
        self._keep(block)
        return block

    async def write(self, block: Any) -> None:
        self._keep(block)
        await self._stream.write(block)

    def _keep(self, block: Any) -> None:
        self._lines += [
            self._mark + line
            for line in block.splitlines()
            if not line.startswith(b'{"acknowledge"')
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Transcript:
    """All that passes a connector's `serve`: requests after `>`, answers after `<`.

    Of requests only the state that they bring is shown, and of acknowledgements nothing: when they
    come is chance. A blank line begins each process. A setting that a kit declares, and tests, may
    be left out of the spec.
    """

    def __init__(self, serve: Serve, *, without: str = "") -> None:
        self._serve = serve
        self._without = without
        self._lines: list[bytes] = []

    async def serve(self, reader: Reader, writer: Writer) -> None:
        """Serve the protocol, and keep what passes."""
        self._lines.append(b"")
        recorded: Any = _Recorded(reader, self._lines, b"> ")
        answered: Any = _Recorded(writer, self._lines, b"< ")
        await self._serve(recorded, answered)

    def text(self, names: Mapping[str, str], patterns: Mapping[str, str] | None = None) -> str:
        """Return the transcript with texts, and matches of patterns, replaced by what they are."""
        lines = []
        for line in self._lines[1:]:
            shown = _shown(line, self._without).decode()
            for name, what in names.items():
                shown = shown.replace(name, what)
            for pattern, what in (patterns or {}).items():
                shown = re.sub(pattern, what, shown)
            lines.append(shown)
        return "\n".join(lines) + "\n"


def _shown(line: bytes, without: str) -> bytes:
    if line.startswith(b"> "):
        [[kind, request]] = msgspec.json.decode(line[2:]).items()
        return b"> " + msgspec.json.encode({kind: request.get("state", "...")})
    if line.startswith(b'< {"spec"'):
        answer = msgspec.json.decode(line[2:])
        answer["spec"]["configSchema"]["properties"].pop(without, None)
        line = line[:2] + msgspec.json.encode(answer)
    if line.startswith((b'< {"spec"', b'< {"discovered"')):
        return line[:2] + msgspec.json.format(line[2:], indent=2)
    return line
