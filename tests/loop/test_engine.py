"""Many downloads together: sources that come and go, hosts they share, and whatever may happen."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio._core import _run as trio_run
from trio.testing import MockClock

from mountdl.content import Content, content_of, merge
from mountdl.engine import engine
from mountdl.engine.engine import LINGER
from mountdl.errors import ContentUnavailable, SourceUnavailable, StoreError
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from tests.support.content import content, entry, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource
from tests.support.scripts import Fault, dying, lying, shrinking, stalling, timing_out

DATA = pattern(400)


async def test_a_source_that_is_added_serves_who_waits(tmp_path: Path, clock: MockClock) -> None:
    """A descriptor that names another mirror appears while a read waits in vain: the read succeeds."""
    sources = {"fake://dead": FakeSource(DATA, "dead", latency=1e6), "fake://good": FakeSource(DATA, "good")}
    before, after = (content(DATA, urls=urls) for urls in (("fake://dead",), ("fake://dead", "fake://good")))
    async with running(tmp_path, sources, EngineSettings(background="off", read_timeout=20)) as bench:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await bench.engine.open(before).read(Extent(0, 10)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(2)
            bench.engine.update({after.key: after})
            start = trio.current_time()
        assert [DATA[:10]] == got
        assert trio.current_time() - start < 2
        assert ["dead", "good"] == [source.name for source in bench.engine.status(after).sources]


class Shown:
    """What is shown of *what*; it counts how often all of it was asked for."""

    def __init__(self, what: Content) -> None:
        self.key, self.size, self.level, self.judged = what.key, what.size, what.level, what.judged
        self.asked, self._what = 0, what

    @property
    def full(self) -> Content:
        self.asked += 1
        return self._what


async def test_all_of_a_content_is_asked_for_once(tmp_path: Path, clock: MockClock) -> None:
    """Where it is looked up and opened, a moment apart; where it is open already, not at all."""
    shown = Shown(content(DATA, urls=("fake://a",)))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        bench.engine.warm(shown)
        bench.engine.warm(shown)
        assert DATA[:10] == await bench.engine.open(shown).read(Extent(0, 10))
        assert 1 == shown.asked
        for again in (shown, Shown(shown.full)):
            before = again.asked
            assert DATA[5:10] == await bench.engine.open(again).read(Extent(5, 10))
            assert before == again.asked


async def test_another_outline_of_the_same_key_is_asked(tmp_path: Path, clock: MockClock) -> None:
    """A descriptor that was written anew names other mirrors: those are used."""
    old, new = (Shown(content(DATA, urls=(url,))) for url in ("fake://gone", "fake://a"))
    async with running(tmp_path, {"fake://gone": FakeSource(b""), "fake://a": FakeSource(DATA)}) as bench:
        bench.engine.warm(old)
        bench.engine.warm(new)
        assert DATA == await bench.engine.open(new).read(Extent(0, len(DATA)))


async def test_sources_of_what_nobody_opened_are_told(tmp_path: Path, clock: MockClock) -> None:
    """By name, as idle; without asking one, and on demand, for there may be 100,000 files."""
    sources = {url: FakeSource(DATA, url.removeprefix("fake://")) for url in ("fake://a", "fake://b")}
    what = content(DATA, urls=tuple(sources))
    async with running(tmp_path, sources) as bench:
        assert [("a", "idle"), ("b", "idle")] == [(each.name, each.state) for each in bench.engine.status(what).sources]
        assert () == bench.engine.status(what, brief=True).sources
        await bench.engine.open(what).read(Extent(0, 10))
        assert ["a", "b"] == [source.name for source in bench.engine.status(what, brief=True).sources]


async def test_a_source_that_is_removed_is_not_asked_any_more(tmp_path: Path, clock: MockClock) -> None:
    """What a removed mirror brings at that moment may end; nothing more is asked of it."""
    sources = {"fake://old": FakeSource(DATA, "old"), "fake://new": FakeSource(DATA, "new")}
    before, after = (content(DATA, urls=(url,)) for url in sources)
    async with running(tmp_path, sources) as bench:
        reader = bench.engine.open(before)
        await reader.read(Extent(0, 10))
        bench.engine.update({after.key: after})
        assert DATA == await reader.read(Extent(0, 400))
        assert [Extent(0, 16)] == [extent for extent, _ in sources["fake://old"].fetched]


async def test_all_sources_removed_while_a_read_waits(tmp_path: Path, clock: MockClock) -> None:
    """Without any source left the read fails, in time, and the engine goes on."""
    source = FakeSource(DATA, latency=1e6)
    before, after = content(DATA, urls=("fake://a",)), content(DATA)
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="off", read_timeout=20)) as bench:
        reader = bench.engine.open(before)

        async def remove() -> None:
            await trio.sleep(1)
            bench.engine.update({after.key: after})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            with pytest.raises(ContentUnavailable):
                await reader.read(Extent(0, 10))
        bench.engine.update({before.key: before})
        source.latency = 0.01
        assert DATA[:10] == await reader.read(Extent(0, 10))


@pytest.mark.parametrize(("old", "new"), [(32, 24), (None, 24), (48, None)])
async def test_another_chunk_map_while_it_runs(
    tmp_path: Path, clock: MockClock, old: int | None, new: int | None
) -> None:
    """A descriptor with other piece digests of the same bytes comes or goes: reads go on."""
    source = FakeSource(DATA)
    before, after = (content(DATA, chunk=chunk, urls=("fake://a",)) for chunk in (old, new))
    if new is None:  # its default chunk is far longer than the file: cut it finer, as a long file would be
        after = replace(after, chunk_map=replace(after.chunk_map, length=20))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="off", read_timeout=20)) as bench:
        reader = bench.engine.open(before)
        await reader.read(Extent(0, 10))
        bench.engine.update({after.key: after})
        for offset in range(0, 400, 10):
            assert DATA[offset : offset + 10] == await reader.read(Extent(offset, offset + 10))


async def test_two_descriptors_of_one_content_share_its_bytes(tmp_path: Path, clock: MockClock) -> None:
    """The union of the mirrors of both serves one download."""
    sources = {"fake://a": FakeSource(DATA, "a"), "fake://b": FakeSource(DATA, "b")}
    one, other = (content_of(entry(DATA, urls=(url,), name=url[-1]), 400) for url in sources)
    both = merge(one, other)
    async with running(tmp_path, sources) as bench:
        first, second = bench.engine.open(both), bench.engine.open(both)
        await first.read(Extent(0, 100))
        assert DATA[:100] == second.ready(Extent(0, 100))
        assert 2 == bench.engine.status(both).readers


async def test_idle_downloads_are_closed(tmp_path: Path, clock: MockClock) -> None:
    """A download outlives its last reader by a minute; a reader that only holds it keeps it."""
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA)}) as bench:
        reader = bench.engine.open(what)
        await reader.read(Extent(0, 10))
        reader.close()
        reader.close()
        await trio.sleep(LINGER / 2)
        assert (what.key,) == bench.engine.active()
        bench.engine._sweep(trio.current_time() + LINGER)
        assert () == bench.engine.active()
        assert DATA[:10] == await bench.engine.open(what).read(Extent(0, 10))
        bench.engine._sweep(trio.current_time() + 10 * LINGER)
        assert (what.key,) == bench.engine.active()


async def test_idle_downloads_make_room_for_others(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of files read within a minute took all file descriptors; those in use keep theirs."""
    monkeypatch.setattr(engine, "MOST_OPEN", 3)
    pages = [content(DATA[at : at + 40], urls=(f"fake://{at}",)) for at in range(0, 400, 40)]
    sources = {f"fake://{at}": FakeSource(DATA[at : at + 40]) for at in range(0, 400, 40)}
    async with running(tmp_path, sources) as bench:
        held = bench.engine.open(pages[0])
        for number, page in enumerate(pages):
            reader = bench.engine.open(page)
            assert await reader.read(Extent(0, 10)) == DATA[number * 40 : number * 40 + 10]
            reader.close()
            await trio.sleep(1)
        assert set(bench.engine.active()) == {pages[0].key, pages[8].key, pages[9].key}
        readers = [bench.engine.open(page) for page in pages]
        assert len(bench.engine.active()) == 10
        for reader in (held, *readers):
            reader.close()


