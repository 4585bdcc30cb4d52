"""Who waits for whom where lanes are scarce."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import ContentUnavailable, SourceUnavailable
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource, failing

KIB, MIB = 1 << 10, 1 << 20
DATA = pattern(12 * MIB)
TINY = pattern(100)


def slow(name: str = "a", *, parallel: int = 1, latency: float = 0.05) -> FakeSource:
    """Return a source of `DATA` that brings 6.4 MB a second on each lane."""
    return FakeSource(DATA, name, latency=latency, pause=0.01, step=64 * KIB, parallel=parallel)


async def test_a_reader_takes_the_only_lane_from_the_background(tmp_path: Path, clock: MockClock) -> None:
    """Where one lane is all there is, background work is broken off for a reader and goes on a while later."""
    source = slow()
    what = content(DATA, chunk=MIB, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        bench.engine.prefetch(what, Extent(0, len(DATA)))
        await trio.sleep(0.3)
        assert [Priority.BACKGROUND] == [priority for _, priority in source.fetched]
        start = trio.current_time()
        assert DATA[11 * MIB :][:10] == await bench.engine.open(what).read(Extent(11 * MIB, 11 * MIB + 10))
        assert trio.current_time() - start < 0.5
        assert (Extent(11 * MIB, 12 * MIB), Priority.READ) == source.fetched[-1]
        reads = len(source.fetched)
        await trio.sleep(0.9)
        assert reads == len(source.fetched)
        await trio.sleep(10)
        assert Priority.BACKGROUND is source.fetched[-1][1]
        assert "complete" == bench.engine.status(what).state


async def test_what_will_be_read_comes_before_what_nobody_reads(tmp_path: Path, clock: MockClock) -> None:
    """While the window of a reader has gaps, no lane goes to the background."""
    source = slow(parallel=2)
    what = content(DATA, chunk=MIB, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="touched")) as bench:
        reader = bench.engine.open(what)
        for offset in range(8 * MIB, 12 * MIB, 128 * KIB):
            await reader.read(Extent(offset, offset + 128 * KIB))
        bench.engine.prefetch(what, Extent(0, len(DATA)))
        assert Priority.READAHEAD in {priority for _, priority in source.fetched}
        await trio.sleep(30)
        background = [extent for extent, priority in source.fetched if priority is Priority.BACKGROUND]
        assert 0 == min(extent.start for extent in background)
        assert all(extent.stop <= 8 * MIB for extent in background)
        assert len(DATA) == source.bytes_asked


async def test_a_killed_readers_lane_is_free(tmp_path: Path, clock: MockClock) -> None:
    """A reader stuck on a silent connection is killed; the one behind it gets the lane at once."""
    source = FakeSource(TINY, latency=1e6, parallel=1)
    what = content(TINY, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        done: list[float] = []

        async def second() -> None:
            assert TINY[50:60] == await reader.read(Extent(50, 60))
            done.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(5):
                await trio.sleep(0)
                await reader.read(Extent(0, 10))
            source.latency = 0.01
            killed = trio.current_time()
            nursery.start_soon(second)
        assert done[0] - killed < 0.5
        await trio.sleep(0.1)
        assert 0 == source.flying


async def test_a_killed_reader_leaves_the_other_reader_of_the_bytes_waiting(tmp_path: Path, clock: MockClock) -> None:
    """Two wait for the same bytes, one is killed: the flight goes on for the other."""
    source = FakeSource(TINY, latency=2)
    what = content(TINY, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        got: list[bytes] = []

        async def patient() -> None:
            got.append(await reader.read(Extent(0, 10)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            with trio.move_on_after(1):
                await reader.read(Extent(0, 10))
        assert [TINY[:10]] == got


async def test_mirrors_share_a_sequential_read(tmp_path: Path, clock: MockClock) -> None:
    """Three mirrors of 6 MB a second each feed one player together; hardly a byte comes twice."""
    sources = {f"fake://{name}": slow(name) for name in "abc"}
    what = content(DATA, chunk=256 * KIB, urls=tuple(sources))
    async with running(tmp_path, sources) as bench:
        reader = bench.engine.open(what)
        start = trio.current_time()
        for offset in range(0, len(DATA), 128 * KIB):
            assert DATA[offset : offset + 128 * KIB] == await reader.read(Extent(offset, offset + 128 * KIB))
        took = trio.current_time() - start
        asked = [source.bytes_asked for source in sources.values()]
    assert min(asked) > len(DATA) / 8
    assert sum(asked) < 1.1 * len(DATA)
    assert took < 0.7 * len(DATA) / 6.4e6


async def test_a_slow_mirror_is_never_waited_for(tmp_path: Path, clock: MockClock) -> None:
    """One of two mirrors is fifty times slower: a sequential read takes hardly longer than from the fast one."""
    took = []
    for names in ("a", "ab"):
        sources = {f"fake://{name}": slow(name) for name in names}
        if "fake://b" in sources:
            sources["fake://b"].pause = 0.5
        what = content(DATA, chunk=256 * KIB, urls=tuple(sources))
        async with running(tmp_path / names, sources) as bench:
            reader = bench.engine.open(what)
            start = trio.current_time()
            for offset in range(0, len(DATA), 128 * KIB):
                await reader.read(Extent(offset, offset + 128 * KIB))
            took.append(trio.current_time() - start)
    assert took[1] < 1.5 * took[0] + 1


async def test_a_read_ends_with_the_time_out_whatever_flies(tmp_path: Path, clock: MockClock) -> None:
    """Many readers on one silent source all end in time, each with an error; nothing spins meanwhile."""
    source = FakeSource(TINY, latency=1e6, parallel=1)
    what = content(TINY, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="off", read_timeout=20)) as bench:
        reader = bench.engine.open(what)

        async def read(offset: int) -> None:
            start = trio.current_time()
            with pytest.raises(ContentUnavailable, match="did not arrive within 20 s"):
                await reader.read(Extent(offset, offset + 5))
            assert trio.current_time() - start <= 20.1

        async with trio.open_nursery() as nursery:
            for offset in range(0, 100, 10):
                nursery.start_soon(read, offset)
    assert len(source.fetched) <= 20


async def test_two_readers_of_one_source_fetch_no_byte_twice(tmp_path: Path, clock: MockClock) -> None:
    """Two readers in different places of one source don't make each other's bytes come twice."""
    source = slow(parallel=4)
    what = content(DATA, chunk=MIB, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:

        async def walk(start: int) -> None:
            reader = bench.engine.open(what)
            for offset in range(start, start + 4 * MIB, 128 * KIB):
                assert DATA[offset : offset + 128 * KIB] == await reader.read(Extent(offset, offset + 128 * KIB))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(walk, 0)
            nursery.start_soon(walk, 6 * MIB)
        covered = ExtentSet(extent for extent, _ in source.fetched)
        assert source.bytes_asked <= 1.05 * covered.total


async def test_many_silent_mirrors_hide_no_good_one(tmp_path: Path, clock: MockClock) -> None:
    """However many mirrors before it accept and say nothing, a good one is asked within the read time-out."""
    data = pattern(100)
    sources = {f"fake://{n}": FakeSource(data, name=f"silent-{n}", latency=1e6) for n in range(8)}
    sources["fake://good"] = FakeSource(data, name="good")
    async with running(tmp_path, sources) as bench:
        reader = bench.engine.open(content(data, urls=tuple(sources)))
        assert data[:10] == await reader.read(Extent(0, 10))


async def test_mirrors_that_refused_come_after_those_not_tried(tmp_path: Path, clock: MockClock) -> None:
    """A thousand dead mirrors cost a thousand refusals, not the read."""
    data = pattern(100)
    down = SourceUnavailable("dead", "connection refused")
    sources = {f"fake://{n}": FakeSource(data, name=f"dead-{n}", fault=failing(down)) for n in range(300)}
    sources["fake://good"] = FakeSource(data, name="good")
    async with running(tmp_path, sources) as bench:
        reader = bench.engine.open(content(data, urls=tuple(sources)))
        assert data[:10] == await reader.read(Extent(0, 10))


@pytest.mark.parametrize("latency", [1.5, 2.5, 4.0, 7.5])
async def test_the_only_mirror_may_take_long_to_answer(latency: float, tmp_path: Path, clock: MockClock) -> None:
    """It is asked again, in case its connection is dead, but not so often that no answer is ever waited for."""
    source = FakeSource(TINY, "a", latency=latency)
    what = content(TINY, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        start = trio.current_time()
        assert TINY[:10] == await bench.engine.open(what).read(Extent(0, 10))
        assert trio.current_time() - start < 4 * latency
        assert source.most_flying == 2
