"""`test`: catalog tests that pass, fail readably, and can't be run."""

import pytest

COLLECTIONS = """\
collections:
  acme/totals:
    schema:
      type: object
      properties:
        day: {type: string}
        region: {type: string}
        sold: {type: integer, reduce: {strategy: sum}}
        last: {type: string}
      required: [day]
      reduce: {strategy: merge}
    key: [/day]
    projections: {region: {location: /region, partition: true}}
tests:
"""
INGEST = """\
    - ingest:
        collection: acme/totals
        documents:
          - {day: tue, sold: 1, last: a, region: eu}
          - {day: mon, sold: 2, last: b, region: us}
          - {day: tue, sold: 3, last: c}
"""
GOOD = f"""\
  acme/tests/good:
{INGEST}    - verify:
        collection: acme/totals
        documents: [{{day: mon, sold: 2.0}}, {{day: tue, sold: 4, last: c}}]
    - ingest: {{collection: acme/totals, documents: [{{day: mon, sold: 5}}]}}
    - verify:
        collection: acme/totals
        partitions: {{include: {{region: [us]}}}}
        documents: [{{day: mon, sold: 7}}]
"""
BAD = f"""\
  acme/tests/bad:
{INGEST}    - verify:
        description: totals by day
        collection: acme/totals
        documents: [{{day: mon, sold: 3, first: x}}, {{day: wed}}]
"""


@pytest.fixture
def tests(project):
    def run(*texts, arguments=()):
        (project.path / "flow.yaml").write_text(COLLECTIONS + "".join(texts))
        return project.call("test", *arguments)

    return run


def test_what_is_ingested_is_reduced_and_compared_as_a_part(tests):
    ended = tests(
        GOOD.replace("        partitions: {include: {region: [us]}}\n", "").replace(
            "[{day: mon, sold: 7}]", "[{day: mon, sold: 7}, {day: tue}]"
        )
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "passed  acme/tests/good\n1 test passed\n"


def test_only_the_partitions_that_are_meant_are_compared(tests):
    assert tests(GOOD.replace("sold: 7", "sold: 2")).code == 0


def test_a_failure_shows_each_difference(tests):
    ended = tests(GOOD.replace("sold: 7", "sold: 2"), BAD)
    assert (ended.code, ended.sentence) == (1, "1 of 2 tests failed")
    assert ended.out.splitlines() == [
        "passed  acme/tests/good",
        "failed  acme/tests/bad",
        *(
            "        " + line
            for line in [
                "flow.yaml:37: step 2 (totals by day): collection 'acme/totals' isn't as expected",
                '  document ["mon"]',
                "    - /sold: 3",
                "    + /sold: 2",
                '    - /first: "x"',
                "    + /first: nothing",
                '  document ["wed"]',
                '    - {"day":"wed"}',
                "    + nothing",
                '  document ["tue"]',
                "    - nothing",
                '    + {"day":"tue","sold":4,"last":"c","region":"eu"}',
            ]
        ),
    ]


def test_counts_have_to_be_equal(tests):
    ended = tests(BAD.replace("[{day: mon, sold: 3, first: x}, {day: wed}]", "[{day: mon}]"))
    assert "isn't as expected: it has 2 documents, not 1" in ended.out


def test_documents_come_in_the_order_of_their_keys(tests):
    ended = tests(
        BAD.replace("[{day: mon, sold: 3, first: x}, {day: wed}]", "[{day: tue}, {day: mon}]")
    )
    assert ended.code == 1
    assert "the documents of collection 'acme/totals' come in the order of their keys" in ended.out


def test_a_document_that_its_schema_forbids_fails_the_test(tests):
    ended = tests(BAD.replace("sold: 1,", "sold: one,"))
    assert ended.code == 1
    assert "can't ingest document 1 into collection 'acme/totals': at /sold" in ended.out


def test_one_test_is_chosen_by_its_name(tests):
    texts = GOOD.replace("sold: 7", "sold: 2"), BAD
    assert tests(*texts, arguments=("--name", "acme/tests/good")).code == 0
    ended = tests(*texts, arguments=("--name", "acme/tests/goof"))
    assert (ended.code, ended.sentence) == (
        2,
        (
            "can't find test 'acme/tests/goof': the catalog has 'acme/tests/good', "
            "'acme/tests/bad' (did you mean 'acme/tests/good'?)"
        ),
    )
