from dataclasses import replace

import msgspec

from estuary_cdk.protocol.flow import SerPolicy


async def test_stores_are_cut_as_the_connector_wants_and_packed_for_those_that_need_it(
    stage, tmp_path
):
    task = stage.materialization_task(
        {"path": str(tmp_path / "out.db"), "trace": str(tmp_path / "trace")}
    )
    [binding] = task.spec.bindings
    short = msgspec.structs.replace(binding, ser_policy=SerPolicy(str_truncate_after=64))
    spec = msgspec.structs.replace(task.spec, bindings=[short])
    await stage.publish({"id": 1, "n": "x" * 100}, {"id": 2, "n": "y"})
    await stage.run(replace(task, spec=spec, packed_values=True))
    stores = [each["store"] for each in stage.traced(tmp_path / "trace") if "store" in each]
    assert [store["values"] for store in stores] == [[True, "x" * 64], [False, "y"]]
    assert stores[0]["doc"]["n"] == "x" * 64
    assert stores[1]["valuesPacked"] == "JgJ5AA=="
