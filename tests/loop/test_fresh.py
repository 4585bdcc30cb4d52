"""A stream from memory: its reader waits for no disk, gets right bytes whatever goes, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.engine.assembly import Memory
from mountdl.engine.fresh import SHORTEST_KEPT
from mountdl.extents import Extent
from mountdl.store.datafile import DataFile
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

CHUNK = SHORTEST_KEPT
DATA = pattern(12 * CHUNK)
WHAT = content(DATA, chunk=CHUNK, urls=("fake://a",))
STEP = CHUNK // 4


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Memory for chunks of this test alone."""
    found = Memory(16 * CHUNK, 12 * CHUNK)
    monkeypatch.setattr("mountdl.engine.settling.MEMORY", found)
    return found


async def test_a_stream_is_read_from_memory(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    """What came ahead of its reader is not read back; when the reader is gone, so is the memory."""
    asked: list[int] = []
    real = DataFile.glance
    monkeypatch.setattr(DataFile, "glance", lambda file, extent: asked.append(extent.length) or real(file, extent))
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP)}) as bench:
        reader = bench.engine.open(WHAT)
        got = b"".join([bytes(await reader.read(Extent(at, at + STEP))) for at in range(0, len(DATA), STEP)])
        assert DATA == got
        assert sum(asked) < len(DATA) // 2
    assert memory.retain(12 * CHUNK)


async def test_what_goes_from_the_store_goes_from_memory(tmp_path: Path, clock: MockClock, memory: Memory) -> None:
    """A chunk that was evicted is fetched again, not given from a memory that nothing stands behind."""
    source = FakeSource(DATA, step=STEP)
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(WHAT)
        for at in range(0, 2 * CHUNK, STEP):
            await reader.read(Extent(at, at + STEP))
        await trio.sleep(10)
        stored = reader._download.stored
        before = stored.verified.total
        stored.evict(Extent(2 * CHUNK, 4 * CHUNK))
        assert stored.verified.total < before
        assert reader.ready(Extent(2 * CHUNK, 2 * CHUNK + 1)) is None
        assert DATA[2 * CHUNK : 3 * CHUNK] == await reader.read(Extent(2 * CHUNK, 3 * CHUNK))


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_what_is_evicted_while_a_thread_reads_it_is_fetched_again(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """However often that happens: never a zero that nobody sent."""
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP)}) as bench:
        reader = bench.engine.open(WHAT)
        await reader.read(Extent(0, len(DATA)))
        left = times

        async def meanwhile(function: Callable[..., Any], *args: Any) -> Any:
            nonlocal left
            if left:
                left -= 1
                reader._download.stored.evict(Extent(CHUNK, 2 * CHUNK))
            return function(*args)

        monkeypatch.setattr("mountdl.engine.reader.in_thread", meanwhile)
        monkeypatch.setattr(DataFile, "glance", lambda file, extent: None)  # a page cache that keeps nothing
        assert DATA[CHUNK : 2 * CHUNK] == await reader.read(Extent(CHUNK, 2 * CHUNK))


async def test_a_mount_that_ends_gives_all_memory_back(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    """Chunks that wait for their verdict then are written, promised or not, and count no more."""

    async def never(function: Callable[..., Any], *args: Any) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr("mountdl.engine.verifier.in_thread", never)
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP)}) as bench:
        reader = bench.engine.open(WHAT)
        with trio.move_on_after(5):
            await reader.read(Extent(0, CHUNK))
        assert bench.engine.status(WHAT).verified == 0
    assert memory.retain(12 * CHUNK)
