"""The formats: adding one is a function that opens a file of it and a row in `FORMATS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from estuary_cdk.kits.files.arrow_files import FEATHER_1_MAGIC, FILE_MAGIC, arrow, parquet
from estuary_cdk.kits.files.avro_blocks import MAGIC as AVRO_MAGIC
from estuary_cdk.kits.files.avro_blocks import AvroBlocks
from estuary_cdk.kits.files.csv_rows import CsvRows
from estuary_cdk.kits.files.detection import Hints, suffix_of, text_format_of
from estuary_cdk.kits.files.json_items import JsonItems
from estuary_cdk.kits.files.jsonl import JsonLines
from estuary_cdk.kits.files.options import (
    AutoFormat,
    CsvOptions,
    ParserOptions,
    ProtobufFormat,
    XmlFormat,
)
from estuary_cdk.kits.files.protobuf_messages import ProtobufMessages
from estuary_cdk.kits.files.spreadsheets import spreadsheet
from estuary_cdk.kits.files.tables import TableReader
from estuary_cdk.kits.files.text_lines import PlainLines, W3cLog
from estuary_cdk.kits.files.xml_records import XmlRecords


class Parser(Protocol):
    """Reads one file, cut into blocks anywhere, in memory that doesn't grow with it.

    Records come in the file's order. A record is one JSON object on one line, without its opening
    brace: `stamped` puts the brace and the metadata in front. What records come out, and at
    what place a DataError ends them, doesn't depend on where the file was cut.
    """

    def feed(self, block: bytes) -> list[bytes]: ...
    def finish(self) -> list[bytes]: ...


Opener = Callable[[str, str | None, ParserOptions], Parser]
"""Opens a parser: the file's name, its encoding (None where nothing tells it), and options."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format: what tells it, and how it is read.

    `magic` are the first bytes that only files of this format have; `zipped` formats are zip
    archives themselves. Exactly one of `open`, for what can be read from front to back, and `seek`.
    """

    name: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...] = ()
    magic: tuple[bytes, ...] = ()
    open: Opener | None = None
    seek: TableReader | None = None
    zipped: bool = False


def _csv(file: str, encoding: str | None, options: ParserOptions) -> Parser:
    return CsvRows(file, encoding, options.csv)


def _tsv(file: str, encoding: str | None, options: ParserOptions) -> Parser:
    tabs: CsvOptions = options.csv
    if tabs.delimiter is None:
        tabs = tabs.model_copy(update={"delimiter": "\t"})
    return CsvRows(file, encoding, tabs)


def _json(file: str, encoding: str | None, _: ParserOptions) -> Parser:
    return JsonItems(file, encoding or "utf-8")


def _jsonl(file: str, encoding: str | None, _: ParserOptions) -> Parser:
    return JsonLines(file, encoding or "utf-8")


def _avro(file: str, _: str | None, __: ParserOptions) -> Parser:
    return AvroBlocks(file)


def _lines(file: str, encoding: str | None, _: ParserOptions) -> Parser:
    return PlainLines(file, encoding or "utf-8")


def _w3c_log(file: str, encoding: str | None, _: ParserOptions) -> Parser:
    return W3cLog(file, encoding or "utf-8")


def _xml(file: str, _: str | None, options: ParserOptions) -> Parser:
    chosen = options.format
    return XmlRecords(file, chosen.config.element if isinstance(chosen, XmlFormat) else None)


def _protobuf(file: str, _: str | None, options: ParserOptions) -> Parser:
    assert isinstance(options.format, ProtobufFormat), "nothing else tells this format"
    return ProtobufMessages(file, options.format.config)


FORMATS = (
    Format("csv", (".csv",), ("text/csv", "application/csv"), open=_csv),
    Format("tsv", (".tsv", ".tab"), ("text/tab-separated-values",), open=_tsv),
    Format("json", (".json", ".geojson"), ("application/json", "text/json"), open=_json),
    Format(
        "jsonl",
        (".jsonl", ".ndjson", ".jsonlines"),
        ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"),
        open=_jsonl,
    ),
    Format(
        "parquet",
        (".parquet", ".parq"),
        ("application/vnd.apache.parquet",),
        (b"PAR1",),
        seek=parquet,
    ),
    Format(
        "arrow",
        (".arrow", ".arrows", ".feather", ".ipc"),
        ("application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"),
        (FILE_MAGIC, FEATHER_1_MAGIC),
        seek=arrow,
    ),
    Format("avro", (".avro",), ("application/avro", "avro/binary"), (AVRO_MAGIC,), open=_avro),
    Format("w3cExtendedLog", (), (), (b"#Software:", b"#Version:", b"#Fields:"), open=_w3c_log),
    Format("lines", (), (), open=_lines),
    Format("xml", (".xml",), ("application/xml", "text/xml"), (b"<?xml",), open=_xml),
    Format(
        "spreadsheet",
        (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
        (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.ms-excel",
            "application/vnd.oasis.opendocument.spreadsheet",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
        seek=spreadsheet,
        zipped=True,
    ),
    Format("protobuf", (), open=_protobuf),
)
BY_NAME = {row.name: row for row in FORMATS}
BY_SUFFIX = {suffix: row for row in FORMATS for suffix in row.suffixes}
BY_MEDIA_TYPE = {media: row for row in FORMATS for media in row.media_types}
BY_MAGIC = {magic: row for row in FORMATS for magic in row.magic}


def format_named(file: str, hints: Hints, options: ParserOptions) -> Format | None:
    """Return the format that options, a file's name or its content type say; None if none does."""
    if not isinstance(options.format, AutoFormat):
        return BY_NAME[options.format.type]
    named = BY_SUFFIX.get(suffix_of(file)) or BY_MEDIA_TYPE.get(hints.media_type)
    if named is None and hints.media_type.endswith("+json"):
        return BY_NAME["json"]
    return named


def format_of(file: str, hints: Hints, options: ParserOptions, head: bytes) -> Format:
    """Return the format of `file`, whose decompressed content begins with `head`.

    Raises DataError where nothing tells.
    """
    named = format_named(file, hints, options)
    if named is not None:
        return named
    known = (row for magic, row in BY_MAGIC.items() if head.startswith(magic))
    return next(known, None) or BY_NAME[text_format_of(file, head)]
