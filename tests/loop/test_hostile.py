"""Among mirrors of which many are bad no reader waits long, and what is judged is right."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.engine.assembly import SHORTEST_CHUNK
from mountdl.errors import SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from mountdl.sources.base import Sink
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource, failing

DATA = pattern(6 * SHORTEST_CHUNK + 777)
STEP = SHORTEST_CHUNK // 16
LONGEST = 15.0
"""Simulated seconds that a read may take: one silence of ten, and what is lost to liars. Before those under suspicion
were asked before those that fail, three of these seeds had a read that took longer, or ended at the time-out of 60."""


@dataclass
class Staller(FakeSource):
    """Falls silent for good after *left* bytes, and gives each request up after ten seconds, as mirrors do."""

    left: int = 0

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        await trio.sleep(self.latency)
        for offset in range(extent.start, extent.stop, self.step):
            if self.left <= 0:
                await trio.sleep(10)
                raise SourceUnavailable(self.name, "silent for 10 s")
            self.left -= self.step
            sink.write(offset, self.data[offset : min(offset + self.step, extent.stop)])
            await trio.sleep(self.pause)


def breaking(chance: random.Random, breaks: float, lies: float) -> Any:
    """Break off, or send a wrong step, now and then: chunks are of several sources then, and nobody knows who lied."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        if chance.random() < breaks:
            raise SourceUnavailable(source.name, "broke off")
        return b"\xfe" * STEP if chance.random() < lies else None

    return fault


def made(kind: str, name: str, chance: random.Random) -> FakeSource:
    """Return a source that is bad in the way that *kind* says, or honest."""
    if kind == "staller":
        return Staller(DATA, name, step=STEP, left=chance.choice((0, SHORTEST_CHUNK)))
    how: dict[str, dict[str, Any]] = {
        "honest": {"latency": chance.choice((0.02, 0.2, 0.6)), "pause": chance.choice((0.0, 0.01))},
        "liar": {"fault": breaking(chance, 0.25, 0.5)},
        "fibber": {"fault": breaking(chance, 0.0, 0.2), "latency": 0.02},
        "flaky": {"fault": breaking(chance, 0.15, 0.0), "latency": 0.05},
        "deaf": {"fault": failing(SourceUnavailable(name, "serves no ranges"))},
        "trickle": {"pause": chance.choice((2.0, 5.0))},
    }
    return FakeSource(DATA, name, step=STEP, **how[kind])


@pytest.mark.parametrize("seed", range(20))
async def test_one_honest_mirror_is_enough(tmp_path: Path, clock: MockClock, seed: int) -> None:
    """Whatever the others do, and in whatever order they are named."""
    chance = random.Random(seed)
    kinds = ["honest", "liar", *chance.choices(["staller", "deaf", "flaky", "trickle"], k=chance.randrange(2, 5))]
    chance.shuffle(kinds)
    sources = {f"fake://{i}": made(kind, f"{kind}{i}", chance) for i, kind in enumerate(kinds)}
    what = content(DATA, chunk=SHORTEST_CHUNK, urls=tuple(sources))
    waits: list[float] = []

    async with running(tmp_path, sources, EngineSettings(background="off", retry_wait=0.3)) as bench:

        async def reading() -> None:
            reader = bench.engine.open(what)
            for _ in range(12):
                start = chance.randrange(len(DATA))
                extent = Extent(start, start + 65536).clip(len(DATA))
                since = trio.current_time()
                assert DATA[extent.start : extent.stop] == await reader.read(extent)
                waits.append(trio.current_time() - since)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reading)
    assert max(waits) < LONGEST


