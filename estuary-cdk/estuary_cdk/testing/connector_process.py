"""A connector as a process of its own, for tests that kill it or need its real pipes."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

from estuary_cdk.failpoints import VARIABLE
from estuary_cdk.transport import Reader, Writer

SAID_CHARS = 500


class Died(Exception):  # noqa: N818 - what happened, which a test may want
    """The process ended with another status than 0."""


class ConnectorProcess:
    """Serves a conversation by starting `command`, with `failpoints` set in its environment.

    `serve` raises Died, with the end of what the process said, for a status other than 0.
    """

    def __init__(self, command: Sequence[str], failpoints: str = "") -> None:
        self._command = command
        self._failpoints = failpoints

    async def serve(self, reader: Reader, writer: Writer) -> None:
        """Hand requests to the process and its responses on, until it ends."""
        path = os.pathsep.join(sys.path)
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, VARIABLE: self._failpoints},
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        requests = asyncio.ensure_future(_requests(reader, process.stdin))
        responses = asyncio.ensure_future(_responses(process.stdout, writer))
        said = asyncio.ensure_future(process.stderr.read())
        try:
            status = await process.wait()
            await responses
            if status != 0:
                raise Died(f"status {status}: {(await said).decode()[-SAID_CHARS:]}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            for pump in (requests, responses, said):
                pump.cancel()
            await asyncio.gather(requests, responses, said, return_exceptions=True)
            process.stdin.close()


async def _requests(reader: Reader, stdin: asyncio.StreamWriter) -> None:
    while block := await reader.read():
        stdin.write(block)
        await stdin.drain()
    stdin.close()


async def _responses(stdout: asyncio.StreamReader, writer: Writer) -> None:
    while line := await stdout.readline():
        await writer.write(line)
