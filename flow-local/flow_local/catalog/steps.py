"""The tests of a catalog."""

from flow_local.catalog.diagnostics import Mistakes
from flow_local.catalog.models import Ingest, Step, Test, Verify
from flow_local.catalog.nodes import Node, encoded, kind
from flow_local.catalog.stanza import Stanza, stanza
from flow_local.catalog.tasks import read_partitions

_INGEST = ("collection", "documents", "description")
_VERIFY = ("collection", "documents", "partitions", "description")


def read_test(name: str, node: Node, mistakes: Mistakes) -> Test:
    """Read one test, which is a list of steps."""
    label = f"test {name!r}"
    if not isinstance(node.value, tuple):
        message = f"can't read {label}: expected a list of steps, found {kind(node)}"
        mistakes.add(node.location, message)
    steps = (
        _read_step(step, f"step {index + 1} of {label}", mistakes)
        for index, step in enumerate(node.items)
    )
    return Test(name, tuple(step for step in steps if step), node.location)


def _read_step(node: Node, name: str, mistakes: Mistakes) -> Step | None:
    step = stanza(node, name, ("ingest", "verify"), mistakes)
    given = [key for key in ("ingest", "verify") if step.member(key)]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        step.note(node, f"can't use {name}: expected 'ingest' or 'verify', found {found}")
        return None
    inner = step.below(given[0], _INGEST if given == ["ingest"] else _VERIFY)
    assert inner is not None
    collection = inner.required_text("collection", "name the collection")
    documents = _read_documents(inner)
    description = inner.text("description") or ""
    if given == ["ingest"]:
        return Ingest(collection, documents, description, node.location)
    return Verify(collection, documents, read_partitions(inner), description, node.location)


def _read_documents(inner: Stanza) -> tuple[bytes, ...]:
    node = inner.required("documents", "give a list of documents, or a file that holds one")
    if node is None:
        return ()
    if not isinstance(node.value, tuple):
        inner.wrong_type("documents", node, "a list")
    return tuple(encoded(document) for document in node.items)
