"""What a reader sees of sources and of a store that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import ContentUnavailable, StoreError, StoreFull
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from mountdl.sources.base import Paced, Sink, hold
from mountdl.store.stored import Stored
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource
from tests.support.scripts import dying, shrinking, stalling

DATA = pattern(400)


async def test_a_shrinking_source_is_dropped_for_another(tmp_path: Path, clock: MockClock) -> None:
    """A mirror that has another file now is dropped in the middle of a read; the reader notices nothing."""
    shrunk = FakeSource(DATA, "shrunk", latency=0.001, fault=shrinking(50))
    other = FakeSource(DATA, "other", latency=0.3)
    what = content(DATA, urls=("fake://shrunk", "fake://other"))
    async with running(tmp_path, {"fake://shrunk": shrunk, "fake://other": other}) as bench:
        assert DATA == await bench.engine.open(what).read(Extent(0, 400))
        status = bench.engine.status(what).sources[0]
        assert ("dropped", "has 50 bytes now, not 400") == (status.state, status.reason)


@pytest.mark.parametrize("after", [0, 16, 160, 384])
async def test_a_source_that_falls_silent_is_not_waited_for(tmp_path: Path, clock: MockClock, after: int) -> None:
    """Wherever a mirror falls silent, the rest comes from another within seconds, once."""
    silent = FakeSource(DATA, "silent", latency=0.001, fault=stalling(after))
    other = FakeSource(DATA, "other", latency=0.3)
    what = content(DATA, chunk=None, whole=False, urls=("fake://silent", "fake://other"))
    async with running(tmp_path, {"fake://silent": silent, "fake://other": other}) as bench:
        start = trio.current_time()
        assert DATA == await bench.engine.open(what).read(Extent(0, 400))
        assert trio.current_time() - start < 3
        assert [Extent(after, 400)] == [extent for extent, _ in other.fetched]
        await trio.sleep(1)
        assert 0 == silent.flying


async def test_the_only_source_falls_silent_and_is_asked_again(tmp_path: Path, clock: MockClock) -> None:
    """One dead connection to the only mirror does not cost the read: it is asked on another one."""

    def once(source: FakeSource, offset: int) -> bytes | None:
        source.pause = 1e6 if len(source.fetched) == 1 and offset >= 160 else 0.001
        return None

    source = FakeSource(DATA, fault=once)
    what = content(DATA, chunk=None, whole=False, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        start = trio.current_time()
        assert DATA == await bench.engine.open(what).read(Extent(0, 400))
        assert trio.current_time() - start < 5
        assert len(source.fetched) <= 3


async def test_a_source_that_dies_again_and_again_is_read_through(tmp_path: Path, clock: MockClock) -> None:
    """A mirror that resets every connection after 64 bytes still delivers, a piece at a time."""

    def flaky(source: FakeSource, offset: int) -> bytes | None:
        begun = source.fetched[-1][0].start
        return dying(begun + 64)(source, offset)

    source = FakeSource(DATA, fault=flaky)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        assert DATA == await bench.engine.open(what).read(Extent(0, 400))


async def test_a_full_disk_fails_the_read_and_heals(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room a read says so at once, whoever waits; when there is room again the next read works."""
    full = True
    real = Stored.write

    def write(self: Stored, offset: int, data: Any) -> None:
        if full:
            raise StoreFull("no room left on the disk of the cache")
        real(self, offset, data)

    monkeypatch.setattr(Stored, "write", write)
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}, EngineSettings()) as bench:
        reader = bench.engine.open(what)
        bench.engine.prefetch(what, Extent(0, 400))
        for _ in range(3):
            start = trio.current_time()
            with pytest.raises(StoreFull):
                await reader.read(Extent(0, 10))
            assert trio.current_time() - start < 1
        await trio.sleep(10)
        assert len(source.fetched) <= 8
        assert 0 == bench.engine.status(what).sources[0].failures
        full = False
        assert DATA[:10] == await reader.read(Extent(0, 10))
        await trio.sleep(40)
        assert ("complete", None) == (bench.engine.status(what).state, bench.engine.status(what).error)


async def test_a_disk_that_fails_in_the_middle_of_a_flight(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before the failure counts; after it only the rest is fetched."""
    room = 48
    real = Stored.write

    def write(self: Stored, offset: int, data: Any) -> None:
        if offset >= room:
            raise StoreFull("no room left on the disk of the cache")
        real(self, offset, data)

    monkeypatch.setattr(Stored, "write", write)
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        with pytest.raises(StoreFull):
            await reader.read(Extent(0, 100))
        assert DATA[:48] == reader.ready(Extent(0, 48))
        room = 400
        assert DATA[:100] == await reader.read(Extent(0, 100))
        assert {Extent(48, 112)} == {extent for extent, _ in source.fetched[1:]}


async def test_an_io_error_of_the_disk_is_the_readers(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that can't be written is no fault of the source."""

    def write(self: Stored, offset: int, data: Any) -> None:
        raise StoreError("can't write: Input/output error")

    monkeypatch.setattr(Stored, "write", write)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        with pytest.raises(StoreError, match="Input/output"):
            await bench.engine.open(what).read(Extent(0, 10))
        assert None is bench.engine.status(what).sources[0].reason


async def test_an_error_is_over_when_reads_work_again(tmp_path: Path, clock: MockClock) -> None:
    """After an outage the status does not go on saying "error" while every read is served."""
    source = FakeSource(DATA, fault=dying(0))
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        with pytest.raises(ContentUnavailable):
            await reader.read(Extent(0, 10))
        assert "error" == bench.engine.status(what).state
        source.fault = lambda source, offset: None
        await reader.read(Extent(0, 10))
        await trio.sleep(1)
        assert "idle" == bench.engine.status(what).state


async def test_bytes_of_a_reset_connection_are_kept(tmp_path: Path, clock: MockClock) -> None:
    """A download over a line that drops costs each byte once."""
    source = FakeSource(DATA, fault=lambda s, o: dying(s.fetched[-1][0].start + 160)(s, o))
    what = content(DATA, chunk=None, whole=False, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        assert DATA == await bench.engine.open(what).read(Extent(0, 400))
    assert [Extent(0, 400), Extent(160, 400), Extent(320, 400)] == [extent for extent, _ in source.fetched]


class Eager(FakeSource):
    """Has all there at once, as a socket may, and lets nobody else have a turn unless it is told to."""

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        self.fetched.append((extent, priority))
        await trio.sleep(self.latency)
        assert isinstance(sink, Paced)
        for offset in range(extent.start, extent.stop, self.step):
            assert 0.0 == await hold(sink)
            sink.write(offset, self.data[offset : min(offset + self.step, extent.stop)])


async def test_who_may_read_does_so_before_more_is_received(tmp_path: Path, clock: MockClock) -> None:
    """What is in the socket already is received after the reader had his answer."""
    source = Eager(DATA)
    what = content(DATA, chunk=None, whole=False, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        bench.engine.prefetch(what, Extent(0, len(DATA)))
        assert DATA[16:32] == await reader.read(Extent(16, 32))
        assert [Extent(0, len(DATA))] == [extent for extent, _ in source.fetched]
        assert 32 == bench.engine.status(what).written
        await trio.sleep(1)
        assert len(DATA) == bench.engine.status(what).written
