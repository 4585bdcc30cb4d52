"""Chunks that are judged in memory: never half in the store, never lost, never wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.engine import assembly, verifier
from mountdl.engine.assembly import Memory
from mountdl.errors import SourceUnavailable, StoreFull
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.settings import EngineSettings
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

CHUNK = assembly.SHORTEST_CHUNK
DATA = pattern(4 * CHUNK)
WHAT = content(DATA, chunk=CHUNK, urls=("fake://a", "fake://b"))
STEP = CHUNK // 4


def source(**more: Any) -> FakeSource:
    return FakeSource(DATA, step=STEP, **more)


async def test_a_chunk_is_written_once_and_verified(tmp_path: Path, clock: MockClock, monkeypatch: Any) -> None:
    """A whole chunk passes from the connection through one thread to the disk; the loop writes nothing."""
    written: list[int] = []
    monkeypatch.setattr(Stored, "write", lambda self, offset, data: written.append(offset))
    async with running(tmp_path, {"fake://a": source(), "fake://b": source()}) as bench:
        assert DATA == await bench.engine.open(WHAT).read(Extent(0, len(DATA)))
        assert len(DATA) == bench.engine.status(WHAT).verified
    assert [] == written


async def test_a_lie_never_reaches_the_disk(tmp_path: Path, clock: MockClock, monkeypatch: Any) -> None:
    """A chunk that does not match is dropped from memory, its source blamed, the bytes brought by another."""
    put: list[bytes] = []

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Stored, offset: int, data: memoryview, **how: bool) -> Any:
            put.append(bytes(data))
            return real(self, offset, data, **how)

        return noted

    monkeypatch.setattr(Stored, "put", noting(Stored.put))
    monkeypatch.setattr(Stored, "write", noting(Stored.write))  # by it what no thread had begun with at the end
    liar = source(fault=lambda source, offset: b"\xff" * STEP if offset == STEP else None)
    async with running(tmp_path, {"fake://a": liar, "fake://b": source(latency=1.0)}) as bench:
        assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(Extent(0, CHUNK))
        assert 1 == bench.engine.status(WHAT).sources[0].bad_chunks
    assert DATA[:CHUNK] in put
    assert not any(b"\xff" * STEP in data for data in put)


async def test_what_a_flight_leaves_unfinished_is_kept(tmp_path: Path, clock: MockClock) -> None:
    """A source that breaks off in a chunk has its bytes written; another is asked for the rest alone."""

    def breaking(source: FakeSource, offset: int) -> bytes | None:
        if offset >= 2 * STEP:
            raise SourceUnavailable("a", "went away")
        return None

    other = source(latency=0.5)
    async with running(tmp_path, {"fake://a": source(fault=breaking), "fake://b": other}) as bench:
        assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(Extent(0, CHUNK))
    assert {Extent(2 * STEP, CHUNK)} == {extent for extent, _ in other.fetched}


async def test_a_hedge_finds_no_chunk_half_in_memory(tmp_path: Path, clock: MockClock) -> None:
    """A second source that helps with a chunk in memory brings the rest of it; the parts are judged together."""
    slow = source(pause=2.0)
    async with running(tmp_path, {"fake://a": slow, "fake://b": source(latency=0.01)}) as bench:
        assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(Extent(0, CHUNK))
        assert 0 == sum(each.bad_chunks for each in bench.engine.status(WHAT).sources)


async def test_an_unmount_keeps_what_is_in_memory(tmp_path: Path, clock: MockClock) -> None:
    """Cancelled in the middle of a chunk, the bytes that came are in the store when the engine has ended."""
    slow = source(pause=5.0)
    async with running(tmp_path, {"fake://a": slow, "fake://b": slow}) as bench:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.engine.open(WHAT).read, Extent(0, CHUNK))
            await trio.sleep(6)
            nursery.cancel_scope.cancel()
    store = Store(tmp_path)
    stored = store.open(WHAT.key, WHAT.size, WHAT.chunk_map.fingerprint)
    assert stored.written.covers(Extent(0, 2 * STEP))
    store.close()


async def test_without_memory_chunks_go_to_the_store_as_they_come(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When too much is in memory already, bytes take the way they took before."""
    monkeypatch.setattr(assembly.Assemblies.__init__, "__defaults__", (Memory(CHUNK - 1),))
    async with running(tmp_path, {"fake://a": source(), "fake://b": source()}) as bench:
        assert DATA == await bench.engine.open(WHAT).read(Extent(0, len(DATA)))


