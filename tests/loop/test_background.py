"""What is fetched though nobody waits for it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import SourceRefused, StoreBusy
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings, Limit
from mountdl.store.store import Store
from tests.support.content import content, pattern
from tests.support.engines import QUIET, running
from tests.support.fakes import FakeSource, failing
from tests.support.scripts import dying, lying

DATA = pattern(400)
ALL = EngineSettings(background="all")


async def test_one_bad_chunk_does_not_stop_the_rest(tmp_path: Path, clock: MockClock) -> None:
    """The only mirror has one rotten chunk: everything else is fetched, that chunk is not asked again and again."""
    source = FakeSource(DATA, fault=lying(160))
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(30)
        assert 400 - 16 == bench.engine.status(what).verified
        assert source.bytes_asked < 2 * 400


async def test_wrong_bytes_that_only_the_whole_could_judge_are_fetched_again(tmp_path: Path, clock: MockClock) -> None:
    """All of it was here before it was judged: what was wanted still is, and the next mirror brings it."""
    liar, good = FakeSource(b"?" + DATA[1:], "liar"), FakeSource(DATA, "good", latency=5)
    what = content(DATA, chunk=None, urls=("fake://liar", "fake://good"))
    async with running(tmp_path, {"fake://liar": liar, "fake://good": good}) as bench:
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(60)
        assert liar.fetched
        assert ("complete", 400) == (bench.engine.status(what).state, bench.engine.status(what).verified)


async def test_what_an_earlier_run_left_wrong_is_fetched_again(tmp_path: Path, clock: MockClock) -> None:
    """It is judged as it was found, before anything is asked of a mirror; then mirrors are asked."""
    what = content(DATA, chunk=None, urls=("fake://a",))
    with closing(Store(tmp_path)) as store, closing(store.open(what.key, 400, what.chunk_map.fingerprint)) as stored:
        stored.write(0, b"?" + DATA[1:])
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(60)
        assert ("complete", 400) == (bench.engine.status(what).state, bench.engine.status(what).verified)


async def test_a_whole_that_nobody_has_right_is_not_fetched_for_ever(tmp_path: Path, clock: MockClock) -> None:
    """Once no mirror is left that could have it, nothing is fetched until somebody reads or waits."""
    liar = FakeSource(b"?" + DATA[1:], "liar")
    what = content(DATA, chunk=None, urls=("fake://liar",))
    async with running(tmp_path, {"fake://liar": liar}) as bench:
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(60)
        assert not bench.engine.download(what).busy
        assert liar.bytes_asked == 400


async def test_a_source_without_ranges_is_completed(tmp_path: Path, clock: MockClock) -> None:
    """A server that ignores ranges is streamed through, once for everybody."""
    source = FakeSource(DATA, sequential=True, parallel=1)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        assert DATA[300:310] == await reader.read(Extent(300, 310))
        assert DATA[:10] == await reader.read(Extent(0, 10))
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(10)
        assert "complete" == bench.engine.status(what).state
        assert [Extent(0, 400)] == [extent for extent, _ in source.fetched]


async def test_reads_wait_for_no_background(tmp_path: Path, clock: MockClock) -> None:
    """While one content is read, another one's background rests, on other hosts too."""
    busy, idle = FakeSource(DATA, "busy", latency=0.3), FakeSource(DATA, "idle", latency=0.3)
    read, fetched = content(DATA, urls=("fake://busy",)), content(DATA[:300], urls=("fake://idle",))
    async with running(tmp_path, {"fake://busy": busy, "fake://idle": idle}) as bench:
        reader = bench.engine.open(read)
        bench.engine.download(fetched)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, Extent(0, 10))
            await trio.sleep(0.01)
            bench.engine.prefetch(fetched, Extent(0, 300))
        start = trio.current_time()
        assert [] == idle.fetched
        await trio.sleep(0.9)
        assert [] == idle.fetched
        await trio.sleep(3)
        assert [(Extent(0, 300), Priority.BACKGROUND)] == idle.fetched
        assert trio.current_time() - start < 5


async def test_a_dead_network_is_asked_less_and_less(tmp_path: Path, clock: MockClock) -> None:
    """Background work on a source that always fails backs off; nothing spins."""
    source = FakeSource(DATA, fault=dying(0))
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        bench.engine.prefetch(what, Extent(0, 400))
        await trio.sleep(50)
        assert len(source.fetched) <= 7