async def test_files_that_are_whole_make_room_at_once(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short files are used, and so wanted whole, by their first read: sixty of them took all of 64 file descriptors."""
    monkeypatch.setattr(engine, "MOST_OPEN", 3)
    urls = [f"fake://{number}" for number in range(10)]
    sources = {url: FakeSource(pattern(40, seed), latency=0.0) for seed, url in enumerate(urls)}
    most = 0
    async with running(tmp_path, sources, EngineSettings(background="touched")) as bench:
        for seed, url in enumerate(urls):
            reader = bench.engine.open(content(pattern(40, seed), urls=(url,)))
            assert await reader.read(Extent(0, 40)) == pattern(40, seed)
            reader.close()
            most = max(most, len(bench.engine.active()))
    assert most == 3


async def test_contents_of_one_host_share_its_lanes(tmp_path: Path, clock: MockClock) -> None:
    """Ten files from one server, read at once: it sees no more connections than allowed, and all get theirs."""
    sources, contents = {}, []
    for i in range(10):
        data = pattern(400, seed=i)
        sources[f"fake://{i}"] = FakeSource(data, name="one", latency=0.1)
        contents.append(content(data, urls=(f"fake://{i}",)))
    limits = EngineSettings(background="off", max_connection_per_server=2)
    async with running(tmp_path, sources, limits) as bench:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, sum(source.flying for source in sources.values()))
                await trio.sleep(0.01)

        async with trio.open_nursery() as watching:
            watching.start_soon(watch)
            async with trio.open_nursery() as nursery:
                for what in contents:
                    nursery.start_soon(bench.engine.open(what).read, Extent(0, 10))
            watching.cancel_scope.cancel()
    assert 2 <= most <= 2 + 2  # the limit, and the spare lanes of readers


async def test_incidents_outlive_their_download(tmp_path: Path, clock: MockClock) -> None:
    """`why` tells what went wrong also when the file was closed meanwhile."""
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA, fault=dying(0))}) as bench:
        reader = bench.engine.open(what)
        with pytest.raises(ContentUnavailable):
            await reader.read(Extent(0, 10))
        reader.close()
        bench.engine._sweep(trio.current_time() + 2 * LINGER)
        assert () == bench.engine.active()
        assert "connection reset" in {incident.what for incident in bench.engine.incidents(what)}


# -- whatever may happen ----------------------------------------------------------------------------------------

LONG = pattern(4000)
TIMEOUT = 30


def flaky(chance: random.Random) -> Fault:
    def fault(source: FakeSource, offset: int) -> bytes | None:
        if chance.random() < 0.03:
            raise SourceUnavailable(source.name, "connection reset")
        return None

    return fault


def fault_of(kind: str, chance: random.Random) -> Fault:
    somewhere = chance.randrange(len(LONG)) // 16 * 16
    return {
        "lie": lying(somewhere, somewhere + 160),
        "lie always": lying(),
        "stall": stalling(somewhere),
        "time out": timing_out(somewhere),
        "die": dying(somewhere),
        "shrink": shrinking(somewhere),
        "flaky": flaky(chance),
    }[kind]


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Have trio schedule, and back-off jitter, the same way for the same *seed*."""
    state = random.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr(trio_run, "_r", random.Random(seed))
        random.seed(seed)
        yield
    random.setstate(state)


def run_stress(directory: Path, kinds: list[str], seed: int) -> None:
    with reproducible(seed):
        trio.run(stress, directory, kinds, seed, clock=MockClock(autojump_threshold=0))


async def stress(directory: Path, kinds: list[str], seed: int) -> None:
    """Read at random from one honest, slow source and from *kinds* of others; every read must be right."""
    chance = random.Random(seed)
    sources = {"fake://honest": FakeSource(LONG, "honest", latency=0.5, pause=0.01)}
    for i, kind in enumerate(kinds):
        latency = chance.choice([0.001, 0.1])
        sources[f"fake://{i}"] = FakeSource(LONG, f"{kind} {i}", latency=latency, fault=fault_of(kind, chance))
    urls = list(sources)
    chance.shuffle(urls)
    what = content(LONG, chunk=chance.choice([16, 48, 1000]), urls=tuple(urls))
    plans = EngineSettings(background=chance.choice(["off", "touched"]), read_timeout=TIMEOUT)
    async with running(directory, sources, plans) as bench:

        async def read(offset: int, length: int) -> None:
            extent = Extent(offset, offset + length)
            start = trio.current_time()
            assert LONG[offset : offset + length] == await bench.engine.open(what).read(extent)
            assert trio.current_time() - start <= TIMEOUT

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(read, chance.randrange(3000), chance.choice([10, 100, 1000]))
        status = bench.engine.status(what)
        by_name = {source.name: source for source in status.sources}
        assert 0 == by_name["honest"].bad_chunks
        assert sum(len(source.fetched) for source in sources.values()) < 500


KINDS = ["lie", "lie always", "die", "shrink", "flaky"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(KINDS), min_size=3, max_size=3), st.integers(0, 10_000))
def test_every_read_is_right_while_one_source_is_honest(kinds: list[str], seed: int) -> None:
    """Eight readers over four sources of which three are faulty: each read gets its bytes, in time."""
    with tempfile.TemporaryDirectory() as directory:
        run_stress(Path(directory), kinds, seed)