async def test_a_disk_that_is_full_for_a_thread(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A chunk that matched but found no room is not held; its reader has it from memory, or hears of the disk."""

    def full(self: Stored, offset: int, data: memoryview, **how: bool) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(Stored, "put", full)
    monkeypatch.setattr(Stored, "write", full)  # nor does anything make room
    async with running(tmp_path, {"fake://a": source(), "fake://b": source()}) as bench:
        with suppress(StoreFull):
            assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(Extent(0, CHUNK))
        await trio.sleep(1)
        assert 0 == bench.engine.status(WHAT).verified
    assert "the store: no room" in caplog.text


async def test_who_waits_for_a_chunk_waits_for_no_thread(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader waits for first is judged as it comes; a thread has only to write it, once."""
    monkeypatch.setattr(assembly, "pace", lambda _: assembly.HOP / CHUNK / 2)
    judged: list[int] = []
    real = ChunkMap.matches
    monkeypatch.setattr(ChunkMap, "matches", lambda self, index, data: judged.append(index) or real(self, index, data))

    async def crowded(work: Callable[..., None], *arguments: object) -> None:
        await trio.sleep(10)
        work(*arguments)

    sources = {"fake://a": source(), "fake://b": source()}
    async with running(tmp_path, sources, EngineSettings(background="off")) as bench:
        reader = bench.engine.open(WHAT)
        with monkeypatch.context() as patch:
            patch.setattr(verifier, "in_thread", crowded)
            assert DATA[:100] == await reader.read(Extent(0, 100))
            assert trio.current_time() < 1
        assert DATA == await reader.read(Extent(0, len(DATA)))
        assert 0 not in judged
        assert len(DATA) == bench.engine.status(WHAT).verified


async def test_what_takes_long_to_hash_keeps_nobody(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread hashes it, though a reader waits: the loop has others to serve."""
    monkeypatch.setattr(assembly, "pace", lambda _: assembly.HOP / CHUNK)
    updated: list[int] = []
    monkeypatch.setattr(assembly.ChunkCheck, "update", lambda _, data: updated.append(len(data)))
    monkeypatch.setattr(ChunkMap, "matches", lambda *_: True)
    async with running(tmp_path, {"fake://a": source(), "fake://b": source()}) as bench:
        assert DATA[:CHUNK] == await bench.engine.open(WHAT).read(Extent(0, CHUNK))
    assert [] == updated


async def test_a_lie_that_is_judged_as_it_comes(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is judged once more where all others are, and blamed for as they are."""
    monkeypatch.setattr(assembly, "pace", lambda _: 0.0)
    liar = source(fault=lambda source, offset: b"\xff" * STEP if offset == 0 else None)
    async with running(tmp_path, {"fake://a": liar, "fake://b": source(latency=1.0)}) as bench:
        assert DATA[:10] == await bench.engine.open(WHAT).read(Extent(0, 10))
        assert [1, 0] == [each.bad_chunks for each in bench.engine.status(WHAT).sources]


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_sources_do_bytes_are_right(tmp_path: Path, clock: MockClock, seed: int) -> None:
    """Slow, lying, breaking and stalling sources, readers that come and go: what is read is right, and all is verified."""
    chance = random.Random(seed)
    sources = {f"fake://{name}": source(**_manner(chance)) for name in "abc"}
    sources["fake://good"] = source(latency=0.2, pause=0.01)
    what = content(DATA, chunk=CHUNK, urls=tuple(sources))
    async with running(tmp_path, sources) as bench:

        async def reading(count: int) -> None:
            reader = bench.engine.open(what)
            for _ in range(count):
                start = chance.randrange(len(DATA))
                extent = Extent(start, start + chance.randrange(1, 3 * STEP)).clip(len(DATA))
                with trio.move_on_after(chance.choice((0.05, 1.0, 50.0))):
                    assert DATA[extent.start : extent.stop] == await reader.read(extent)
            reader.close()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reading, 8)
        assert DATA == await bench.engine.open(what).read(Extent(0, len(DATA)))
        assert len(DATA) == bench.engine.status(what).verified
    store = Store(tmp_path)
    assert DATA == store.open(what.key, what.size, what.chunk_map.fingerprint).read(Extent(0, len(DATA)))
    store.close()


def _manner(chance: random.Random) -> dict[str, Any]:
    def fault(source: FakeSource, offset: int) -> bytes | None:
        kind = chance.random()
        if kind < 0.05:
            raise SourceUnavailable("it", "broke off")
        return bytes(STEP) if kind < 0.1 else None

    return {"latency": chance.choice((0.0, 0.1, 1.0)), "pause": chance.choice((0.0, 0.05, 3.0)), "fault": fault}
