"""BigQuery's statements about tables, read as far as a table's description needs it.

The emulator runs such statements and forgets most of what they say of types, descriptions and
partitions; what is read here is what `tables.get` must answer after them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from estuary_cdk.testing.bigquery_tokens import Token, read_tokens

Field = dict[str, Any]
"""A column as the REST API tells it."""

LEGACY: Final[Mapping[str, str]] = {
    "BIGDECIMAL": "BIGNUMERIC",
    "BIGINT": "INTEGER",
    "BOOL": "BOOLEAN",
    "DECIMAL": "NUMERIC",
    "FLOAT64": "FLOAT",
    "INT": "INTEGER",
    "INT64": "INTEGER",
    "STRUCT": "RECORD",
}
"""What the REST API calls types that SQL calls otherwise."""
SPELLED: Final[Mapping[str, str]] = {
    "BOOLEAN": "BOOL",
    "FLOAT": "FLOAT64",
    "INTEGER": "INT64",
    "RECORD": "STRUCT",
}
NUMERIC_DIGITS: Final = (38, 9)
BIG_DIGITS: Final = (38, 10)
"""What the emulator can keep of BIGNUMERIC: digits in all, and after the point."""

_BIG_CAST = re.compile(
    r"CAST\s*\(\s*(?!NULL\b)((?:`[^`]+`|[^\W\d]\w*)(?:\s*\.\s*(?:`[^`]+`|\w+))*)\s+AS\s+"
    r"BIG(?:NUMERIC|DECIMAL)\s*(?:\([\d\s,]*\)\s*)?\)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_TYPE_ENDS = frozenset({"NOT", "OPTIONS", "DEFAULT", "COLLATE", "PRIMARY", "REFERENCES"})
_BEFORE_TABLES = frozenset({"EXISTS", "FROM", "INSERT", "INTO", "JOIN", "MERGE", "TABLE", "UPDATE"})
_OPENS, _CLOSES = frozenset("(<["), frozenset(")>]")


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A table's full name."""

    project: str
    dataset: str
    table: str

    @property
    def path(self) -> str:
        """Where the REST API has it."""
        parts = (quote(each, safe="") for each in (self.project, self.dataset, self.table))
        return "/bigquery/v2/projects/{}/datasets/{}/tables/{}".format(*parts)

    @property
    def quoted(self) -> str:
        """As SQL names it."""
        return f"`{self.project}`.`{self.dataset}`.`{self.table}`"


@dataclass(frozen=True, slots=True)
class Create:
    """A table is made; `fields` is None where a query or another table tells its columns."""

    name: Name
    resource: Mapping[str, Any]
    fields: Sequence[Field] | None
    only_if_missing: bool
    copied: Name | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """A table is gone."""

    name: Name


@dataclass(frozen=True, slots=True)
class Action:
    """One change of a table; `text` is the action in SQL, empty if the emulator has no such."""

    does: str
    text: str
    column: str = ""
    field: Field | None = None
    options: Mapping[str, Any] | None = None
    only_if: bool = False


@dataclass(frozen=True, slots=True)
class Alter:
    """A table is changed."""

    name: Name
    actions: Sequence[Action]


