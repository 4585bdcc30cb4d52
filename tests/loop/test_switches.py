"""What a user switches on a single file: pause and pin."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from mountdl.content import ContentKey
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from mountdl.store.store import Store
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

DATA = pattern(100)


async def test_a_paused_file_fetches_only_what_is_read(tmp_path: Path, clock: MockClock) -> None:
    """Readers are served; nothing else is fetched until it goes on."""
    source = FakeSource(DATA)
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="all")) as bench:
        bench.engine.pause(what, on=True)
        bench.engine.update({what.key: what})
        assert DATA[20:30] == await bench.engine.open(what).read(Extent(20, 30))
        bench.engine.prefetch(what, Extent(0, 100))
        await trio.sleep(20)
        assert [Extent(16, 32)] == [extent for extent, _ in source.fetched]
        bench.engine.pause(what, on=False)
        await trio.sleep(20)
        assert "complete" == bench.engine.status(what).state


def test_a_pin_outlives_the_store(tmp_path: Path) -> None:
    """What is pinned is so for the next mount too, also before it has a byte."""
    key = ContentKey("sha-256-00")
    store = Store(tmp_path)
    store.pin(key, on=True)
    store.close()
    again = Store(tmp_path)
    assert again.pinned(key)
    again.pin(key, on=False)
    assert not again.pinned(key)
    again.close()
