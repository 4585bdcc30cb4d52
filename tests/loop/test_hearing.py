"""What a source may do that writes the store's data file itself, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent, ExtentSet
from tests.loop.test_settling import killed
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

CHUNK = 1 << 16
DATA = pattern(6 * CHUNK)
URL = "fake://a"
WHAT = content(DATA, chunk=CHUNK, urls=(URL,))


def chunks(start: int, stop: int) -> Extent:
    return Extent(start * CHUNK, stop * CHUNK)


def put(path: Path, extent: Extent, data: bytes = DATA) -> None:
    with path.open("r+b") as file:
        file.seek(extent.start)
        file.write(data[extent.start : extent.stop])


async def eventually(done: object) -> None:
    with trio.fail_after(5):
        while not done():  # type: ignore[operator]
            await trio.sleep(0.01)


async def test_what_it_brought_is_judged_and_read(tmp_path: Path, clock: MockClock) -> None:
    """By the content's own digests, in whatever order it comes; the source is said to have delivered it."""
    recalls: list[str] = []
    async with running(tmp_path, {URL: FakeSource(DATA, latency=60.0)}) as bench:
        reader, download = bench.engine.open(WHAT), bench.engine.download(WHAT)
        hearing, stored = download.hearing, download.stored
        assert hearing.lends()
        assert hearing.lend((), lambda: recalls.append("recalled"))
        assert not hearing.lends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, chunks(2, 4))
            await trio.testing.wait_all_tasks_blocked()
            for extent in (chunks(3, 4), chunks(2, 3)):
                put(stored.path, extent)
                hearing.brought("fake", extent)

        assert DATA[2 * CHUNK : 4 * CHUNK] == await reader.read(chunks(2, 4))
        assert stored.verified == ExtentSet([chunks(2, 4)])
        assert bench.engine.status(WHAT).sources[0].delivered == 2 * CHUNK
        hearing.returned()
        assert hearing.lends()
    assert not recalls


async def test_what_is_wrong_ends_the_loan_for_good(tmp_path: Path, clock: MockClock) -> None:
    """The digest counts, whatever the source found; it is blamed as any other is."""
    recalls: list[str] = []
    async with running(tmp_path, {URL: FakeSource(DATA, step=CHUNK)}) as bench:
        reader, download = bench.engine.open(WHAT), bench.engine.download(WHAT)
        hearing, stored = download.hearing, download.stored
        hearing.lend((), lambda: recalls.append("recalled"))
        put(stored.path, chunks(0, 1), bytes(CHUNK))
        hearing.brought("fake", chunks(0, 1))
        await eventually(lambda: recalls)

        assert bench.engine.status(WHAT).sources[0].bad_chunks == 1
        assert not stored.written
        hearing.returned()
        assert not hearing.lends()
        with pytest.raises(ContentUnavailable, match="fake: sent wrong bytes for chunk 0"):
            await reader.read(chunks(0, 1))
    assert ["recalled"] == recalls


@pytest.mark.parametrize("power", [False, True])
async def test_what_a_kill_left_is_judged_first(tmp_path: Path, clock: MockClock, power: bool) -> None:
    """Else a chunk could be found good that the source, which does not have it, still writes to."""
    await killed(tmp_path, WHAT, chunks(0, 2), power=power)
    async with running(tmp_path, {URL: FakeSource(DATA, latency=60.0)}) as bench:
        bench.engine.open(WHAT)
        hearing = bench.engine.download(WHAT).hearing
        assert not hearing.lends()
        await eventually(hearing.lends)
        assert bench.engine.status(WHAT).verified == 2 * CHUNK


async def test_two_sources_never_write_side_by_side(tmp_path: Path, clock: MockClock) -> None:
    """It is not lent where there is another, and given back when one turns up."""
    recalls: list[str] = []
    sources = {url: FakeSource(DATA, step=CHUNK, latency=0.01) for url in (URL, "fake://b")}
    both = content(DATA, chunk=CHUNK, urls=(URL, "fake://b"))
    async with running(tmp_path, sources) as bench:
        download = bench.engine.download(WHAT)
        download.hearing.lend((), lambda: recalls.append("recalled"))
        bench.engine._adopt(download, both)
        assert ["recalled"] == recalls
        with trio.move_on_after(0.5):
            await bench.engine.open(both).read(chunks(0, 6))  # the one who had it may still write
        assert not download.stored.written
        download.hearing.returned()
        assert not download.hearing.lends()
        assert DATA == await bench.engine.open(both).read(chunks(0, 6))


async def test_loose_bytes_go_without_a_recall(tmp_path: Path, clock: MockClock) -> None:
    """They are the reason why it could not begin yet."""
    recalls: list[str] = []
    async with running(tmp_path, {URL: FakeSource(DATA, step=CHUNK)}) as bench:
        download = bench.engine.download(WHAT)
        assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(chunks(0, 1))
        await eventually(download.hearing.lends)
        download.hearing.lend([Extent(100, 300)], lambda: recalls.append("recalled"))
        assert download.stored.there == ExtentSet([Extent(0, 100), Extent(300, CHUNK)])
        assert not recalls
