"""The formats: adding one is a parser and a row in `FORMATS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from estuary_cdk.kits.files.csv_rows import CsvRows
from estuary_cdk.kits.files.json_items import JsonItems
from estuary_cdk.kits.files.jsonl import JsonLines
from estuary_cdk.kits.files.options import CsvOptions, ParserOptions


class Parser(Protocol):
    """Reads one file, cut into blocks anywhere, in memory that doesn't grow with it.

    Records come in the file's order. A record is one JSON object on one line, without its opening
    brace: `stamped` puts the brace and the metadata in front. What records come out, and at
    what place a DataError ends them, doesn't depend on where the file was cut.
    """

    def feed(self, block: bytes) -> list[bytes]: ...
    def finish(self) -> list[bytes]: ...


Opener = Callable[[str, str, ParserOptions], Parser]  # file, encoding, options


@dataclass(frozen=True, slots=True)
class Format:
    """One format: what tells it, and how it is parsed."""

    name: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    open: Opener


def _csv(file: str, encoding: str, options: ParserOptions) -> Parser:
    return CsvRows(file, encoding, options.csv)


def _tsv(file: str, encoding: str, options: ParserOptions) -> Parser:
    tabs: CsvOptions = options.csv
    if tabs.delimiter is None:
        tabs = tabs.model_copy(update={"delimiter": "\t"})
    return CsvRows(file, encoding, tabs)


def _json(file: str, encoding: str, _: ParserOptions) -> Parser:
    return JsonItems(file, encoding)


def _jsonl(file: str, encoding: str, _: ParserOptions) -> Parser:
    return JsonLines(file, encoding)


FORMATS = (
    Format("csv", (".csv",), ("text/csv", "application/csv"), _csv),
    Format("tsv", (".tsv", ".tab"), ("text/tab-separated-values",), _tsv),
    Format("json", (".json", ".geojson"), ("application/json", "text/json"), _json),
    Format(
        "jsonl",
        (".jsonl", ".ndjson", ".jsonlines"),
        ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"),
        _jsonl,
    ),
)
BY_NAME = {row.name: row for row in FORMATS}
BY_SUFFIX = {suffix: row.name for row in FORMATS for suffix in row.suffixes}
BY_MEDIA_TYPE = {media: row.name for row in FORMATS for media in row.media_types}
