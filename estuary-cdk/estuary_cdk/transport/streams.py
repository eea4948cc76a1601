"""The two interfaces between whoever speaks the protocol and whatever carries it."""

from typing import Protocol


class Reader(Protocol):
    """Hands over what the peer wrote, in order."""

    async def read(self) -> bytes:
        """Return the next block of whole lines, waiting for one; empty at the end of the stream.

        A cancelled call loses nothing: the next call returns the same block. Raises
        RemoteProtocolError for a last line without a line break and for an oversized line.
        """
        ...


class Writer(Protocol):
    """Takes what is to reach the peer, in order."""

    async def write(self, block: bytes) -> None:
        """Accept a block of whole lines, waiting while more than one block is under way.

        Raises RemoteProtocolError once the peer has closed the stream.
        """
        ...

    async def flush(self) -> None:
        """Return when all that was written is out of this process."""
        ...

    async def close(self) -> None:
        """Flush and end the stream."""
        ...
