"""Who is blamed for wrong bytes, and what a reader sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.content import Content
from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent
from tests.support.content import content, pattern
from tests.support.engines import Bench, running
from tests.support.fakes import FakeSource
from tests.support.scripts import dying, lying

DATA = pattern(100)


def blamed(bench: Bench, what: Content) -> set[str | None]:
    return {i.source for i in bench.engine.incidents(what) if "wrong bytes for chunk" in i.what}


def bad_chunks(bench: Bench, what: Content) -> list[int]:
    return [source.bad_chunks for source in bench.engine.status(what).sources]


def half_then_dead(name: str, *, wrong: bool) -> FakeSource:
    """Return a source that dies after the first half of chunk 0; *wrong*: its bytes are."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        dying(16)(source, offset)
        return b"?" * 8 if wrong else None

    return FakeSource(DATA, name, step=8, latency=0.001, fault=fault)


async def test_the_liar_of_two_is_found_by_comparison(tmp_path: Path, clock: MockClock) -> None:
    """A chunk that two sources brought is wrong: a third brings it, then the liar is known, and only it."""
    liar = half_then_dead("liar", wrong=True)
    honest = FakeSource(DATA, "honest", step=8, latency=0.2)
    third = FakeSource(DATA, "third", latency=2.0)
    urls = ("fake://liar", "fake://honest", "fake://third")
    what = content(DATA, chunk=32, urls=urls)
    async with running(tmp_path, dict(zip(urls, (liar, honest, third), strict=True))) as bench:
        assert DATA[:32] == await bench.engine.open(what).read(Extent(0, 32))
        assert {"liar"} == blamed(bench, what)
        assert [1, 0, 0] == bad_chunks(bench, what)
        assert {Extent(0, 32)} == {extent for extent, _ in third.fetched}


async def test_of_two_sources_the_honest_one_repairs(tmp_path: Path, clock: MockClock) -> None:
    """Without a third source one of the two brings the chunk alone; if that was the honest one, all is well."""

    def once(source: FakeSource, offset: int) -> bytes | None:
        return dying(16)(source, offset) if len(source.fetched) == 1 else None

    honest = FakeSource(DATA, "honest", step=8, latency=0.001, fault=once)
    liar = FakeSource(DATA, "liar", step=8, latency=0.001, fault=lying())
    what = content(DATA, chunk=32, urls=("fake://honest", "fake://liar"))
    async with running(tmp_path, {"fake://liar": liar, "fake://honest": honest}) as bench:
        assert DATA[:32] == await bench.engine.open(what).read(Extent(0, 32))
        assert {"liar"} == blamed(bench, what)
        assert 0 == bad_chunks(bench, what)[0]


async def test_of_two_sources_the_liar_is_chosen_first(tmp_path: Path, clock: MockClock) -> None:
    """If the one that brings the chunk alone lies again, the other is asked, and the read succeeds."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset >= 16 and len(source.fetched) == 1:
            dying(0)(source, offset)
        return b"?" * 8

    liar = FakeSource(DATA, "liar", step=8, latency=0.001, fault=fault)
    honest = FakeSource(DATA, "honest", step=8, latency=0.2)
    what = content(DATA, chunk=32, urls=("fake://liar", "fake://honest"))
    async with running(tmp_path, {"fake://liar": liar, "fake://honest": honest}) as bench:
        assert DATA[:32] == await bench.engine.open(what).read(Extent(0, 32))
        assert {"liar"} == blamed(bench, what)


async def test_a_whole_from_two_sources_is_fetched_anew_without_the_liar(tmp_path: Path, clock: MockClock) -> None:
    """Only a whole digest, one of two lies: after it is found out, later reads get the right bytes."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if offset >= 48 and len(source.fetched) == 1:
            dying(0)(source, offset)
        return b"?" * 16

    liar = FakeSource(DATA, "liar", latency=0.001, fault=fault)
    honest = FakeSource(DATA, "honest", latency=0.3)
    what = content(DATA, chunk=None, urls=("fake://liar", "fake://honest"))
    async with running(tmp_path, {"fake://liar": liar, "fake://honest": honest}) as bench:
        reader = bench.engine.open(what)
        for _ in range(2):  # from both, then from the one chosen: the liar
            await reader.read(Extent(0, 100))
            await trio.sleep(2)
        assert DATA == await reader.read(Extent(0, 100))
        await trio.sleep(2)
        assert "complete" == bench.engine.status(what).state


