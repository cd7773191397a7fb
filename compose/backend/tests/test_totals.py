"""When the items that a search finds are counted, and when they are not."""

import asyncio

import pytest

from app.events import Events
from app.items.totals import KEPT_SEARCHES, KEPT_SECONDS, Totals


class Items:
    """Counts as the database would; `gate`, where there is one, holds a count up until it is set."""

    def __init__(self):
        self.number, self.counts, self.now = 100, [], 0.0
        self.gate = None
        self.totals = Totals(self.count, lambda: self.now)

    async def count(self, search):
        self.counts.append(search)
        number = self.number
        if self.gate:
            await self.gate.wait()
        if number < 0:
            raise TimeoutError
        return number

    async def full_page(self, search=""):
        """The total that comes with the first page, of 25 items."""
        return await self.totals.of(search, offset=0, limit=25, found=25)


async def begun(items, counts):
    """So many counts have begun."""
    while len(items.counts) < counts:
        await asyncio.sleep(0)


def test_many_who_ask_at_once_and_soon_after_have_one_count():
    async def ask():
        items = Items()
        items.gate = asyncio.Event()
        asked = [asyncio.ensure_future(items.full_page()) for _ in range(200)]
        await begun(items, 1)
        items.gate.set()
        assert await asyncio.gather(*asked) == [100] * 200
        assert await items.full_page() == 100
        return items.counts

    assert asyncio.run(ask()) == [""]


def test_each_search_has_a_total_of_its_own():
    async def ask():
        items = Items()
        for search in ("", "bolt", "", "bolt"):
            await items.full_page(search)
        return items.counts

    assert asyncio.run(ask()) == ["", "bolt"]


@pytest.mark.parametrize(
    ("action", "again"),
    [("created", ["", "bolt"]), ("deleted", ["", "bolt"]), ("updated", ["bolt"]), (None, ["", "bolt"])],
)
def test_change_has_those_totals_counted_again_that_it_can_alter(action, again):
    async def ask():
        items = Items()
        for search in ("", "bolt"):
            await items.full_page(search)
        items.counts.clear()
        items.totals.changed(action)
        for search in ("", "bolt"):
            await items.full_page(search)
        return items.counts

    assert asyncio.run(ask()) == again


def test_count_that_began_before_a_change_is_not_kept():
    async def ask():
        items = Items()
        items.gate = asyncio.Event()
        before = asyncio.ensure_future(items.full_page())
        await begun(items, 1)
        items.number = 101
        items.totals.changed("created")
        after = asyncio.ensure_future(items.full_page())
        await begun(items, 2)
        items.gate.set()
        assert await before == 100
        return await after, await items.full_page()

    assert asyncio.run(ask()) == (101, 101)


def test_change_that_nobody_told_of_shows_after_some_seconds():
    async def ask():
        items = Items()
        await items.full_page()
        items.number = 7_000
        items.now = KEPT_SECONDS - 0.1
        kept = await items.full_page()
        items.now = KEPT_SECONDS
        return kept, await items.full_page()

    assert asyncio.run(ask()) == (100, 7_000)


@pytest.mark.parametrize(
    ("offset", "found", "total", "counts"),
    [(0, 0, 0, 0), (0, 24, 24, 0), (50, 1, 51, 0), (0, 25, 100, 1), (50, 0, 100, 1), (100, 25, 125, 1)],
    ids=["nothing", "only page", "last page", "full page", "beyond the last page", "more than were counted"],
)
def test_page_that_is_not_full_says_the_total_itself(offset, found, total, counts):
    async def ask():
        items = Items()
        return await items.totals.of("", offset, 25, found), len(items.counts)

    assert asyncio.run(ask()) == (total, counts)


def test_failed_count_fails_for_those_who_waited_and_is_not_kept():
    async def ask():
        items = Items()
        items.number = -1
        failed = await asyncio.gather(items.full_page(), items.full_page(), return_exceptions=True)
        items.number = 5
        return [type(one) for one in failed], len(items.counts), await items.full_page()

    assert asyncio.run(ask()) == ([TimeoutError, TimeoutError], 1, 25)


def test_client_that_leaves_does_not_take_the_count_from_others():
    async def ask():
        items = Items()
        items.gate = asyncio.Event()
        first, second = asyncio.ensure_future(items.full_page()), asyncio.ensure_future(items.full_page())
        await begun(items, 1)
        first.cancel()
        await asyncio.sleep(0)
        items.gate.set()
        return await second, items.counts

    assert asyncio.run(ask()) == (100, [""])


def test_totals_of_many_searches_do_not_fill_the_memory():
    async def ask():
        items = Items()
        for number in range(KEPT_SEARCHES + 50):
            await items.full_page(str(number))
        items.counts.clear()
        for number in (KEPT_SEARCHES + 49, 0):
            await items.full_page(str(number))
        return items.counts

    assert asyncio.run(ask()) == ["0"]


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ('{"type":"item","action":"updated","id":"a","version":2}', "updated"),
        ('{"type":"resync"}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_change_of_another_replica_is_heard_of_through_the_channel(message, action):
    heard = []
    Events(None, None, 0, heard.append).tell(message)
    assert heard == [action]
