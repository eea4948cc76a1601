"""Keys come in order and once, however a listing is cut into stretches listed at once."""

import asyncio
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files import StoredFile
from source_s3.listing import Page, in_order

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Keys:
    """Keys, listed a few at a time as S3 does."""

    def __init__(self, keys, page_keys=3) -> None:
        self.keys = sorted(keys, key=str.encode)
        self.page_keys = page_keys
        self.questions = []
        self.at_once = self.most_at_once = 0
        self.fails_at = None

    async def ask(self, question):
        self.questions.append(question)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        start = (question.token or question.after).encode()
        left = [k for k in self.keys if k.encode() > start and k.startswith(question.prefix)]
        if self.fails_at in left[: self.page_keys]:
            raise TransientError("can't list")
        if question.folders:
            return self.by_folder(left, question)
        page, more = left[: self.page_keys], left[self.page_keys :]
        files = [StoredFile(key, 1, "v", NOW) for key in page]
        last = page[-1] if page else ""
        return Page(files, last, last if more else None)

    def by_folder(self, left, question):
        folders = {}
        for key in left:
            head, slash, _ = key.removeprefix(question.prefix).partition("/")
            name = question.prefix + head + slash
            folders.setdefault(name, []).append(key)
        page = list(islice(folders.items(), self.page_keys))
        more = len(folders) > len(page)
        last = page[-1][1][-1] if page else ""
        names = [name for name, _ in page if name.endswith("/")]
        return Page((), last, last if more else None, names)


async def listed(keys, prefix="", after=""):
    return [file.path async for files in in_order(keys.ask, prefix, after) for file in files]


parts = st.text(st.sampled_from("ab-.0\u00fc"), max_size=2)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


@given(st.sets(names.filter(bool), max_size=40), names | st.just(""), st.just("") | names)
def test_every_key_comes_once_and_in_order(keys, prefix, after):
    expected = [
        key
        for key in sorted(keys, key=str.encode)
        if key.startswith(prefix) and key.encode() > after.encode()
    ]
    assert asyncio.run(listed(Keys(keys), prefix, after)) == expected


async def test_folders_are_listed_at_once():
    keys = Keys([f"in/{day:02}/{n:02}" for day in range(20) for n in range(12)])
    assert await listed(keys, "in/") == keys.keys
    assert keys.most_at_once > 4


async def test_many_small_folders_cost_no_question_each():
    keys = Keys([f"in/{n:04}/f" for n in range(3000)], page_keys=1000)
    assert await listed(keys, "in/") == keys.keys
    assert len(keys.questions) < 80


async def test_one_page_costs_one_question():
    keys = Keys(["a/1", "b/1"])
    assert await listed(keys) == keys.keys
    assert len(keys.questions) == 1


async def test_a_stretch_that_fails_ends_the_listing_with_its_reason():
    keys = Keys([f"{day:02}/{n:02}" for day in range(20) for n in range(12)])
    keys.fails_at = "13/05"
    with pytest.raises(TransientError, match="can't list"):
        await listed(keys)


async def test_a_listing_that_is_left_stops_asking():
    keys = Keys([f"{day:02}/{n:02}" for day in range(20) for n in range(12)])
    listing = in_order(keys.ask, "", "")
    async for _ in listing:
        break
    await listing.aclose()
    asked = len(keys.questions)
    await asyncio.sleep(0.01)
    assert len(keys.questions) == asked