async def test_two_bad_chunks_end_a_source(tmp_path: Path, clock: MockClock) -> None:
    """A source that lied twice is not asked any more, whatever it brought rightly."""
    liar = FakeSource(DATA, "liar", latency=0.001, fault=lying(0, 48))
    honest = FakeSource(DATA, "honest", latency=0.2)
    what = content(DATA, urls=("fake://liar", "fake://honest"))
    async with running(tmp_path, {"fake://liar": liar, "fake://honest": honest}) as bench:
        reader = bench.engine.open(what)
        for offset in range(0, 100, 16):
            assert DATA[offset : offset + 16] == await reader.read(Extent(offset, offset + 16))
        assert "dropped" == bench.engine.status(what).sources[0].state
        assert Extent(64, 80) not in [extent for extent, _ in liar.fetched]


async def test_a_read_over_a_bad_chunk_of_each_source_succeeds(tmp_path: Path, clock: MockClock) -> None:
    """Two sources lie about one chunk each; what one may not bring the other does."""
    one = FakeSource(DATA, "one", latency=0.001, fault=lying(16))
    other = FakeSource(DATA, "other", latency=0.2, fault=lying(48))
    what = content(DATA, urls=("fake://one", "fake://other"))
    async with running(tmp_path, {"fake://one": one, "fake://other": other}) as bench:
        reader = bench.engine.open(what)
        assert DATA[16:32] == await reader.read(Extent(16, 32))
        assert DATA == await reader.read(Extent(0, 100))


async def test_a_reader_learns_of_a_lie_at_once_where_all_lie(tmp_path: Path, clock: MockClock) -> None:
    """Both sources lie about one chunk: that read fails soon and names both; all other reads work."""
    one = FakeSource(DATA, "one", latency=0.001, fault=lying(32))
    other = FakeSource(DATA, "other", latency=0.2, fault=lying(32))
    what = content(DATA, urls=("fake://one", "fake://other"))
    async with running(tmp_path, {"fake://one": one, "fake://other": other}) as bench:
        reader = bench.engine.open(what)
        start = trio.current_time()
        with pytest.raises(ContentUnavailable, match="one: sent wrong bytes for chunk 2; other: sent wrong bytes"):
            await reader.read(Extent(32, 40))
        assert trio.current_time() - start < 3
        assert DATA[:32] == await reader.read(Extent(0, 32))
        assert DATA[48:] == await reader.read(Extent(48, 100))


async def test_what_an_earlier_run_left_is_nobodys_now(tmp_path: Path, clock: MockClock) -> None:
    """A liar's half of a chunk stayed; who completes it, and has no other beside it, is asked for all of it."""
    urls = ("fake://mirror",)
    what = content(DATA, chunk=32, urls=urls)
    async with running(tmp_path, {urls[0]: half_then_dead("mirror", wrong=True)}) as bench:
        with pytest.raises(ContentUnavailable):
            await bench.engine.open(what).read(Extent(0, 32))
    honest = FakeSource(DATA, "mirror", step=8, latency=0.001)
    async with running(tmp_path, {urls[0]: honest}) as bench:
        assert DATA[:32] == await bench.engine.open(what).read(Extent(0, 32))
        assert set() == blamed(bench, what)
        assert [0] == bad_chunks(bench, what)
        assert [Extent(16, 32), Extent(0, 32)] == [extent for extent, _ in honest.fetched]
