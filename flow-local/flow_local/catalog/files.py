"""The files of a catalog: each is read and parsed once."""

import os
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from flow_local.catalog.diagnostics import CatalogError, Mistakes
from flow_local.catalog.json_text import parse_json
from flow_local.catalog.nodes import Location, Node
from flow_local.catalog.yaml_text import parse_yaml

FILE_BYTES_MAX = 64 << 20
STDIN = "-"
"""The path that stands for what comes in on stdin; files it names are relative to here."""


@dataclass(slots=True)
class Files:
    """Reads each file once; a file that can't be read is a mistake of the line that names it."""

    mistakes: Mistakes
    parsed: dict[str, Node | None] = field(default_factory=dict)

    def parse(self, file: str, verb: str, named_at: Location) -> Node | None:
        """Return the content of `file`, or None once the reason was noted."""
        identity = os.path.realpath(file)
        if identity not in self.parsed:
            text = self.text(file, verb, named_at)
            self.parsed[identity] = None if text is None else self.parse_text(text, file)
            self.mistakes.incomplete |= self.parsed[identity] is None
        return self.parsed[identity]

    def parse_text(self, text: str, file: str) -> Node | None:
        try:
            if file.endswith(".json"):
                return parse_json(text, file)
            if text.lstrip()[:1] == "{":  # often JSON, which YAML can't read in all cases
                try:
                    return parse_json(text, file)
                except CatalogError:
                    pass
            return parse_yaml(text, file)
        except CatalogError as error:
            self.mistakes.errors.append(error)
            return None

    def text(self, file: str, verb: str, named_at: Location) -> str | None:
        """Return the text of `file`, or None once the reason was noted."""
        path = Path(file)
        try:
            content = _stdin() if file == STDIN else None
            size = path.stat().st_size if content is None else len(content)
            if size <= FILE_BYTES_MAX:
                return (path.read_bytes() if content is None else content).decode("utf-8-sig")
            reason = f"it has {size} bytes, more than {FILE_BYTES_MAX}"
        except FileNotFoundError:
            reason = "there is no such file"
        except UnicodeDecodeError as error:
            reason = f"byte {error.start} isn't UTF-8"
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
        is_first = file == named_at.file
        hint = "name another file, or write one with 'flow-local init'" if is_first else None
        self.mistakes.add(named_at, f"can't {verb} {file!r}: {reason}", hint)
        self.mistakes.incomplete = True
        return None


@cache
def _stdin() -> bytes:
    """Return what comes in on stdin, which can be read but once."""
    return sys.stdin.buffer.read(FILE_BYTES_MAX + 1)


def relative(named: str, named_at: Location) -> str:
    """Return the path of a file that is named in another, as the user would write it."""
    return os.path.normpath(Path(named_at.file).parent / named)