async def test_a_hiccup_that_cuts_all_connections_is_one_failure(tmp_path: Path, clock: MockClock) -> None:
    """A server that restarts cuts eight connections at once: the background goes on seconds later."""
    data = pattern(64 << 20)
    source = FakeSource(data, latency=0.02, pause=0.02, step=64 << 10)
    what = content(data, chunk=1 << 20, whole=False, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        bench.engine.prefetch(what, Extent(0, len(data)))
        while source.flying < 6:
            await trio.sleep(0.1)
        source.fault = dying(0)
        while source.flying:
            await trio.sleep(0.01)
        source.fault = lambda source, offset: None
        await trio.sleep(5)
        assert bench.engine.status(what).state in {"active", "complete"}


async def test_dead_contents_do_not_hold_up_the_others(tmp_path: Path, clock: MockClock) -> None:
    """With background "all", files whose mirrors are gone don't keep the rest from being fetched."""
    gone = FakeSource(DATA, "gone", fault=failing(SourceRefused("gone", "answered 404")))
    sources = {f"fake://{i}": gone for i in range(3)} | {"fake://good": FakeSource(DATA, "good")}
    contents = [content(pattern(400, seed=i + 1), urls=(f"fake://{i}",)) for i in range(3)]
    good = content(DATA, urls=("fake://good",))
    async with running(tmp_path, sources, ALL) as bench:
        bench.engine.update({what.key: what for what in [*contents, good]})
        await trio.sleep(50)
        assert "complete" == bench.engine.status(good).state


async def test_a_file_that_was_put_off_is_taken_up_with_its_next_mirror(tmp_path: Path, clock: MockClock) -> None:
    """Its only one refused it, and is asked again in ten minutes; what a descriptor names meanwhile need not wait."""
    refusing = FakeSource(DATA, "a", fault=failing(SourceRefused("a", "answered 404")))
    before, after = (content(DATA, urls=urls) for urls in (("fake://a",), ("fake://a", "fake://b")))
    async with running(tmp_path, {"fake://a": refusing, "fake://b": FakeSource(DATA, "b")}, ALL) as bench:
        bench.engine.update({before.key: before})
        await trio.sleep(10)
        asked = len(refusing.fetched)
        bench.engine.update({before.key: content(DATA, urls=("fake://a",))})
        await trio.sleep(10)
        assert (bench.engine.active(), len(refusing.fetched)) == ((), asked)
        bench.engine.update({after.key: after})
        await trio.sleep(10)
        assert bench.engine.status(after).state == "complete"


async def test_a_content_in_use_elsewhere_does_not_end_the_engine(tmp_path: Path, clock: MockClock) -> None:
    """With background "all", a file that another process has open is left to it; the others are fetched."""
    taken, free = content(pattern(300), urls=("fake://a",)), content(DATA, urls=("fake://a",))
    elsewhere = Store(tmp_path)
    held = elsewhere.open(taken.key, taken.size, taken.chunk_map.fingerprint)
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}, ALL) as bench:
        bench.engine.update({what.key: what for what in (taken, free)})
        with pytest.raises(StoreBusy):
            bench.engine.open(taken)
        await trio.sleep(10)
        assert "complete" == bench.engine.status(free).state
    held.close()
    elsewhere.close()


async def test_off_means_off(tmp_path: Path, clock: MockClock) -> None:
    """Without background work nothing but what is read is fetched."""
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        bench.engine.update({what.key: what})
        reader = bench.engine.open(what)
        for _ in range(100):
            await reader.read(Extent(0, 10))
        await trio.sleep(30)
        assert 16 == source.bytes_asked


async def test_many_small_files_are_completed_fast(tmp_path: Path, clock: MockClock) -> None:
    """A folder of photos: two a second took hours."""
    source = FakeSource(DATA, latency=0.05)
    shown = [content(DATA[: 100 + number], urls=("fake://a",)) for number in range(100)]
    async with running(tmp_path, {"fake://a": source}, ALL) as bench:
        bench.engine.update({what.key: what for what in shown})
        await trio.sleep(10)
        assert {bench.engine.status(what).state for what in shown} == {"complete"}


@pytest.mark.parametrize("each", [True, False])
async def test_files_that_are_fetched_at_a_time_have_a_connection_each(
    each: bool, tmp_path: Path, clock: MockClock
) -> None:
    """Short ones came one a round trip, however many were to come at a time; a mount keeps its link for readers."""
    source = FakeSource(DATA, latency=1.0)
    shown = [content(DATA[: 100 + number], urls=("fake://a",)) for number in range(5)]
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="off", lane_each=each)) as bench:
        for what in shown:
            bench.engine.prefetch(what, Extent(0, what.size))
        await trio.sleep(10)
        assert {bench.engine.status(what).state for what in shown} == {"complete"}
        assert (source.most_flying >= 5) == each


async def test_one_file_has_no_more_connections_than_pay(tmp_path: Path, clock: MockClock) -> None:
    """However long its fetch takes: others may come."""
    source = FakeSource(DATA, latency=1.0)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="off", lane_each=True)) as bench:
        bench.engine.prefetch(what, Extent(0, what.size))
        await trio.sleep(1.5)
        assert source.most_flying <= 2


async def test_what_is_ahead_of_readers_who_rest_does_not_make_room_for_itself(
    tmp_path: Path, clock: MockClock
) -> None:
    """Four paused players under a small quota had a gigabyte fetched in 20 s: each window took the place of another."""
    data = pattern(16 << 20)
    source = FakeSource(data, latency=0.02, step=1 << 16)
    what = content(data, chunk=None, urls=("fake://a",), whole=False)
    async with running(tmp_path, {"fake://a": source}, QUIET, Limit(4 << 20)) as bench:
        for start in range(0, 16 << 20, 4 << 20):
            reader = bench.engine.open(what)
            for offset in range(start, start + (2 << 20), 1 << 17):
                assert data[offset : offset + 9] == (await reader.read(Extent(offset, offset + (1 << 17))))[:9]
        await trio.sleep(20)
        assert source.bytes_asked < 32 << 20
