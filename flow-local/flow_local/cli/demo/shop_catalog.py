"""The catalog of the shop: four tables of PostgreSQL, four collections, four tables of SQLite."""

from pathlib import Path
from typing import Final

from flow_local.cli.demo.comparison import Selection
from flow_local.cli.demo.pipeline import quoted

DATABASE: Final = "shop.db"
FIRST_LINE: Final = "# The catalog of `flow-local demo`, written anew by each."
TABLES: Final = {
    "customers": Selection(
        ("id",),
        ("name", "email", "joined", "preferences"),
        {"preferences": "preferences::text"},
    ),
    "products": Selection(
        ("sku",),
        ("name", "price", "stock", "tags", "sold"),
        {"tags": "array_to_json(tags)::text"},
    ),
    "orders": Selection(
        ("id",), ("customer", "placed", "status", "total"), {"status": "status::text"}
    ),
    "order_lines": Selection(("order_id", "line"), ("sku", "quantity", "price"), {}),
}
_CATALOG: Final = """\
captures:
  demo/source-postgres:
    endpoint:
      local:
        command: [source-postgres]
        config:
          address: ADDRESS # a server that runs while the demo does
          database: postgres
          user: postgres
          credentials: {auth_type: UserPassword, password: anything}
          advanced: {backfill_chunk_size: 4000}
    bindings:
      - {resource: {namespace: public, stream: customers}, target: demo/customers}
      - {resource: {namespace: public, stream: products}, target: demo/products}
      - {resource: {namespace: public, stream: orders}, target: demo/orders}
      - {resource: {namespace: public, stream: order_lines}, target: demo/order-lines}

collections:
  demo/customers:
    key: [/id]
    schema:
      type: object
      properties:
        id: {type: integer}
        name: {type: string}
        email: {type: [string, "null"]}
        joined: {type: string, format: date}
        preferences: {type: [object, "null"]}
      required: [id]
      # A change is merged into what is known of a row; a deletion ends it.
      if: &deleted {properties: {_meta: {properties: {op: {const: d}}, required: [op]}}}
      then: &gone {reduce: {strategy: merge, delete: true}}
      else: &changed {reduce: {strategy: merge}}
  demo/products:
    key: [/sku]
    schema:
      type: object
      properties:
        sku: {type: string}
        name: {type: string}
        price: {type: string, format: number}
        stock: {type: integer}
        tags: {type: array, items: {type: string}, reduce: {strategy: lastWriteWins}}
        sold: {type: boolean}
      required: [sku]
      if: *deleted
      then: *gone
      else: *changed
  demo/orders:
    key: [/id]
    schema:
      type: object
      properties:
        id: {type: integer}
        customer: {type: integer}
        placed: {type: string, format: date-time}
        status: {type: string}
        total: {type: string, format: number}
      required: [id]
      if: *deleted
      then: *gone
      else: *changed
  demo/order-lines:
    key: [/order_id, /line]
    schema:
      type: object
      properties:
        order_id: {type: integer}
        line: {type: integer}
        sku: {type: string}
        quantity: {type: integer}
        price: {type: string, format: number}
      required: [order_id, line]
      if: *deleted
      then: *gone
      else: *changed

materializations:
  demo/materialize-sqlite:
    endpoint:
      local:
        command: [materialize-sqlite]
        config: {path: DATABASE, hardDelete: true}
    bindings:
      - {source: demo/customers, resource: {table: customers}}
      - {source: demo/products, resource: {table: products}}
      - {source: demo/orders, resource: {table: orders}}
      - {source: demo/order-lines, resource: {table: order_lines}}
"""


def write_shop_catalog(path: Path, address: str) -> None:
    """Write the catalog for a server at an address; its database lies beside it."""
    database = str((path.parent / DATABASE).resolve())
    text = _CATALOG.replace("ADDRESS", quoted(address)).replace("DATABASE", quoted(database))
    path.write_text(f"{FIRST_LINE}\n\n{text}", encoding="utf-8")
