"""A private S3 service for tests: moto's server, in a process of its own on a loopback port."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

START_LINES_MAX = 50


@contextmanager
def s3() -> Iterator[str]:
    """Run a service without any bucket; give its address."""
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        try:
            for _ in range(START_LINES_MAX):
                found = re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline())
                if found:
                    # It logs every request; a full pipe would stop it.
                    Thread(target=server.stderr.read, daemon=True).start()
                    yield found[0]
                    return
            raise RuntimeError("can't start moto's server: it doesn't say where it listens")
        finally:
            server.terminate()
