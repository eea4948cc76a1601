"""One process per data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError

NAME: Final = "lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a data directory, which is made if absent.

    Raises ConfigError where another process holds it. However we end, the kernel lets go of it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"can't use data directory {str(directory)!r}: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(fd, 20).decode(errors="replace").strip()
            raise ConfigError(
                f"can't use data directory {str(directory)!r}: "
                f"flow-local is running on it as process {pid or 'unknown'}",
                hint="stop that process, or choose another data directory",
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
