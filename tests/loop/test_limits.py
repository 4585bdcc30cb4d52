"""Rates that the user limits: nothing is fetched twice for them, and a read that they make fail says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent
from tests.support.content import content, pattern
from tests.support.engines import QUIET, running
from tests.support.fakes import FakeSource

DATA = pattern(800_000)
URLS = ("fake://a", "fake://b", "fake://c")


@pytest.mark.parametrize("option", ["download_rate", "overall_download_rate"])
@pytest.mark.parametrize("rate", [40_000, 400_000])
async def test_what_is_slow_by_a_limit_is_not_fetched_twice(
    tmp_path: Path, clock: MockClock, option: str, rate: int
) -> None:
    """Other mirrors could bring it no sooner: the allowance goes into bytes that are new."""
    sources = {url: FakeSource(DATA, url[-1], latency=0.05, step=4096) for url in URLS}
    what = content(DATA, chunk=100_000, urls=URLS)
    brought = 0

    def count(source: FakeSource, offset: int) -> bytes | None:
        nonlocal brought
        brought += min(source.step, len(DATA) - offset)
        return None

    for source in sources.values():
        source.fault = count
    settings = replace(QUIET, **{option: rate})  # type: ignore[arg-type]
    async with running(tmp_path, sources, settings) as bench:
        content_of = bench.engine.open(what)
        for start in range(0, len(DATA), 50_000):
            assert await content_of.read(Extent(start, start + 50_000)) == DATA[start : start + 50_000]
        assert brought < len(DATA) * 1.05
        assert not [each for each in bench.engine.incidents(what) if "was late" in each.what]


async def test_a_limit_that_a_chunk_can_not_pass(tmp_path: Path, clock: MockClock) -> None:
    """The read fails with a sentence that names the limit; so do status and why."""
    sources = {URLS[0]: FakeSource(DATA, step=4096)}
    what = content(DATA, chunk=400_000, urls=URLS[:1])
    async with running(tmp_path, sources, replace(QUIET, overall_download_rate=10_000, read_timeout=20)) as bench:
        with pytest.raises(ContentUnavailable, match="--max-overall-download-limit=10000 lets 200000 bytes through"):
            await bench.engine.open(what).read(Extent(0, 100))
        assert "raise it or --read-timeout" in (bench.engine.status(what).error or "")
        assert any("--max-overall-download-limit=10000" in each.what for each in bench.engine.incidents(what))


async def test_a_read_goes_before_what_is_ahead_of_it(tmp_path: Path, clock: MockClock) -> None:
    """A seek does not share one file's allowance with the readahead of where it was."""
    sources = {URLS[0]: FakeSource(DATA, step=4096)}
    what = content(DATA, chunk=50_000, urls=URLS[:1])
    async with running(tmp_path, sources, replace(QUIET, download_rate=50_000)) as bench:
        opened = bench.engine.open(what)
        for start in (0, 50_000, 100_000):
            await opened.read(Extent(start, start + 50_000))
        began = trio.current_time()
        assert await opened.read(Extent(700_000, 750_000)) == DATA[700_000:750_000]
        assert trio.current_time() - began < 1.5  # a second by its own, two if it had to share
