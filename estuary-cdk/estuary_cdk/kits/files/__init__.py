"""Files of any store as documents: decompress, detect, parse, and follow their changes.

Nothing here does I/O. Push a file's bytes into a `FileReader` in blocks, and take records out; put
metadata in front with `stamped`. A `Sweep` says what to emit and to delete so that a collection
keeps equal to the file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.kits.files.detection import Hints
    from estuary_cdk.kits.files.options import CsvOptions, FormatOptions, ParserOptions
    from estuary_cdk.kits.files.reading import FileReader, Records
    from estuary_cdk.kits.files.stamp import stamped
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
            "options": ("CsvOptions", "FormatOptions", "ParserOptions"),
            "reading": ("FileReader", "Records"),
            "stamp": ("stamped",),
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
    "CsvOptions",
    "FileReader",
    "FormatOptions",
    "Hints",
    "ParserOptions",
    "Patch",
    "Plan",
    "Progress",
    "Records",
    "Step",
    "Sweep",
    "SweepState",
    "Version",
    "key_of",
    "plan",
    "stamped",
    "validators",
]
