"""Paging schemes walk every page once, in order, and notice when they walk in circles."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from estuary_cdk.errors import DataError
from estuary_cdk.kits.http import (
    ApiKey,
    CursorPages,
    LinkHeaderPages,
    NextUrlPages,
    NumberedPages,
    OffsetPages,
    Page,
    PagingError,
    SinglePage,
)
from estuary_cdk.kits.http import client as client_module
from estuary_cdk.testing.fake_http import Asked, Reply

ITEMS = [b'{"n": %d.0}' % n for n in range(7)]


class Item(BaseModel):
    n: float


def window(start: int, size: int) -> bytes:
    return b"[" + b", ".join(ITEMS[start : start + size]) + b"]"


def by_cursor(asked: Asked) -> Reply:
    start = int(asked.query.get("cursor", "0"))
    records = b'{"cursor": "%d", "total": 7}' % (start + 3) if start + 3 < 7 else b"{}"
    return Reply.json(b'{"records": %b, "calls": %b}' % (records, window(start, 3)))


def by_offset(asked: Asked) -> Reply:
    # This server lowers a limit of 5 to 3 without a word.
    start, limit = int(asked.query["offset"]), min(3, int(asked.query["limit"]))
    return Reply.json(b'{"data": %b, "total": 7}' % window(start, limit))


def by_number(asked: Asked) -> Reply:
    start = (int(asked.query["page"]) - 1) * 3
    return Reply.json(b'{"data": {"rows": %b}, "meta": {"pages": 3}}' % window(start, 3))


def by_link(asked: Asked) -> Reply:
    start = int(asked.query.get("at", "0"))
    link = f'</i?at={start + 3}>; title="a, b"; rel="x next", </i?at=0>; rel=first'
    return Reply.json(window(start, 3), headers={"Link": link} if start + 3 < 7 else {})


def by_next_url(asked: Asked) -> Reply:
    start = int(asked.query.get("at", "0"))
    following = b'"/i?at=%d"' % (start + 3) if start + 3 < 7 else b"null"
    return Reply.json(b'{"@odata.next": %b, "value": %b}' % (following, window(start, 3)))


SCHEMES = {
    "cursor": (by_cursor, CursorPages("calls", cursor="records.cursor"), 3),
    "offset": (by_offset, OffsetPages("data", limit=5), 4),
    "offset with a total": (by_offset, OffsetPages("data", limit=5, total="total"), 3),
    "number": (by_number, NumberedPages("data.rows", size=3), 4),
    "number with a total": (by_number, NumberedPages("data.rows", total_pages="meta.pages"), 3),
    "link": (by_link, LinkHeaderPages(), 3),
    "next address": (by_next_url, NextUrlPages("value", next_url="/@odata.next"), 3),
    "single": (lambda _: Reply.json(window(0, 7)), SinglePage(), 1),
}


@pytest.mark.parametrize("name", SCHEMES)
async def test_every_item_comes_once_in_order_as_it_was_spelled(serve, name) -> None:
    handler, paging, requests = SCHEMES[name]
    site = await serve({"GET /i": handler})
    async with site.client() as client:
        assert [item async for item in client.pages("i", paging, bytes)] == ITEMS
    assert len(site.fake.requests) == requests


@pytest.mark.parametrize("name", SCHEMES)
async def test_items_become_models(serve, name) -> None:
    handler, paging, _ = SCHEMES[name]
    site = await serve({"GET /i": handler})
    async with site.client() as client:
        items = [item async for item in client.pages("i", paging, Item)]
    assert items == [Item(n=n) for n in range(7)]


async def test_batches_are_the_pages(serve) -> None:
    site = await serve({"GET /i": by_cursor})
    paging = CursorPages("calls", cursor="records.cursor")
    async with site.client() as client:
        sizes = [len(batch) async for batch in client.batches("i", paging, bytes)]
    assert sizes == [3, 3, 1]


async def test_first_parameters_go_with_every_page(serve) -> None:
    site = await serve({"GET /i": by_cursor})
    paging = CursorPages("calls", cursor="records.cursor")
    async with site.client() as client:
        async for _ in client.pages("i", paging, bytes, {"since": "2024"}):
            pass
    assert [asked.query["since"] for asked in site.fake.requests] == ["2024"] * 3


async def test_more_says_whether_to_go_on_when_the_cursor_does_not(serve) -> None:
    site = await serve({"GET /i": lambda _: Reply.json({"rows": [1], "next": "a", "more": False})})
    async with site.client() as client:
        paging = CursorPages("rows", cursor="next", more="more")
        assert [item async for item in client.pages("i", paging, int)] == [1]


async def test_a_repeated_cursor_is_named(serve) -> None:
    cursors = iter(["a", "b", "a", "b"])
    site = await serve({"GET /i": lambda _: Reply.json({"rows": [1], "next": next(cursors)})})
    async with site.client() as client:
        with pytest.raises(PagingError, match="page 3 leads to cursor 'a' again"):
            async for _ in client.pages("i", CursorPages("rows", cursor="next"), int):
                pass


async def test_a_server_that_ignores_the_page_number_is_noticed(serve) -> None:
    site = await serve({"GET /i": lambda _: Reply.json({"rows": [1, 2]})})
    async with site.client() as client:
        items = client.pages("i", NumberedPages("rows"), int)
        assert [await anext(items), await anext(items)] == [1, 2]
        with pytest.raises(PagingError, match="page 2 is the same as the page before"):
            await anext(items)


async def test_pages_without_end_end(serve, monkeypatch) -> None:
    monkeypatch.setattr(client_module, "PAGES_MAX", 5)
    site = await serve({"GET /i": lambda asked: Reply.json({"rows": [asked.query["page"]]})})
    async with site.client() as client:
        with pytest.raises(PagingError, match="more than 5 pages"):
            async for _ in client.pages("i", NumberedPages("rows"), str):
                pass
    assert len(site.fake.requests) == 5


async def test_a_status_may_mean_no_items(serve) -> None:
    site = await serve({"GET /i": lambda _: Reply(404, b"no calls")})
    paging = CursorPages("calls", cursor="records.cursor", empty_status=404)
    async with site.client() as client:
        assert [item async for item in client.pages("i", paging, bytes)] == []


async def test_a_next_address_on_another_host_gets_no_credentials(serve) -> None:
    site = await serve({"GET /i": lambda _: Reply.json({"rows": [1], "next": away})})
    away = f"{site.other_url}/elsewhere"
    site.fake.routes["GET /elsewhere"] = lambda _: Reply.json({"rows": [2]})
    async with site.client(auth=ApiKey(SecretStr("key-secret"))) as client:
        paging = NextUrlPages("rows", next_url="next")
        assert [item async for item in client.pages("i", paging, int)] == [1, 2]
    assert ["X-API-Key" in asked.headers for asked in site.fake.requests] == [True, False]


async def test_items_that_are_no_list_are_a_data_error(serve) -> None:
    site = await serve({"GET /i": lambda _: Reply.json({"rows": {"a": 1}})})
    async with site.client() as client:
        with pytest.raises(DataError, match="at 'rows'"):
            [item async for item in client.pages("i", SinglePage("rows"), bytes)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.integers(min_value=0))
def test_any_cursor_is_handed_back_as_it_was(text: str, number: int) -> None:
    paging = CursorPages("i", cursor="/a.b/c", parameter="at")
    for cursor, expected in ((text, text), (number, str(number))):
        body = msgspec.json.encode({"a.b": {"c": cursor}})
        step = paging.after(Page(1, 1, 0, body, {}, "http://x", "http://x"))
        assert (step is None) == (expected == "")
        assert step is None or step.parameters == {"at": expected}


@given(st.lists(json_values, max_size=4))
def test_items_are_cut_out_without_a_change(values) -> None:
    from estuary_cdk.kits.http.answers import items_at

    items = [msgspec.json.encode(value) for value in values]
    body = b'{"skip": [1, {"a": []}], "rows": [%b]}' % b" , ".join(items)
    assert items_at(body, "rows", "here") == items


async def test_a_circle_is_named_without_secrets(serve) -> None:
    site = await serve({})
    following = f"{site.url}/i?key=key-secret"
    site.fake.routes["GET /i"] = lambda _: Reply.json({"rows": [], "next": following})
    async with site.client(auth=ApiKey(SecretStr("key-secret"), "key", "query")) as client:
        with pytest.raises(PagingError, match="again") as caught:
            await anext(client.pages("i", NextUrlPages("rows", next_url="next"), int))
    assert "key-secret" not in str(caught.value)
