"""A read's way through the engine, over a real store and scripted sources, on a mocked clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import (
    ContentChanged,
    ContentUnavailable,
    SourceMismatch,
    SourceRefused,
    SourceUnavailable,
    StoreFull,
)
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource, failing

DATA = pattern(100)


async def test_a_read_fetches_the_chunk_and_no_more(tmp_path: Path, clock: MockClock) -> None:
    """A first read fetches the chunks it touches, whole, and nothing else."""
    source = FakeSource(DATA)
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        assert DATA[20:30] == await reader.read(Extent(20, 30))
        assert [(Extent(16, 32), Priority.READ)] == source.fetched


async def test_a_read_is_clipped_to_the_size(tmp_path: Path, clock: MockClock) -> None:
    """Reading over the end gives what is there; beyond it, nothing."""
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        assert DATA[90:] == await reader.read(Extent(90, 200))
        assert b"" == await reader.read(Extent(100, 200))


async def test_overlapping_reads_fetch_once(tmp_path: Path, clock: MockClock) -> None:
    """Readers of the same bytes at the same time share one fetch."""
    source = FakeSource(DATA, latency=0.2)
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        got: list[bytes] = []

        async def read(start: int) -> None:
            got.append(bytes(await reader.read(Extent(start, start + 10))))

        async with trio.open_nursery() as nursery:
            for start in (0, 2, 4, 5):
                nursery.start_soon(read, start)
        assert sorted(DATA[s : s + 10] for s in (0, 2, 4, 5)) == sorted(got)
        assert 16 == source.bytes_asked


async def test_a_second_read_comes_from_the_store(tmp_path: Path, clock: MockClock) -> None:
    """What is verified is never fetched again, nor after a restart of the engine."""
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    for _ in range(2):
        async with running(tmp_path, {"fake://a": source}) as bench:
            reader = bench.engine.open(what)
            assert DATA[:50] == await reader.read(Extent(0, 50))
            assert reader.ready(Extent(0, 50)) == DATA[:50]
    assert 64 == source.bytes_asked


async def test_a_lying_source_costs_one_chunk(tmp_path: Path, clock: MockClock) -> None:
    """Wrong bytes are never returned; the liar is named and another source asked."""

    def lie(source: FakeSource, offset: int) -> bytes | None:
        return b"x" * 16 if offset == 32 else None

    liar = FakeSource(DATA, name="liar", latency=0.001, fault=lie)
    honest = FakeSource(DATA, name="honest", latency=0.5)
    what = content(DATA, urls=("fake://liar", "fake://honest"))
    async with running(tmp_path, {"fake://liar": liar, "fake://honest": honest}) as bench:
        reader = bench.engine.open(what)
        assert DATA == b"".join([await reader.read(Extent(i, i + 10)) for i in range(0, 100, 10)])
        blamed = [i for i in bench.engine.incidents(what) if i.source == "liar"]
        assert [("sent wrong bytes for chunk 2", Extent(32, 48))] == [(i.what, i.extent) for i in blamed]
        assert Extent(32, 48) in [extent for extent, _ in honest.fetched]


async def test_only_wrong_bytes_is_an_error_at_once(tmp_path: Path, clock: MockClock) -> None:
    """When every source lies about a chunk the read fails without waiting for the time-out."""
    liar = FakeSource(DATA, fault=lambda source, offset: b"x" * 16)
    async with running(tmp_path, {"fake://a": liar}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        start = trio.current_time()
        with pytest.raises(ContentUnavailable, match="sent wrong bytes for chunk 0"):
            await reader.read(Extent(0, 10))
        assert trio.current_time() - start < 5


async def test_a_dead_source_is_replaced(tmp_path: Path, clock: MockClock) -> None:
    """A source that fails in the middle keeps what it brought; the rest comes from another."""

    def die(source: FakeSource, offset: int) -> bytes | None:
        if offset >= 32:
            raise SourceUnavailable("dying", "connection reset")
        return None

    dying = FakeSource(DATA, name="dying", fault=die)
    other = FakeSource(DATA, name="other", latency=0.3)
    what = content(DATA, chunk=None, urls=("fake://dying", "fake://other"))
    async with running(tmp_path, {"fake://dying": dying, "fake://other": other}) as bench:
        reader = bench.engine.open(what)
        assert DATA == await reader.read(Extent(0, 100))
        assert [Extent(32, 100)] == [extent for extent, _ in other.fetched]


async def test_a_stalled_source_is_hedged(tmp_path: Path, clock: MockClock) -> None:
    """A reader does not wait for a silent source: another is asked, and the loser is cancelled."""

    async def never() -> None:
        await trio.sleep_forever()

    stalled = FakeSource(DATA, name="stalled", latency=1e6)
    other = FakeSource(DATA, name="other")
    what = content(DATA, urls=("fake://stalled", "fake://other"))
    async with running(tmp_path, {"fake://stalled": stalled, "fake://other": other}) as bench:
        reader = bench.engine.open(what)
        start = trio.current_time()
        assert DATA[:10] == await reader.read(Extent(0, 10))
        assert trio.current_time() - start < 2
        await trio.sleep(1)
        assert 0 == stalled.flying


async def test_a_source_that_is_alone_is_asked_once_more(tmp_path: Path, clock: MockClock) -> None:
    """By another connection, where its first one is silent; `mountdl why` tells of no other source then."""

    def silent_at_first(source: FakeSource, offset: int) -> bytes | None:
        source.pause = 1e6 if len(source.fetched) == 1 else 0.001
        return None

    what = content(DATA, urls=("fake://only",))
    async with running(tmp_path, {"fake://only": FakeSource(DATA, name="only", fault=silent_at_first)}) as bench:
        assert DATA[:40] == await bench.engine.open(what).read(Extent(0, 40))
        said = [(incident.source, incident.what) for incident in bench.engine.incidents(what)]
        assert ("only", "was late; its bytes were asked for once more") in said


async def test_no_source_at_all_fails_at_once(tmp_path: Path, clock: MockClock) -> None:
    """A file without any usable source fails with a sentence, not after a minute."""
    async with running(tmp_path, {}) as bench:
        reader = bench.engine.open(content(DATA, urls=("other://a",)))
        with pytest.raises(ContentUnavailable, match="no source of this file can be used"):
            await reader.read(Extent(0, 10))


async def test_refused_everywhere_fails_at_once(tmp_path: Path, clock: MockClock) -> None:
    """Sources that all refuse are named with their reasons."""
    gone = FakeSource(DATA, fault=failing(SourceRefused("gone", "answered 404")), name="gone")
    async with running(tmp_path, {"fake://a": gone}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        with pytest.raises(ContentUnavailable, match="gone: answered 404"):
            await reader.read(Extent(0, 10))


async def test_changed_everywhere_is_stale(tmp_path: Path, clock: MockClock) -> None:
    """When every source has another file now, the read says so."""
    other = FakeSource(DATA, fault=failing(SourceMismatch("a", "has 7 bytes, not 100")))
    async with running(tmp_path, {"fake://a": other}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        with pytest.raises(ContentChanged):
            await reader.read(Extent(0, 10))


async def test_an_unreachable_network_fails_soon_and_heals(tmp_path: Path, clock: MockClock) -> None:
    """With every source down a read fails after seconds, not a minute; the next works when one is back."""
    source = FakeSource(DATA, fault=failing(SourceUnavailable("a", "connection refused")))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        start = trio.current_time()
        with pytest.raises(ContentUnavailable, match="connection refused"):
            await reader.read(Extent(0, 10))
        assert 5 <= trio.current_time() - start < 10
        source.fault = lambda source, offset: None
        start = trio.current_time()
        assert DATA[:10] == await reader.read(Extent(0, 10))
        assert trio.current_time() - start < 3


async def test_a_read_ends_within_the_read_timeout(tmp_path: Path, clock: MockClock) -> None:
    """A source that is silent for ever costs the read time-out and no more."""
    source = FakeSource(DATA, latency=1e6)
    settings = EngineSettings(background="off", read_timeout=20)
    async with running(tmp_path, {"fake://a": source}, settings) as bench:
        reader = bench.engine.open(content(DATA, urls=("fake://a",)))
        start = trio.current_time()
        with pytest.raises(ContentUnavailable, match="within 20 s"):
            await reader.read(Extent(0, 10))
        assert trio.current_time() - start == pytest.approx(20, abs=0.1)


async def test_a_whole_digest_judges_at_the_end(tmp_path: Path, clock: MockClock) -> None:
    """Without chunk digests bytes are served as written, then judged; a mismatch discards all and drops the liar."""
    liar = FakeSource(b"?" + DATA[1:], name="liar")
    what = content(DATA, chunk=None, urls=("fake://liar",))
    async with running(tmp_path, {"fake://liar": liar}) as bench:
        reader = bench.engine.open(what)
        with suppress(ContentUnavailable):  # the verdict may come before the reader's turn; zeros never do
            assert b"?" + DATA[1:] == await reader.read(Extent(0, 100))
        await trio.sleep(1)
        assert "error" == bench.engine.status(what).state
        assert 0 == bench.engine.status(what).written
        assert [what] == bench.discarded
        with pytest.raises(ContentUnavailable, match="does not match its digest"):
            await reader.read(Extent(0, 10))


async def test_a_whole_digest_that_matches_verifies_all(tmp_path: Path, clock: MockClock) -> None:
    """A whole digest that matches makes the content complete."""
    what = content(DATA, chunk=None, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        await bench.engine.open(what).read(Extent(0, 100))
        await trio.sleep(1)
        status = bench.engine.status(what)
        assert ("complete", 100) == (status.state, status.verified)


async def test_background_completes_what_is_used(tmp_path: Path, clock: MockClock) -> None:
    """After real use the rest arrives by itself."""
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}, EngineSettings()) as bench:
        reader = bench.engine.open(what)
        for _ in range(10):
            await reader.read(Extent(0, 10))
        await trio.sleep(10)
        assert "complete" == bench.engine.status(what).state


async def test_background_all_completes_without_a_reader(tmp_path: Path, clock: MockClock) -> None:
    """With background "all" every content of the catalog is fetched."""
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}, EngineSettings(background="all")) as bench:
        bench.engine.update({what.key: what})
        await trio.sleep(10)
        assert "complete" == bench.engine.status(what).state


async def test_a_cancelled_read_frees_its_want(tmp_path: Path, clock: MockClock) -> None:
    """A reader that goes away is not waited for."""
    source = FakeSource(DATA, latency=1e6)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        with trio.move_on_after(1):
            await reader.read(Extent(0, 10))
        reader.close()
        assert bench.engine.status(what).readers == 0


@pytest.mark.parametrize("fails", [True, False])
async def test_bytes_that_go_before_their_reader_has_its_turn(tmp_path: Path, clock: MockClock, fails: bool) -> None:
    """What it was woken for stays, though the store fails meanwhile; what goes all the same is fetched again.

    Else it would read the zeros of a hole.
    """
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        download = bench.engine.download(what)
        wake, times = download._waiters.wake, iter(range(3))

        def woken(readable: Callable[[Extent], bool]) -> None:
            wake(readable)
            if readable(Extent(20, 30)) and next(times, None) is not None:
                if fails:
                    download.store_failed(StoreFull("no room"))
                    assert any(Extent(16, 32).overlaps(locked) for locked in download.stored.spared().locked)
                download.stored.evict(Extent(0, len(DATA)))

        download._waiters.wake = woken  # type: ignore[method-assign]

        assert DATA[20:30] == await reader.read(Extent(20, 30))
        assert 4 == len(source.fetched)