Effect = Create | Drop | Alter


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script: its text, and what it does to tables if it says that."""

    text: str
    first: str
    effect: Effect | None


def statements(sql: str, project: str, dataset: str = "") -> list[Statement]:
    """Read a script; names without a project or dataset are of those given."""
    found = []
    run: list[Token] = []
    for token in [*read_tokens(sql), Token("mark", ";", len(sql), len(sql))]:
        if token.text != ";" or token.kind != "mark":
            run.append(token)
            continue
        if run:
            text = sql[run[0].start : run[-1].end]
            reader = _Reader(sql, run, project, dataset)
            found.append(Statement(text, run[0].key or run[0].text, reader.effect()))
        run = []
    return found


def datasets(sql: str, project: str, dataset: str = "") -> list[tuple[str, str]]:
    """Return the datasets of the tables that a script names, each once, as far as words tell."""
    tokens = list(read_tokens(sql))
    found: dict[tuple[str, str], None] = {}
    for index, token in enumerate(tokens[:-1]):
        after = tokens[index + 1]
        if token.key not in _BEFORE_TABLES or after.kind not in {"name", "word"}:
            continue
        reader = _Reader(sql, tokens[index + 1 :], project, dataset)
        if after.key in _BEFORE_TABLES or not reader.names_table():
            continue
        found[reader.where()] = None
    return list(found)


def emulated(sql: str) -> str:
    """Spell the decimal types of a statement as the emulator keeps most of their digits.

    Columns and literals aren't made BIGNUMERIC: what they are compared with or written to is.
    """
    tokens = list(read_tokens(sql))
    pieces, end = [], 0
    for index, token in enumerate(tokens):
        if token.start >= end and (found := _decimals(sql, tokens, index)) is not None:
            pieces += [sql[end : token.start], found[0]]
            end = found[1]
    return "".join([*pieces, sql[end:]])


def _decimals(sql: str, tokens: Sequence[Token], index: int) -> tuple[str, int] | None:
    """Return what to write for a token instead, and where that ends; None: it stays."""
    token = tokens[index]
    if token.key == "CAST" and (found := _BIG_CAST.match(sql, token.start)):
        return found[1], found.end()
    kind = LEGACY.get(token.key, token.key)
    if kind not in {"NUMERIC", "BIGNUMERIC"} or (index and tokens[index - 1].text == "."):
        return None
    follower = tokens[index + 1] if index + 1 < len(tokens) else None
    if follower is not None and follower.kind == "string":
        return ("", follower.start) if kind == "BIGNUMERIC" else None
    if follower is None or follower.text != "(":
        digits = NUMERIC_DIGITS if kind == "NUMERIC" else BIG_DIGITS
        return f"NUMERIC({digits[0]}, {digits[1]})", token.end
    numbers = _DIGITS.match(sql, follower.start)
    if kind == "NUMERIC" or numbers is None:
        return None
    whole, scale = (min(int(each or 0), NUMERIC_DIGITS[0]) for each in numbers.groups())
    return f"NUMERIC({whole}, {scale})", numbers.end()


def rewritten(statements: Sequence[Statement]) -> str:
    """Write a script so that the emulator runs it: one change of a table per statement."""
    texts = []
    for each in statements:
        if isinstance(each.effect, Alter):
            head = f"ALTER TABLE {each.effect.name.quoted}"
            texts += [f"{head} {action.text}" for action in each.effect.actions if action.text]
        else:
            texts.append(each.text)
    return emulated(";\n".join(texts) if texts else "SELECT 1")


def spelled(field: Field) -> str:
    """Spell a column's type in SQL."""
    kind = str(field.get("type", "STRING")).upper()
    kind = SPELLED.get(kind, kind)
    if kind == "STRUCT":
        inner = [f"`{each['name']}` {spelled(each)}" for each in field["fields"]]
        kind = f"STRUCT<{', '.join(inner)}>"
    elif "precision" in field:
        scale = f", {field['scale']}" if "scale" in field else ""
        kind = f"{kind}({field['precision']}{scale})"
    elif "maxLength" in field:
        kind = f"{kind}({field['maxLength']})"
    return f"ARRAY<{kind}>" if field.get("mode") == "REPEATED" else kind


