"""Moves blocks of whole lines: the only code that touches the streams of a process.

A reader hands over blocks of one or more complete lines, an empty block once the stream has ended.
A writer takes such blocks. Neither knows what the lines say. `Beside` is another process of ours.
"""

from typing import TYPE_CHECKING

from estuary_cdk.exports import exports

if TYPE_CHECKING:
    from estuary_cdk.transport.beside import Asked, Beside
    from estuary_cdk.transport.loop_thread import LoopThread
    from estuary_cdk.transport.memory import pair
    from estuary_cdk.transport.stdio import FdReader, FdWriter, claim_stdio
    from estuary_cdk.transport.streams import Reader, Writer
    from estuary_cdk.transport.thread import Thread

__all__ = [
    "Asked",
    "Beside",
    "FdReader",
    "FdWriter",
    "LoopThread",
    "Reader",
    "Thread",
    "Writer",
    "claim_stdio",
    "pair",
]
__getattr__ = exports(
    __name__,
    {
        "beside": ("Asked", "Beside"),
        "loop_thread": ("LoopThread",),
        "memory": ("pair",),
        "stdio": ("FdReader", "FdWriter", "claim_stdio"),
        "streams": ("Reader", "Writer"),
        "thread": ("Thread",),
    },
)
