"""Which fields of a collection may, must or can't go to a table: from projections to constraints.

Pure. A table counts as new when it isn't there or a backfill was asked for; otherwise its columns
bind us. Every projection gets at least one constraint; one that is needed and doesn't fit gets two:
that it is needed, and that it is incompatible, so that a backfill can be offered instead of the
field quietly left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import Raw

from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize.bindings import Column, Field, Path, Table
from estuary_cdk.materialize.destination import Fit, Forbidden, Rules
from estuary_cdk.materialize.plan import column_named, fit
from estuary_cdk.materialize.specs import field_of
from estuary_cdk.protocol.flow import CollectionSpec, Projection
from estuary_cdk.protocol.materialize import (
    FIELD_FORBIDDEN,
    FIELD_OPTIONAL,
    FIELD_REQUIRED,
    INCOMPATIBLE,
    LOCATION_RECOMMENDED,
    LOCATION_REQUIRED,
    Constraint,
    MaterializationBinding,
    ProjectionConstraint,
)
from estuary_cdk.protocol.message import ABSENT, present

CURRENT = "This location is part of the current materialization"
ROOT_REQUIRED = "The root document must be materialized"
PART_REQUIRED = "The property is needed to make the document of its columns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A binding someone wants, and all that its constraints depend on.

    `field_config` holds what the user requires by field, `group_by` the key they chose if not the
    collection's. `existing` is the table there now, `last` what was last bound to it. If it
    `rebuilds`, documents are made of the columns of their properties.
    """

    collection: CollectionSpec
    path: Path
    delta_updates: bool
    backfill: int
    rules: Rules
    field_config: dict[str, Raw]
    group_by: Sequence[str] = ()
    existing: Table | None = None
    last: MaterializationBinding | None = None
    adopt_existing: bool = False
    rebuilds: bool = False

    @property
    def table(self) -> Table | None:
        """The table whose columns bind us; None where it counts as new."""
        backfill = self.last is not None and self.last.backfill != self.backfill
        return None if backfill else self.existing


def constraints(proposal: Proposal) -> list[ProjectionConstraint]:
    """Return the constraints of every projection, in the order of the collection's projections.

    Raises ConfigError where no selection of fields could make the binding work.
    """
    _require_allowed(proposal)
    _require_keys_never_null(proposal)
    judge = _Judge(proposal)
    _require_needed_names_fit(proposal, judge)
    return [
        ProjectionConstraint(field=projection.field, constraint=constraint)
        for projection in proposal.collection.projections
        for constraint in judge.constraints(projection)
    ]


def _require_allowed(proposal: Proposal) -> None:
    table = ".".join(proposal.path)
    last = proposal.last
    if proposal.existing is not None and last is None and not proposal.adopt_existing:
        raise ConfigError(
            f"can't materialize {proposal.collection.name!r} into table {table!r}: "
            "it exists already and isn't ours",
            hint="choose another name, or drop the table",
        )
    bound = last is not None and proposal.table is not None
    if last is not None and bound and last.delta_updates and not proposal.delta_updates:
        raise ConfigError(
            f"can't change table {table!r} from delta updates to standard updates: "
            "it may have several rows for a key",
            hint="backfill the binding, or materialize into another table",
        )


def _require_keys_never_null(proposal: Proposal) -> None:
    for projection in proposal.collection.projections:
        field = field_of(projection, proposal.rules, is_key=False)
        defaulted = present(projection.inference.default)
        if _is_key(proposal, projection) and field.nullable and not defaulted:
            raise ConfigError(
                f"can't materialize collection {proposal.collection.name!r}: "
                f"its key field {projection.field!r} may be null",
                hint="require the field in the schema, or give it a default value",
            )


def _is_key(proposal: Proposal, projection: Projection) -> bool:
    if proposal.group_by:
        return projection.field in proposal.group_by
    return projection.ptr in proposal.collection.key


def _require_needed_names_fit(proposal: Proposal, judge: "_Judge") -> None:
    """Raise ConfigError where all fields of a location that is needed have names too long."""
    if proposal.delta_updates:
        return
    rules = proposal.rules
    for pointer in _needed_pointers(proposal):
        columns = [
            rules.folded(each.field)
            for each in proposal.collection.projections
            if each.ptr == pointer
        ]
        if columns and all(rules.too_long(column) for column in columns):
            raise ConfigError(
                f"can't materialize {pointer!r} of {proposal.collection.name!r}: the column name "
                f"{columns[0]!r} is longer than {rules.name_length_max}",
                hint=f"project {pointer!r} under a shorter name",
            )
    judge.require_distinct_keys()


