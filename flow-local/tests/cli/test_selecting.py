"""Bindings that read a part of their collection: some partitions, some time."""

import pytest

DOCUMENTS = [{"id": 1, "name": "eu"}, {"id": 2, "name": "us"}, {"id": 3, "name": "eu"}]
PARTITIONED = (
    "    key: [/id]\n",
    "    key: [/id]\n    projections: {region: {location: /name, partition: true}}\n",
)
REQUIRED = ("required: [id]", "required: [id, name]")


@pytest.mark.parametrize(
    ("source", "stored"),
    [
        ("partitions: {include: {region: [eu]}}", [1, 3]),
        ("partitions: {exclude: {region: [eu]}}", [2]),
        ('notBefore: "2000-01-01T00:00:00Z"', [1, 2, 3]),
        ('notAfter: "2000-01-01T00:00:00Z"', []),
    ],
)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_binding_reads_the_part_that_is_meant(project, source, stored, shards):
    project.write(
        PARTITIONED,
        REQUIRED,
        ("source: acme/events", f"source: {{name: acme/events, {source}}}"),
        ("  acme/table:\n", f"  acme/table:\n    shards: {{count: {shards}}}\n"),
        documents=DOCUMENTS,
    )
    for _ in range(2):
        ended = project.run("run", "--until-idle")
        assert ended.code == 0, ended.err
        assert sorted(each["id"] for each in project.stored) == stored


def test_a_preview_reads_the_part_that_is_meant(project):
    source = "source: {name: acme/events, partitions: {include: {region: [us]}}}"
    project.write(PARTITIONED, REQUIRED, ("source: acme/events", source), documents=DOCUMENTS)
    assert project.run("run", "--until-idle", "--name", "acme/source").code == 0
    ended = project.run("preview", "--name", "acme/table", "--timeout", "300ms")
    assert ended.code == 0, ended.err
    assert [each["id"] for each in project.stored] == [2]