class _Reader:
    """Reads one statement from its tokens, from left to right."""

    def __init__(self, sql: str, tokens: Sequence[Token], project: str, dataset: str) -> None:
        self._sql = sql
        self._tokens = tokens
        self._next = 0
        self._project = project
        self._dataset = dataset

    def effect(self) -> Effect | None:
        if self._words("CREATE"):
            replaces = self._words("OR", "REPLACE")
            if self._words("TABLE"):
                return self._create(replaces=replaces)
        elif self._words("DROP", "TABLE"):
            self._words("IF", "EXISTS")
            return Drop(self._path())
        elif self._words("ALTER", "TABLE"):
            self._words("IF", "EXISTS")
            return Alter(self._path(), list(self._actions()))
        return None

    def names_table(self) -> bool:
        """Say whether a name with a dataset is next."""
        more = self._tokens[1] if len(self._tokens) > 1 else None
        return "." in self._tokens[0].text or (more is not None and more.text in {".", "-"})

    def where(self) -> tuple[str, str]:
        """Return the project and dataset of the name that is next."""
        parts = self._parts()
        upper = [each.upper() for each in parts]
        if "INFORMATION_SCHEMA" in upper:
            parts = [*parts[: upper.index("INFORMATION_SCHEMA")], ""]
        name = self._named(parts)
        return name.project, name.dataset

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _words(self, *words: str) -> bool:
        """Take these words if they are next."""
        seen = self._tokens[self._next : self._next + len(words)]
        if tuple(each.key for each in seen) != words:
            return False
        self._next += len(words)
        return True

    def _mark(self, mark: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "mark" or token.text != mark:
            return False
        self._next += 1
        return True

    def _identifier(self) -> str:
        token = self._tokens[self._next]
        self._next += 1
        return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "name" else token.text

    def _path(self) -> Name:
        return self._named(self._parts())

    def _parts(self) -> list[str]:
        parts = self._identifier().split(".")
        while (token := self._peek()) is not None and token.text in {".", "-"}:
            self._next += 1
            glue = token.text
            more = self._identifier().split(".")
            parts = [*parts[:-1], f"{parts[-1]}-{more[0]}"] if glue == "-" else [*parts, *more]
        return parts

    def _named(self, parts: Sequence[str]) -> Name:
        missing = [self._project, self._dataset][: max(0, 3 - len(parts))]
        project, dataset, table = [*missing, *parts][-3:]
        return Name(project, dataset, table)

    def _until(self, *ends: str) -> list[Token]:
        """Take tokens up to one of these words, a comma or a bracket that closes nothing."""
        depth, taken = 0, []
        while (token := self._peek()) is not None:
            if depth == 0 and (token.key in ends or token.text == ","):
                break
            depth += (token.text in _OPENS) - (token.text in _CLOSES)
            if depth < 0:
                break
            taken.append(token)
            self._next += 1
        return taken

    def _create(self, *, replaces: bool) -> Create:
        only_if_missing = self._words("IF", "NOT", "EXISTS") and not replaces
        name = self._path()
        fields: list[Field] | None = None
        copied = None
        if self._mark("("):
            fields = list(self._columns())
        elif self._words("LIKE") or self._words("COPY") or self._words("CLONE"):
            copied = self._path()
        resource: dict[str, Any] = {}
        if self._words("PARTITION", "BY"):
            resource.update(_partitioning(self._until("CLUSTER", "OPTIONS", "AS")))
        if self._words("CLUSTER", "BY"):
            names = [self._identifier()]
            while self._mark(","):
                names.append(self._identifier())
            resource["clustering"] = {"fields": names}
        if self._words("OPTIONS"):
            resource.update(_described(self._options()))
        return Create(name, resource, fields, only_if_missing, copied)

    def _columns(self) -> Iterator[Field]:
        while not self._mark(")"):
            token = self._peek()
            if token is not None and token.key in {"PRIMARY", "FOREIGN", "CONSTRAINT"}:
                self._until()
            else:
                yield self._column()
            if not self._mark(",") and self._peek() is None:
                break

    def _column(self) -> Field:
        field: Field = {"name": self._identifier()}
        field.update(_type(self._until(*_TYPE_ENDS)))
        field.setdefault("mode", "NULLABLE")
        while (token := self._peek()) is not None and token.text not in {",", ")"}:
            if self._words("NOT", "NULL"):
                field["mode"] = "REQUIRED"
            elif self._words("OPTIONS"):
                options = self._options()
                if options.get("description"):
                    field["description"] = options["description"]
            elif self._words("DEFAULT"):
                self._until("OPTIONS", "NOT")
            else:
                self._next += 1
        return field

    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._mark("(")
        while not self._mark(")") and self._peek() is not None:
            name = self._identifier().lower()
            self._mark("=")
            found[name] = _value(self._until())
            self._mark(",")
        return found

    def _actions(self) -> Iterator[Action]:
        while (token := self._peek()) is not None:
            begin = token.start
            action = self._action()
            end = self._tokens[self._next - 1].end
            text = "" if action.does in {"describe", "options"} else self._sql[begin:end]
            yield Action(
                action.does, text, action.column, action.field, action.options, action.only_if
            )
            if not self._mark(","):
                return

    def _action(self) -> Action:
        if self._words("ADD", "COLUMN"):
            only_if = self._words("IF", "NOT", "EXISTS")
            field = self._column()
            return Action("add", "", field["name"], field, only_if=only_if)
        if self._words("DROP", "COLUMN"):
            self._words("IF", "EXISTS")
            return Action("drop", "", self._identifier())
        if self._words("RENAME", "COLUMN"):
            self._words("IF", "EXISTS")
            column = self._identifier()
            self._words("TO")
            return Action("rename", "", column, {"name": self._identifier()})
        if self._words("SET", "OPTIONS"):
            return Action("options", "", options=_described(self._options()))
        if self._words("ALTER", "COLUMN"):
            self._words("IF", "EXISTS")
            return self._column_action(self._identifier())
        self._until()
        return Action("other", "")

    def _column_action(self, column: str) -> Action:
        if self._words("DROP", "NOT", "NULL"):
            return Action("relax", "", column)
        if self._words("SET", "DATA", "TYPE"):
            return Action("widen", "", column, _type(self._until()))
        if self._words("SET", "OPTIONS"):
            return Action("describe", "", column, options=self._options())
        self._until()
        return Action("other", "", column)


def _type(tokens: Sequence[Token]) -> Field:
    """Read a type, as the attributes of a column that has it."""
    if not tokens:
        return {"type": "STRING"}
    kind = LEGACY.get(tokens[0].key, tokens[0].key)
    if kind == "ARRAY":
        return {**_type(tokens[2:-1]), "mode": "REPEATED"}
    if kind == "RECORD":
        reader = _Reader("", [*tokens[2:-1], Token("mark", ")", 0, 0)], "", "")
        return {"type": kind, "fields": list(reader._columns())}  # noqa: SLF001 - the same grammar
    numbers = [each.text for each in tokens[1:] if each.kind == "number"]
    if not numbers:
        return {"type": kind}
    if kind in {"STRING", "BYTES"}:
        return {"type": kind, "maxLength": numbers[0]}
    scale = {"scale": numbers[1]} if len(numbers) > 1 else {}
    return {"type": kind, "precision": numbers[0], **scale}


def _value(tokens: Sequence[Token]) -> Any:
    """Read the value of an option: a text, a list of pairs of texts, or else what it says."""
    strings = [each.value for each in tokens if each.kind == "string"]
    if tokens and tokens[0].text == "[":
        return dict(zip(strings[::2], strings[1::2], strict=True))
    if len(strings) == 1 and len(tokens) <= 2:
        return strings[0]
    text = " ".join(each.text for each in tokens)
    try:
        return msgspec.json.decode(text.lower().encode())
    except msgspec.DecodeError:
        return text


def _described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a table that its options say."""
    names = {
        "description": "description",
        "friendly_name": "friendlyName",
        "labels": "labels",
        "require_partition_filter": "requirePartitionFilter",
    }
    found = {names[name]: value for name, value in options.items() if name in names}
    if text := options.get("expiration_timestamp"):
        found["expirationTime"] = _milliseconds(str(text))
    return found


def _milliseconds(text: str) -> str:
    """Return a time as the REST API tells it; what must be calculated stays as it is."""
    try:
        moment = datetime.fromisoformat(re.sub(r"\s*UTC$|Z$", "+00:00", text))
    except ValueError:
        return text
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return str(int(moment.timestamp() * 1000))


def _partitioning(tokens: Sequence[Token]) -> dict[str, Any]:
    names = [
        each.text.strip("`")
        for each in tokens
        if each.kind in {"name", "word", "number"} or each.text == "-"
    ]
    first = tokens[0].key
    if first == "RANGE_BUCKET":
        start, end, step = (each.text for each in tokens if each.kind == "number")
        bounds = {"start": start, "end": end, "interval": step}
        return {"rangePartitioning": {"field": names[1], "range": bounds}}
    if first in {"TIMESTAMP_TRUNC", "DATETIME_TRUNC", "DATE_TRUNC"}:
        return {"timePartitioning": {"type": names[2].upper(), "field": names[1]}}
    if first == "DATE":
        return {"timePartitioning": {"type": "DAY", "field": names[1]}}
    field = {} if first == "_PARTITIONDATE" else {"field": names[0]}
    return {"timePartitioning": {"type": "DAY", **field}}