@pytest.mark.parametrize("seed", range(6))
async def test_what_only_the_whole_can_judge_is_right_in_the_end(tmp_path: Path, clock: MockClock, seed: int) -> None:
    """Three that lie are found out one by one, however the rest of what they bring is mixed."""
    chance = random.Random(seed)
    kinds = ["honest", "liar", "fibber", "fibber"]
    chance.shuffle(kinds)
    sources = {f"fake://{i}": made(kind, f"{kind}{i}", chance) for i, kind in enumerate(kinds)}
    what = content(DATA, chunk=None, urls=tuple(sources))
    async with running(tmp_path, sources, EngineSettings(background="off", retry_wait=0.3)) as bench:
        reader = bench.engine.open(what)
        for _ in range(8):
            for start in range(0, len(DATA), 1 << 16):
                await reader.read(Extent(start, start + (1 << 16)))
            await trio.sleep(1)
        assert bench.engine.complete(what.key)
        assert await reader.read(Extent(0, len(DATA))) == DATA
        assert not any(each.bad_chunks for each in bench.engine.status(what).sources if "honest" in each.name)


@pytest.mark.parametrize("split", [16, 1])
async def test_mirrors_that_trickle_keep_no_reader_from_one_that_is_idle(
    tmp_path: Path, clock: MockClock, split: int
) -> None:
    """Two that bring 32 KB a second were enough for nobody else to be asked, and all lanes of who may have one."""
    slow = {f"fake://{i}": FakeSource(DATA, f"slow{i}", step=STEP, pause=0.25) for i in range(3)}
    known = {url: FakeSource(DATA, "idle", step=STEP, latency=0.5) for url in ("fake://idle", "fake://known")}
    sources = {**slow, **known}
    what = content(DATA, chunk=len(DATA), urls=(*slow, "fake://idle"))
    async with running(tmp_path, sources, EngineSettings(background="off", split=split)) as bench:
        await bench.engine.open(content(DATA[:9], urls=("fake://known",))).read(Extent(0, 9))
        since = trio.current_time()
        assert await bench.engine.open(what).read(Extent(0, 100)) == DATA[:100]
        assert trio.current_time() - since < 10


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("split", [4, 1])
async def test_silent_mirrors_keep_no_reader_from_one_that_is_not(
    tmp_path: Path, clock: MockClock, split: int, known: bool
) -> None:
    """Five that say nothing for ten seconds, by turns, held all connections of who may have few for a minute."""
    silent = {f"fake://{i}": FakeSource(DATA, f"silent{i}", step=STEP) for i in range(5)}
    sources = {**silent, "fake://good": FakeSource(DATA, "good", step=STEP, latency=0.3)}
    what = content(DATA, chunk=STEP * 4, urls=tuple(sources))
    async with running(tmp_path, sources, EngineSettings(background="off", split=split)) as bench:
        for length, url in enumerate(sources if known else (), 9):
            await bench.engine.open(content(DATA[:length], urls=(url,))).read(Extent(0, 9))
        for source in silent.values():
            source.latency, source.fault = 10.0, failing(SourceUnavailable(source.name, "silent for 10 s"))
        since = trio.current_time()
        async with trio.open_nursery() as readers:
            for number in range(4):
                extent = Extent(number * STEP * 4, number * STEP * 4 + 100)
                readers.start_soon(bench.engine.open(what).read, extent)
        assert trio.current_time() - since < 8
        assert any("was silent while" in each.what for each in bench.engine.incidents(what))


async def test_a_mirror_that_trickles_is_left_where_one_connection_is_allowed(tmp_path: Path, clock: MockClock) -> None:
    """A flight of some MiB at 32 KB a second took minutes, nobody reading, beside a mirror that is known and idle."""
    known = {url: FakeSource(DATA, "idle", step=STEP) for url in ("fake://idle", "fake://known")}
    sources = {"fake://slow": FakeSource(DATA, "slow", step=STEP, pause=0.25), **known}
    what = content(DATA, chunk=SHORTEST_CHUNK, urls=("fake://slow", "fake://idle"))
    async with running(tmp_path, sources, EngineSettings(background="off", split=1)) as bench:
        bench.engine.prefetch(what, Extent(0, len(DATA)))
        await trio.sleep(1)
        await bench.engine.open(content(DATA[:9], urls=("fake://known",))).read(Extent(0, 9))
        await trio.sleep(8)
        assert bench.engine.status(what).state == "complete"