@pytest.mark.parametrize(
    ("kinds", "seed"),
    [
        (["lie", "stall", "lie always"], 0),
        (["shrink", "time out", "die"], 285),
        (["time out", "shrink", "time out"], 254),
    ],
)
def test_silent_sources_are_not_waited_for(tmp_path: Path, kinds: list[str], seed: int) -> None:
    """Sources that are silent on each of their connections don't keep a reader from the honest one."""
    run_stress(tmp_path, kinds, seed)


class _Unreadable:
    """An outline of which the rest is on a disk that fails."""

    def __init__(self, whole: Content) -> None:
        self.key, self.size, self.level, self.judged = whole.key, whole.size, whole.level, whole.judged

    @property
    def full(self) -> Content:
        raise StoreError("can't read what descriptors say: Input/output error")


async def test_a_disk_that_fails_under_the_catalog_fails_only_who_opens(
    tmp_path: Path, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Downloads that run go on with what they know, and a look at the file is no reason to end."""
    whole = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA, "a")}) as bench:
        reader = bench.engine.open(whole)
        bench.engine.update({whole.key: _Unreadable(whole)})
        assert DATA == await reader.read(Extent(0, 400))
        assert bench.engine.status(_Unreadable(whole)).size == 400
        other = content(DATA[:100], urls=("fake://a",))
        bench.engine.warm(_Unreadable(other))

    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "can't read what descriptors say: Input/output error"
    ] * 2
    caplog.clear()


async def test_a_file_that_may_not_be_served_says_why_and_is_not_fetched(tmp_path: Path, clock: MockClock) -> None:
    """A reader gets EIO; status and `mountdl why` called such a file idle, and --background all completed it."""
    source = FakeSource(DATA)
    doubtful, sure = content(DATA, chunk=None, whole=False, urls=("fake://a",)), content(DATA, urls=("fake://a",))
    strict = EngineSettings(background="all", require_verified=True)
    async with running(tmp_path, {"fake://a": source}, strict) as bench:
        bench.engine.update({each.key: each for each in (doubtful, sure)})
        with pytest.raises(ContentUnavailable, match="no digest can verify"):
            bench.engine.open(doubtful)
        with pytest.raises(ContentUnavailable, match="no digest can verify"):
            bench.engine.prefetch(doubtful, Extent(0, 10))  # as user.mountdl.prefetch asks for it
        with pytest.raises(ContentUnavailable, match="no digest can verify"):
            bench.engine.download(doubtful)  # as mountdl wait does
        await trio.sleep(30)
        told = bench.engine.status(doubtful)

        assert (told.state, told.written) == ("error", 0)
        assert told.error is not None
        assert "--require-verified" in told.error
        assert bench.engine.status(sure).state == "complete"


async def test_what_may_not_be_served_is_not_fetched_for_its_length(tmp_path: Path, clock: MockClock) -> None:
    """It came whole, as no server told its length, and was refused then."""
    source = FakeSource(DATA)
    nothing, judged = (replace(entry(DATA, chunk=None, whole=whole), size=None) for whole in (False, True))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(require_verified=True)) as bench:
        with pytest.raises(ContentUnavailable, match="--require-verified refuses such files"):
            await bench.engine.gauge(nothing, None, lambda _: None)
        with pytest.raises(ContentUnavailable, match="no mirror that could be asked for all of it"):  # no fake can be
            await bench.engine.gauge(judged, None, lambda _: None)
