"""Servers that limit each connection, and send what it may have once a second, as nginx does with `limit_rate`."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.extents import Extent
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

BURST = 300_000
READ = 512 << 10
DATA = pattern(40_000_000)


@pytest.mark.parametrize("chunk", [None, 1 << 20, 256 << 10])
async def test_a_reader_gets_what_all_connections_bring_and_hardly_a_byte_twice(
    chunk: int | None, tmp_path: Path, clock: MockClock
) -> None:
    """The second of silence between two bursts is no stall, and a trial of more connections outlasts it."""
    source = FakeSource(DATA, step=BURST, pause=1.0)
    what = content(DATA, chunk=chunk, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader, began = bench.engine.open(what), trio.current_time()
        for start in range(0, len(DATA), READ):
            await reader.read(Extent(start, start + READ).clip(len(DATA)))
        took = trio.current_time() - began
        delivered = bench.engine.status(what).sources[0].delivered
    assert source.most_flying == 8
    assert took < 1.6 * len(DATA) / (8 * BURST)
    assert delivered < 1.1 * len(DATA)
