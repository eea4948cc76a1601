"""Names of fields and tables may be anything; the contract tries each in a table of its own."""

from test_contract import subject

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.materialize_values import HOSTILE_NAMES
from estuary_cdk.testing.selection import collection, optional, required


async def test_all_hostile_names_are_columns_of_a_table_with_a_hostile_name(dataset):
    ours = subject(dataset, hard_deletes=True)
    fields = {"id": required("integer"), **dict.fromkeys(HOSTILE_NAMES, optional("string"))}
    spec = collection("acme/hostile", ["/id"], {**fields, "ID": optional("string")})
    runtime = ours.runtime()
    table = "`drop table`; -- 日本語 '\\"
    built = await ours.ready(runtime, ours.model(spec, table))
    values = {name: f"value of {name}" for name in HOSTILE_NAMES}
    document = encode_json({"id": 1, **values, "ID": "x"})
    async with runtime.session(built) as session:
        await session.transaction([(0, document)])
        await session.transaction([(0, document)])
        assert session.loaded == {(0, b"[1]"): document}
    [row] = ours.rows(table)
    assert set(values.values()) <= {each for each in row.values() if isinstance(each, str)}
    assert await runtime.apply(built) == []
