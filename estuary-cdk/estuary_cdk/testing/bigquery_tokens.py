"""The words, names, texts and marks of a script in BigQuery's SQL."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<name>`(?:[^`\\]|\\.)*`)
    |(?P<string>[rRbB]{0,2}(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"
        |'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    |(?P<number>\d[\w.]*)
    |(?P<word>@{0,2}[^\W\d]\w*)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a statement; `key` is a word in capitals, and empty for all else."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def key(self) -> str:
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The text that a string says."""
        text = self.text.lstrip("rRbB")
        marks = 3 if text[:3] in {"'''", '"""'} else 1
        inner = text[marks:-marks]
        if self.text[0] in "rR":
            return inner
        simple = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
        return re.sub(
            r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))",
            lambda m: chr(int(m[1] or m[2], 16)) if m[1] or m[2] else simple.get(m[3], m[3]),
            inner,
            flags=re.DOTALL,
        )


def read_tokens(sql: str) -> Iterator[Token]:
    """Cut a script into its tokens, without comments and space."""
    for found in _TOKEN.finditer(sql):
        kind = found.lastgroup or "mark"
        if kind != "blank":
            yield Token(kind, found[0], found.start(), found.end())
