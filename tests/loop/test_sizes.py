"""What is fetched whole to learn how long it is: when, how often, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import pytest
import trio
from trio.testing import MockClock

from mountdl.catalog.build import size_key
from mountdl.catalog.sizes import Gauge, Sizes
from mountdl.descriptors.learned import Learned, Pending
from mountdl.descriptors.model import Entry, MirrorRef
from mountdl.errors import ContentUnavailable, StoreFull

ENTRY = Entry(PurePosixPath("a"), None, mirrors=(MirrorRef("fake://a"),))
KEY = size_key(ENTRY)
MIB = 1 << 20

Told = Callable[[int], None]


class Memory:
    """Keeps what was learned of one file."""

    def __init__(self, kept: Learned | None = None) -> None:
        self.kept = kept

    def recall(self, key: str) -> Learned | None:
        return self.kept

    def keep(self, key: str, learned: Learned) -> None:
        self.kept = learned


async def untold(entry: Entry) -> Learned | None:
    """Answer, but tell no length."""
    return None


@asynccontextmanager
async def asking(
    gauge: Gauge, memory: Memory | None = None, resolve: Callable[[Entry], Awaitable[Learned | None]] = untold
) -> AsyncIterator[Sizes]:
    sizes = Sizes(resolve, lambda: None, memory, gauge)
    async with trio.open_nursery() as nursery:
        await nursery.start(sizes.run)
        sizes.ask_for({KEY: (ENTRY,)})
        yield sizes
        nursery.cancel_scope.cancel()


async def test_it_is_fetched_once_and_kept() -> None:
    """What is said meanwhile changes a few times, not with each part that comes: with it the tree is built anew."""
    said: list[str] = []

    async def gauge(entry: Entry, known: Learned | None, told: Told) -> Learned | None:
        assert known is None
        for count in range(1, 70):
            told(count * MIB)
            assert sizes.pending[KEY].coming
            said.append(sizes.pending[KEY].reason)
        return Learned(70 * MIB, version=("a", ""))

    memory = Memory()
    async with asking(gauge, memory) as sizes:
        while memory.kept is None:
            await trio.sleep(0.01)
        assert {KEY: Learned(70 * MIB, version=("a", ""))} == sizes.known
        assert {} == sizes.pending
    assert memory.kept == sizes.known[KEY]
    first, *later = dict.fromkeys(said)
    assert later == [f"{first}, {count} MiB so far" for count in (16, 32, 64)]
    assert 69 == len(said)


@pytest.mark.parametrize("size", [7, 8])
async def test_another_mount_asks_only_for_another_version(size: int) -> None:
    """One that is there still counts as asked for."""
    kept = Learned(7, remembered=True, version=("a", ""))
    asked: list[Learned | None] = []

    async def gauge(entry: Entry, known: Learned | None, told: Told) -> Learned | None:
        asked.append(known)
        return None if size == 7 else Learned(8, version=("b", ""))

    async with asking(gauge, Memory(kept)) as sizes:
        while sizes.known.get(KEY, kept).remembered:
            await trio.sleep(0.01)
        assert sizes.known[KEY] == Learned(size, version=("a" if size == 7 else "b", ""))
    assert asked == [kept]


@pytest.mark.parametrize(("error", "times"), [(ContentUnavailable("gone"), 3), (StoreFull("no room"), 1)])
async def test_what_fails_is_tried_again_unless_it_has_no_end(clock: MockClock, error: Exception, times: int) -> None:
    """What fills the disk would fill it again and again."""
    tried: list[float] = []

    async def gauge(entry: Entry, known: Learned | None, told: Told) -> Learned | None:
        tried.append(trio.current_time())
        raise error

    async with asking(gauge) as sizes:
        await trio.sleep(1)
        assert sizes.pending[KEY].reason.endswith(f"could not be fetched to find out: {error}")
        await trio.sleep(20)
        assert sizes.pending[KEY].reason.endswith(f"could not be fetched to find out: {error}")
    assert times == len(tried)


async def test_who_does_not_answer_is_not_fetched_from(clock: MockClock) -> None:
    """Nor who refuses."""

    async def refusing(entry: Entry) -> Learned | None:
        raise ContentUnavailable("404")

    async def gauge(entry: Entry, known: Learned | None, told: Told) -> Learned | None:
        raise AssertionError("it must not be asked")

    async with asking(gauge, resolve=refusing) as sizes:
        await trio.sleep(20)
        assert sizes.pending == {KEY: Pending("404")}
