"""Which fields of a collection a binding materializes, and why: Flow's field selection, purely.

Every field gathers reasons to select it and reasons to reject it. Then the fields are visited from
the most wanted to the least, and each may still lose to one accepted before it: of the same
location, of a location around it, or of the same name in the destination. What is left decides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from msgspec import Raw

from estuary_cdk.protocol import materialize
from estuary_cdk.protocol.flow import Projection
from estuary_cdk.protocol.materialize import Constraint, FieldSelection
from flow_local.build.reasons import REJECT_TEXTS, SELECT_TEXTS, YIELDING, Reject, Select
from flow_local.schema.projections import PUBLISHED_AT_FIELD, canonical_field

_INCOMPATIBLE = {materialize.INCOMPATIBLE, "UNSATISFIABLE"}
KEYABLE = {"boolean", "integer", "string"}
_WEAK_AT_LOCATION = {
    None,
    Select.CORE_METADATA,
    Select.DESIRED_DEPTH,
    Select.CONNECTOR_REQUIRES_LOCATION,
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the catalog asks of a binding's fields.

    `group_by` None leaves the key to the collection. `recommended_depth` 0 recommends nothing, None
    any depth.
    """

    group_by: Sequence[str] | None = None
    require: Mapping[str, bytes] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    recommended_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that selection depends on.

    `live` is the selection of the binding as it runs now; None for a new binding or a new backfill.
    A field's constraints may be several; a field without any is forbidden.
    """

    projections: Sequence[Projection]
    key: Sequence[str]
    constraints: Mapping[str, Sequence[Constraint]]
    choices: Choices = field(default_factory=Choices)
    live: FieldSelection | None = None
    case_insensitive: bool = False


class Outcome(Enum):
    """What becomes of a field."""

    SELECTED = "selected"
    REJECTED = "rejected"
    CONFLICT = "conflict"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A field, the strongest reasons for and against it, and the connector's own words."""

    field: str
    projection: Projection | None
    select: Select | None = None
    reject: Reject | None = None
    detail: str = ""

    @property
    def outcome(self) -> Outcome:
        """What the two reasons come to."""
        if self.select is None:
            return Outcome.REJECTED
        if self.reject is None:
            return Outcome.SELECTED
        if self.reject is Reject.CONNECTOR_INCOMPATIBLE:
            return Outcome.INCOMPATIBLE
        return Outcome.REJECTED if self.select in YIELDING else Outcome.CONFLICT

    @property
    def reason(self) -> str:
        """Why, in words: the reason that decided, with the connector's own where it gave one."""
        if self.outcome is Outcome.SELECTED and self.select is not None:
            return SELECT_TEXTS[self.select]
        told = REJECT_TEXTS[self.reject or Reject.NOT_SELECTED]
        told = f"{told}: {self.detail}" if self.detail else told
        if self.outcome is Outcome.REJECTED or self.select is None:
            return told
        return f"{SELECT_TEXTS[self.select]}, but {told}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The verdict on every field, sorted by field, and the selection they make.

    With `conflicts` the selection can't be built; with `incompatible` it presumes a backfill.
    """

    verdicts: tuple[Verdict, ...]
    fields: FieldSelection

    @property
    def conflicts(self) -> tuple[Verdict, ...]:
        """Fields that are wanted and can't be had."""
        return tuple(v for v in self.verdicts if v.outcome is Outcome.CONFLICT)

    @property
    def incompatible(self) -> tuple[Verdict, ...]:
        """Fields that a backfill would make possible."""
        return tuple(v for v in self.verdicts if v.outcome is Outcome.INCOMPATIBLE)


