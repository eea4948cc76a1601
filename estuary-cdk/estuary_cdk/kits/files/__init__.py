"""Files of any store as documents: decompress, detect, parse, and follow their changes.

Push a file's bytes into a `FileReader` in blocks, and take records out; put metadata in front with
`stamped`. A `Sweep` says what to emit and to delete so that a collection keeps equal to one file,
a `Folder` the same for many. None of these does I/O.

`Files` makes a capture of any `Store`: something that lists files and reads ranges of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.kits.files.detection import Hints
    from estuary_cdk.kits.files.fetching import Stretch, contents, stretches
    from estuary_cdk.kits.files.following import Selection
    from estuary_cdk.kits.files.options import CsvOptions, FormatOptions, ParserOptions
    from estuary_cdk.kits.files.outbox import Outbox, read_through
    from estuary_cdk.kits.files.reading import FileReader, Records
    from estuary_cdk.kits.files.schemas import FILE_KEY, document_schema
    from estuary_cdk.kits.files.source import Files
    from estuary_cdk.kits.files.stamp import stamped
    from estuary_cdk.kits.files.stores import FileChanged, Store, StoredFile
    from estuary_cdk.kits.files.sweep import (
        Patch,
        Plan,
        Progress,
        Step,
        Sweep,
        SweepState,
        Version,
        plan,
        validators,
    )
    from estuary_cdk.kits.files.tracked_keys import key_of
else:
    from estuary_cdk.exports import exports

    __getattr__ = exports(
        __name__,
        {
            "detection": ("Hints",),
            "fetching": (
                "Stretch",
                "contents",
                "stretches",
            ),
            "following": ("Selection",),
            "options": (
                "CsvOptions",
                "FormatOptions",
                "ParserOptions",
            ),
            "outbox": (
                "Outbox",
                "read_through",
            ),
            "reading": (
                "FileReader",
                "Records",
            ),
            "schemas": (
                "FILE_KEY",
                "document_schema",
            ),
            "source": ("Files",),
            "stamp": ("stamped",),
            "stores": (
                "FileChanged",
                "Store",
                "StoredFile",
            ),
            "sweep": (
                "Patch",
                "Plan",
                "Progress",
                "Step",
                "Sweep",
                "SweepState",
                "Version",
                "plan",
                "validators",
            ),
            "tracked_keys": ("key_of",),
        },
    )

__all__ = [
    "FILE_KEY",
    "CsvOptions",
    "FileChanged",
    "FileReader",
    "Files",
    "FormatOptions",
    "Hints",
    "Outbox",
    "ParserOptions",
    "Patch",
    "Plan",
    "Progress",
    "Records",
    "Selection",
    "Step",
    "Store",
    "StoredFile",
    "Stretch",
    "Sweep",
    "SweepState",
    "Version",
    "contents",
    "document_schema",
    "key_of",
    "plan",
    "read_through",
    "stamped",
    "stretches",
    "validators",
]
