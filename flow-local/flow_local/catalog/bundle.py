"""A catalog as one JSON document, with nothing left in other files."""

from flow_local.catalog.models import Catalog
from flow_local.catalog.nodes import Node, encoded


def bundle(catalog: Catalog) -> bytes:
    """Return `catalog` as compact JSON that loads to the same catalog.

    Imports are merged and files inlined. Secrets aren't in it: `${env:NAME}` and encrypted configs
    stay as they are written.
    """
    sections = {
        name: section for name, section in catalog.source.members.items() if section.members
    }
    return encoded(Node(sections, catalog.source.location))
