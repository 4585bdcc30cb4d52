"""What a mount that runs for months must not gather: what is over leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.engine import engine
from mountdl.extents import Extent
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

DATA = pattern(400)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave what refers to itself where it is."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("chunk", [16, None])
async def test_a_closed_file_leaves_memory_at_once(
    chunk: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: MockClock, no_collector: None
) -> None:
    """Without the collector, which comes seldom where there are many descriptors."""
    source = FakeSource(DATA, "mirror")
    shown = content(DATA, urls=("fake://mirror",), chunk=chunk)
    monkeypatch.setattr(engine, "LINGER", 5.0)
    async with running(tmp_path, {"fake://mirror": source}) as bench:
        reader = bench.engine.open(shown)
        assert DATA[:10] == await reader.read(Extent(0, 10))
        download = bench.engine.download(shown)
        parts = [weakref.ref(each) for each in (download, download.stored, download.roster, download.incidents)]
        reader.close()
        del reader, download
        await trio.sleep(10)
        bench.store.close()
        assert bench.engine.active() == ()
        assert [None] * 4 == [part() for part in parts]