def select(inputs: Inputs) -> Selection:
    """Select the fields of one binding."""
    group_by = tuple(inputs.choices.group_by or _key_fields(inputs))
    verdicts = {
        projection.field: Verdict(projection.field, projection) for projection in inputs.projections
    }
    for name, reason in _wishes(inputs, group_by):
        verdict = verdicts.get(name)
        if verdict is None:
            verdict = Verdict(name, None, reject=Reject.COLLECTION_OMITS)
        verdicts[name] = replace(verdict, select=max(verdict.select or reason, reason))
    for name, objection, detail in _objections(inputs, verdicts, group_by):
        verdicts[name] = _objected(verdicts[name], objection, detail)
    settled = _settled(inputs, verdicts)
    return Selection(
        tuple(settled[name] for name in sorted(settled)), _assembled(settled, group_by, inputs)
    )


def _key_fields(inputs: Inputs) -> list[str]:
    return [canonical_field(pointer) for pointer in inputs.key]


def _depth(pointer: str) -> int:
    return pointer.count("/")


def _objected(verdict: Verdict, reject: Reject, detail: str = "") -> Verdict:
    if verdict.reject is not None and verdict.reject >= reject:
        return verdict
    return replace(verdict, reject=reject, detail=detail)


def _wishes(inputs: Inputs, group_by: Sequence[str]) -> Iterator[tuple[str, Select]]:
    """Yield every reason to select a field."""
    for name in group_by:
        yield name, Select.GROUP_BY_KEY
    for name in inputs.choices.require:
        yield name, Select.USER_REQUIRES
    yield from _current(inputs, group_by)
    for projection in inputs.projections:
        if projection.is_partition_key:
            yield projection.field, Select.PARTITION_KEY
        if projection.explicit:
            yield projection.field, Select.USER_DEFINED
        recommended = _recommended(projection, inputs)
        if recommended is not None:
            yield projection.field, recommended
    yield from _required(inputs)


def _current(inputs: Inputs, group_by: Sequence[str]) -> Iterator[tuple[str, Select]]:
    if inputs.live is None:
        return
    if inputs.live.document:
        yield inputs.live.document, Select.CURRENT_DOCUMENT
    # What left the collection can't stay, and goes quietly.
    known = {projection.field for projection in inputs.projections} - set(group_by)
    for name in (*inputs.live.keys, *inputs.live.values):
        if name in known:
            yield name, Select.CURRENT_VALUE


def _required(inputs: Inputs) -> Iterator[tuple[str, Select]]:
    known = {projection.field for projection in inputs.projections}
    for name, constraints in inputs.constraints.items():
        types = {constraint.type for constraint in constraints}
        if materialize.FIELD_REQUIRED in types:
            yield name, Select.CONNECTOR_REQUIRES
        elif materialize.LOCATION_REQUIRED in types and name in known:
            yield name, Select.CONNECTOR_REQUIRES_LOCATION


def _recommended(projection: Projection, inputs: Inputs) -> Select | None:
    desired = inputs.choices.recommended_depth
    if desired == 0 or projection.ptr == "":
        return None
    if projection.field == PUBLISHED_AT_FIELD or projection.ptr == "/_meta/op":
        return Select.CORE_METADATA
    if projection.ptr == "/_meta" or projection.ptr.startswith("/_meta/"):
        return None
    depth = _depth(projection.ptr)
    if desired is not None and depth == desired:
        return Select.DESIRED_DEPTH
    if desired is not None and depth > desired:
        return None
    if projection.inference.types != ["object"]:
        return Select.DESIRED_DEPTH
    below = projection.ptr + "/"
    childless = not any(other.ptr.startswith(below) for other in inputs.projections)
    return Select.DESIRED_DEPTH if desired is not None and childless else None