def _needed_pointers(proposal: Proposal) -> list[str]:
    keys = [each.ptr for each in proposal.collection.projections if _is_key(proposal, each)]
    return keys if proposal.rebuilds else [*keys, ""]


class _Judge:
    """What is the same for all projections of a proposal, and the decision for each."""

    def __init__(self, proposal: Proposal) -> None:
        self._proposal = proposal
        self._rules = proposal.rules
        self._table = proposal.table
        last = proposal.last
        bound = last if self._table is not None else None
        self._last_keys = None if bound is None else tuple(bound.field_selection.keys)
        self._document = self._root_field(bound)
        self._key_pointers = self._pointers(bound)
        self._key_columns = {
            self._rules.identity(self._rules.folded(name)): name for name in self._key_fields()
        }

    def _root_field(self, bound: MaterializationBinding | None) -> str:
        """Return the field that is the document: the one bound, else the one the user requires."""
        if bound is not None and bound.field_selection.document:
            return bound.field_selection.document
        roots = [each.field for each in self._proposal.collection.projections if each.ptr == ""]
        required = [name for name in roots if name in self._proposal.field_config]
        stored = [name for name in roots if self._existing(name) is not None]
        return next(iter((*required, *stored, *roots)), "")

    def _pointers(self, bound: MaterializationBinding | None) -> set[str]:
        """Return the locations of the bound table's key, as far as they are still known."""
        if bound is None:
            return set()
        collection = bound.collection or self._proposal.collection
        keys = set(bound.field_selection.keys)
        return {each.ptr for each in collection.projections if each.field in keys}

    def _key_fields(self) -> list[str]:
        """Return the names that will be the key: those bound, those chosen, else the plainest."""
        if self._last_keys is not None:
            return list(self._last_keys)
        if self._proposal.group_by:
            return list(self._proposal.group_by)
        projections = self._proposal.collection.projections
        names = []
        for pointer in self._proposal.collection.key:
            fields = [each.field for each in projections if each.ptr == pointer]
            plain = [name for name in fields if name == pointer.removeprefix("/")]
            names += (plain or fields)[:1]
        return names

    def require_distinct_keys(self) -> None:
        """Raise ConfigError where two fields of the key would be one column."""
        names = self._key_fields()
        if len(self._key_columns) < len(names):
            raise ConfigError(
                f"can't materialize {self._proposal.collection.name!r} into table "
                f"{'.'.join(self._proposal.path)!r}: fields {', '.join(map(repr, names))} of its "
                "key have names that the destination can't tell apart",
                hint="project them under other names",
            )

    def _existing(self, name: str) -> Column | None:
        if self._table is None:
            return None
        return column_named(self._table, self._rules.folded(name), self._rules)

    def constraints(self, projection: Projection) -> Iterator[Constraint]:
        """Yield the constraints of one projection, each with the name its column will have."""
        folded = self._rules.folded(projection.field)
        for kind, reason in self._decided(projection):
            yield Constraint(
                type=kind,
                reason=reason,
                folded_field=folded if folded != projection.field else "",
            )

    def _decided(self, projection: Projection) -> Iterator[tuple[str, str]]:
        is_key = self._is_key_column(projection)
        config = bytes(self._proposal.field_config.get(projection.field, ABSENT))
        field = field_of(projection, self._rules, is_key=is_key, config=config)
        forbidden = self._forbidden(projection, field)
        if forbidden:
            yield FIELD_FORBIDDEN, forbidden
            return
        wanted = Column(field.column, str(self._rules.column_type(field)), field.nullable)
        existing = self._existing(projection.field)
        if field.is_document:
            yield from self._document_constraints(existing)
        elif is_key and not self._proposal.delta_updates:
            yield from self._key_constraints(existing)
        elif self._is_part(projection) and not self._was_key(projection):
            yield LOCATION_REQUIRED, PART_REQUIRED
        elif existing is None:
            yield _opinion(projection)
        elif self._was_key(projection):
            yield INCOMPATIBLE, "This field is no longer part of the key"
        elif fit(existing, wanted, field, self._rules) is not Fit.INCOMPATIBLE:
            yield FIELD_OPTIONAL, CURRENT
        if existing and fit(existing, wanted, field, self._rules) is Fit.INCOMPATIBLE:
            yield INCOMPATIBLE, _type_reason(field, existing, wanted)

    def _is_key_column(self, projection: Projection) -> bool:
        """Tell whether this very field would be, or is, a column of the key."""
        if self._last_keys is not None and not self._proposal.delta_updates:
            return projection.field in self._last_keys and _is_key(self._proposal, projection)
        return _is_key(self._proposal, projection)

    def _was_key(self, projection: Projection) -> bool:
        standard = not self._proposal.delta_updates
        return standard and self._last_keys is not None and projection.field in self._last_keys

    def _is_part(self, projection: Projection) -> bool:
        """Tell whether a document can't be made again without this property of its root."""
        rebuilds = self._proposal.rebuilds and not self._proposal.delta_updates
        return rebuilds and projection.ptr.count("/") == 1

    def _key_constraints(self, existing: Column | None) -> Iterator[tuple[str, str]]:
        if self._last_keys is not None:
            yield FIELD_REQUIRED, "This field is a key in the current materialization"
        else:
            yield LOCATION_REQUIRED, "All locations of the collection's key are required"
        if self._table is not None and existing is None:
            yield INCOMPATIBLE, "This field is a key, but the table has no column for it"

    def _document_constraints(self, existing: Column | None) -> Iterator[tuple[str, str]]:
        if self._proposal.delta_updates:
            yield (
                (FIELD_OPTIONAL, CURRENT)
                if existing
                else (LOCATION_RECOMMENDED, "The root document should be materialized")
            )
        elif self._proposal.rebuilds:
            yield FIELD_OPTIONAL, CURRENT if existing else "The root document may be materialized"
        elif existing is not None:
            yield FIELD_REQUIRED, "This field is the document in the current materialization"
        else:
            yield LOCATION_REQUIRED, ROOT_REQUIRED
            if self._table is not None:
                yield INCOMPATIBLE, "The table has no column for the root document"

    def _forbidden(self, projection: Projection, field: Field) -> str:
        """Return why a field can't be materialized whatever the table is; empty if it can."""
        rules = self._rules
        chosen = rules.column_type(field)
        if not set(projection.inference.types) - {"null"}:
            return "Cannot materialize a field where the only possible type is 'null'"
        if isinstance(chosen, Forbidden):
            return chosen.reason
        if rules.too_long(field.column):
            return f"The column name {field.column!r} is longer than {rules.name_length_max}"
        if field.is_document and not self._proposal.delta_updates:
            if field.name != self._document:
                return f"The root document is materialized as field {self._document!r} already"
            return ""
        return self._clash(projection, field)

    def _clash(self, projection: Projection, field: Field) -> str:
        rules = self._rules
        key = self._key_columns.get(rules.identity(field.column), field.name)
        document = rules.identity(rules.folded(self._document)) if self._document else None
        if key != field.name:
            return f"Its column would be that of key field {key!r}"
        if rules.identity(field.column) == document and field.name != self._document:
            return f"Its column would be that of the document field {self._document!r}"
        new_key = (
            self._last_keys is not None
            and not self._proposal.delta_updates
            and _is_key(self._proposal, projection)
            and projection.field not in self._last_keys
        )
        if new_key and (self._proposal.group_by or projection.ptr not in self._key_pointers):
            return "A field can't become part of the key of a table without a backfill"
        return ""


def _opinion(projection: Projection) -> tuple[str, str]:
    """Return what we think of a field that nothing forces."""
    types = set(projection.inference.types) - {"null"}
    if projection.ptr == "/_meta/op":
        return LOCATION_RECOMMENDED, "The operation type should be materialized"
    if projection.ptr.startswith("/_meta/"):
        return FIELD_OPTIONAL, "Metadata fields are able to be materialized"
    if types == {"object"}:
        return FIELD_OPTIONAL, "Object fields may be materialized"
    if len(types) > 1 or types == {"array"}:
        return LOCATION_RECOMMENDED, "This field is able to be materialized"
    return LOCATION_RECOMMENDED, "The projection has a single scalar type"


def _type_reason(field: Field, existing: Column, wanted: Column) -> str:
    types = ", ".join(field.inference.types)
    return (
        f"Field {field.name!r} is already being materialized as endpoint type {existing.type!r} "
        f"but endpoint type {wanted.type!r} is required by its schema '{{ type: [{types}] }}'"
    )
