"""A stream from memory: its reader waits for no disk, gets right bytes whatever goes, and leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.engine.assembly import Memory
from mountdl.engine.fresh import SHORTEST_KEPT
from mountdl.errors import StoreError
from mountdl.extents import Extent
from mountdl.pages import padded
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


async def test_memory_is_ready_before_the_first_byte(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    """Its pages are touched while a reader waits for the server anyway; none is made when the bytes are here."""
    made: list[float] = []

    def noted(length: int) -> bytearray:
        made.append(trio.current_time())
        return padded(length)

    monkeypatch.setattr("mountdl.engine.assembly.padded", noted)
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP, latency=5.0)}) as bench:
        reader = bench.engine.open(WHAT)
        begun = trio.current_time()
        assert DATA[:STEP] == await reader.read(Extent(0, STEP))
    assert len([at for at in made if at < begun + 5.0]) == 2


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


async def test_a_reader_waits_for_no_disk_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    """His chunk matched its digest: it is his while a thread still writes it, and what becomes of it is the store's."""
    gate, real = threading.Event(), DataFile.put

    def slow(file: DataFile, *args: Any, **kwargs: Any) -> None:
        gate.wait(60)
        real(file, *args, **kwargs)

    monkeypatch.setattr(DataFile, "put", slow)
    monkeypatch.setattr("mountdl.engine.verifier.in_thread", trio.to_thread.run_sync)
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP)}) as bench:
        reader = bench.engine.open(WHAT)
        with trio.fail_after(60):
            assert DATA[:STEP] == await reader.read(Extent(0, STEP))
            assert reader.ready(Extent(STEP, 2 * STEP)) == DATA[STEP : 2 * STEP]
            stored = reader._download.stored
            assert (stored.written.total, stored.verified.total) == (0, 0)
            gate.set()
            while not stored.verified.covers(Extent(0, CHUNK)):
                await trio.sleep(0.001)
        assert DATA[2 * STEP : CHUNK] == await reader.read(Extent(2 * STEP, CHUNK))


async def test_what_a_disk_did_not_take_is_shown_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Memory
) -> None:
    """Who was answered before the disk failed has right bytes; who comes then is told of the disk, or gets them anew."""
    gate, real, broken = threading.Event(), DataFile.put, [True]

    def failing(file: DataFile, *args: Any, **kwargs: Any) -> None:
        gate.wait(60)
        if broken:
            raise StoreError("broken")
        real(file, *args, **kwargs)

    monkeypatch.setattr(DataFile, "put", failing)
    monkeypatch.setattr("mountdl.engine.verifier.in_thread", trio.to_thread.run_sync)
    async with running(tmp_path, {"fake://a": FakeSource(DATA, step=STEP)}) as bench:
        reader = bench.engine.open(WHAT)
        with trio.fail_after(60):
            assert DATA[:STEP] == await reader.read(Extent(0, STEP))
            gate.set()
            while reader.ready(Extent(0, STEP)) is not None:
                await trio.sleep(0.001)
            with suppress(StoreError):
                assert DATA[:STEP] == await reader.read(Extent(0, STEP))
            broken.clear()
            assert DATA[:STEP] == await reader.read(Extent(0, STEP))
    assert memory.retain(12 * CHUNK)


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