def _objections(
    inputs: Inputs, verdicts: Mapping[str, Verdict], group_by: Sequence[str]
) -> Iterator[tuple[str, Reject, str]]:
    """Yield every reason against a field that doesn't depend on other fields."""
    for name in inputs.choices.exclude:
        if name in verdicts:
            yield name, Reject.USER_EXCLUDES, ""
    for name in group_by:
        projection = verdicts[name].projection
        types = set(projection.inference.types) - {"null"} if projection else set()
        if not types <= KEYABLE:
            told = ", ".join(sorted(types))
            yield name, Reject.CONNECTOR_FORBIDS, f"a key can't be of type {told}"
    for name, verdict in verdicts.items():
        constraints = inputs.constraints.get(name, ())
        if not constraints and verdict.projection is not None:
            yield name, Reject.CONNECTOR_OMITS, ""
        for constraint in constraints:
            if constraint.type == materialize.FIELD_FORBIDDEN:
                yield name, Reject.CONNECTOR_FORBIDS, constraint.reason
            # Without a live selection there is nothing to be incompatible with.
            elif constraint.type in _INCOMPATIBLE and inputs.live is not None:
                yield name, Reject.CONNECTOR_INCOMPATIBLE, constraint.reason


def _settled(inputs: Inputs, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Visit the fields from the most wanted on; each meets those accepted before it."""
    excluded = [
        projection.ptr
        for projection in inputs.projections
        if projection.field in inputs.choices.exclude
        and projection.ptr
        and projection.field == canonical_field(projection.ptr)
    ]
    folded_name = _folding(inputs)
    settled: dict[str, Verdict] = {}
    pointers: dict[str, str] = {}
    folds: dict[str, str] = {}

    def wish(verdict: Verdict) -> tuple[int, bool, str, str]:
        pointer = verdict.projection.ptr if verdict.projection else ""
        return -(verdict.select or 0), verdict.reject is not None, pointer, verdict.field

    for verdict in sorted(verdicts.values(), key=wish):
        met = _met(verdict, pointers, excluded)
        # What is only incompatible counts as selected: a backfill is presumed.
        if met.outcome in {Outcome.SELECTED, Outcome.INCOMPATIBLE}:
            folded = folded_name(met.field)
            if folded in folds:
                met = _objected(met, Reject.DUPLICATE_FOLD, repr(folds[folded]))
            else:
                folds[folded] = met.field
                pointers.setdefault(met.projection.ptr if met.projection else "", met.field)
        settled[met.field] = met
    return settled


def _met(verdict: Verdict, accepted: Mapping[str, str], excluded: Sequence[str]) -> Verdict:
    projection, wanted = verdict.projection, verdict.select
    if projection is None:
        return verdict
    if projection.ptr in accepted and wanted in _WEAK_AT_LOCATION:
        other = accepted[projection.ptr]
        met = _objected(verdict, Reject.DUPLICATE_LOCATION, repr(other))
        # Its location is there by the other's name, so a connector that required it is served.
        return replace(met, select=None) if wanted is Select.CONNECTOR_REQUIRES_LOCATION else met
    inside = any(pointer and projection.ptr.startswith(pointer + "/") for pointer in accepted)
    if inside and wanted in {None, Select.DESIRED_DEPTH}:
        return _objected(verdict, Reject.COVERED_LOCATION)
    if any(projection.ptr.startswith(pointer + "/") for pointer in excluded):
        return _objected(verdict, Reject.EXCLUDED_PARENT)
    return verdict


def _folding(inputs: Inputs) -> Callable[[str], str]:
    folded = {
        name: constraint.folded_field
        for name, constraints in inputs.constraints.items()
        for constraint in constraints
        if constraint.folded_field
    }

    def name_of(name: str) -> str:
        known = folded.get(name, name)
        return known.lower() if inputs.case_insensitive else known

    return name_of


def _assembled(
    settled: Mapping[str, Verdict], group_by: Sequence[str], inputs: Inputs
) -> FieldSelection:
    """Put the selection together: key in its order, the first root field, the rest by name."""
    taken = {Outcome.SELECTED, Outcome.INCOMPATIBLE}
    chosen = [verdict for verdict in settled.values() if verdict.outcome in taken]
    roots = [v for v in chosen if v.projection is not None and v.projection.ptr == ""]
    document = roots[0].field if roots else ""
    values = sorted(v.field for v in chosen if v.field not in {document, *group_by})
    return FieldSelection(
        keys=list(group_by),
        values=values,
        document=document,
        field_config={name: Raw(raw) for name, raw in sorted(inputs.choices.require.items())},
    )
