"""The parser options a user can set, with the names Estuary's own file sources use.

Everything is optional: what is left out is detected from the file's name, its content type and its
first bytes.
"""

from typing import Literal

from estuary_cdk.config import Settings, setting

Compression = Literal["gzip", "zip", "zstd", "bzip2", "xz", "lz4", "snappy", "none"]
Delimiter = Literal[",", "|", " ", ";", "\t", "\x0b", "\x1f", "\x01"]
Escape = Literal["\\", '"', ""]
LineEnding = Literal["\n", "\r\n", "\r", "\x1e"]
Quote = Literal['"', "'", ""]


class CsvOptions(Settings):
    """How rows and cells are told apart in a CSV file, and what a malformed row does."""

    delimiter: Delimiter | None = setting(
        None,
        title="Delimiter",
        description="The character between cells. Detected from the first rows when left out.",
    )
    encoding: str | None = setting(
        None,
        title="Encoding",
        description="The character encoding, such as utf-8 or windows-1252. Taken from a byte "
        "order mark or the content type when left out, else guessed from the first mebibyte.",
    )
    error_threshold: int = setting(
        0,
        alias="errorThreshold",
        ge=0,
        le=100,
        title="Error Threshold",
        description="Percentage of malformed rows, within each 1,000 rows, that are left out "
        "instead of failing the capture.",
    )
    escape: Escape | None = setting(
        None,
        title="Escape Character",
        description="How a quote inside a quoted cell is written: after a backslash, doubled, or "
        "never. Doubled when left out, unless the first rows can only be read with backslashes.",
    )
    headers: tuple[str, ...] = setting(
        default_factory=tuple,
        title="Headers",
        description="The column names. Taken from the first row when left out, unless the rows "
        "below prove that it has none.",
    )
    line_ending: LineEnding | None = setting(
        None,
        alias="lineEnding",
        title="Line Ending",
        description="What ends a row. Any of LF, CR LF and CR when left out.",
    )
    quote: Quote | None = setting(
        None,
        title="Quote Character",
        description="The character around cells that hold delimiters; an empty string for "
        "none. A double quote when left out, unless the first rows show that it is a single one.",
    )


class AutoFormat(Settings):
    """The format is detected."""

    type: Literal["auto"] = setting("auto", title="Type")


class CsvFormat(Settings):
    """Delimited text."""

    type: Literal["csv"] = setting("csv", title="Type")
    config: CsvOptions = setting(
        default_factory=CsvOptions, title="CSV", description="How the rows are written."
    )


class JsonFormat(Settings):
    """JSON: an object, an array of objects, or any number of either."""

    type: Literal["json"] = setting("json", title="Type")


class JsonLinesFormat(Settings):
    """JSON lines: an object per line."""

    type: Literal["jsonl"] = setting("jsonl", title="Type")


class ParquetFormat(Settings):
    """Parquet."""

    type: Literal["parquet"] = setting("parquet", title="Type")


class ArrowFormat(Settings):
    """Arrow files and streams, and Feather of version 2."""

    type: Literal["arrow"] = setting("arrow", title="Type")


class AvroFormat(Settings):
    """Avro object container files."""

    type: Literal["avro"] = setting("avro", title="Type")


class W3cFormat(Settings):
    """W3C extended log files, such as web servers write."""

    type: Literal["w3cExtendedLog"] = setting("w3cExtendedLog", title="Type")


class LinesFormat(Settings):
    """Plain text: a document per line."""

    type: Literal["lines"] = setting("lines", title="Type")


class XmlOptions(Settings):
    """Which elements of an XML file are documents."""

    element: str | None = setting(
        None,
        title="Element",
        description="Name of the elements that are documents, without its namespace. The children "
        "of the root element when left out.",
    )


class XmlFormat(Settings):
    """XML: a document per element."""

    type: Literal["xml"] = setting("xml", title="Type")
    config: XmlOptions = setting(
        default_factory=XmlOptions, title="XML", description="Which elements are documents."
    )


class SpreadsheetOptions(Settings):
    """What is read of a spreadsheet."""

    sheet: str | None = setting(
        None, title="Sheet", description="Name of the sheet. The first one when left out."
    )


class SpreadsheetFormat(Settings):
    """Spreadsheets of Excel (xlsx, xlsm, xlsb, xls) and OpenDocument (ods)."""

    type: Literal["spreadsheet"] = setting("spreadsheet", title="Type")
    config: SpreadsheetOptions = setting(
        default_factory=SpreadsheetOptions, title="Spreadsheet", description="What is read of it."
    )


class ProtobufOptions(Settings):
    """What the messages of a Protobuf file are."""

    descriptor_set: str = setting(
        alias="descriptorSet",
        title="Descriptor Set",
        description="What protoc --include_imports --descriptor_set_out writes, in base64.",
    )
    message: str = setting(
        title="Message",
        description="Name of the messages' type with its package, such as acme.orders.Order.",
    )


class ProtobufFormat(Settings):
    """Protobuf messages, each with its size in front."""

    type: Literal["protobuf"] = setting("protobuf", title="Type")
    config: ProtobufOptions = setting(title="Protobuf", description="What the messages are.")


FormatOptions = (
    AutoFormat
    | CsvFormat
    | JsonFormat
    | JsonLinesFormat
    | ParquetFormat
    | ArrowFormat
    | AvroFormat
    | W3cFormat
    | LinesFormat
    | XmlFormat
    | SpreadsheetFormat
    | ProtobufFormat
)
"""The format of a file: detected, or chosen with its options."""


class ParserOptions(Settings):
    """How a file is read."""

    compression: Compression | None = setting(
        None,
        title="Compression",
        description="How the file is compressed. Detected from its first bytes when left out.",
    )
    format: FormatOptions = setting(
        default_factory=AutoFormat,
        discriminator="type",
        title="Format",
        description="The format of the records. Detected when left out.",
    )

    @property
    def encoding(self) -> str | None:
        """The character encoding that the user set."""
        return self.csv.encoding

    @property
    def csv(self) -> CsvOptions:
        return self.format.config if isinstance(self.format, CsvFormat) else CsvOptions()

    @property
    def sheet(self) -> str | None:
        """The sheet of a spreadsheet that the user chose."""
        return self.format.config.sheet if isinstance(self.format, SpreadsheetFormat) else None
