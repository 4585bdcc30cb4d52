"""An engine over a real store and fake sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from mountdl.content import Content
from mountdl.engine.engine import Engine
from mountdl.settings import EngineSettings, Limit
from mountdl.store.store import Store
from tests.support.fakes import FakeSource, FakeTransport

QUIET = EngineSettings(background="off")


@dataclass
class Bench:
    engine: Engine
    store: Store
    discarded: list[Content] = field(default_factory=list)


@asynccontextmanager
async def running(
    directory: Path, sources: dict[str, FakeSource], settings: EngineSettings = QUIET, limit: Limit | None = None
) -> AsyncIterator[Bench]:
    """Run an engine whose store takes *limit*; URLs of contents are keys of *sources*."""
    store = Store(directory, limit=limit)
    discarded: list[Content] = []
    engine = Engine(store, [FakeTransport(sources)], settings, discarded.append)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield Bench(engine, store, discarded)
            nursery.cancel_scope.cancel()
    finally:
        store.close()
