"""Swarms by real libtorrent peers on loopback, under an engine with a real store."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

pytest.importorskip("libtorrent")

from mountdl.content import Content, content_of
from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor
from mountdl.engine.engine import Engine
from mountdl.errors import SourceRefused
from mountdl.extents import Extent
from mountdl.settings import EngineSettings, SwarmSettings
from mountdl.sources.swarm.transport import SwarmTransport
from mountdl.store.store import Store
from tests.support.fakes import FakeSource, FakeTransport
from tests.support.swarms import loopback, one_file, seeding, tracker


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


async def no_load(url: str, wanted: Iterable[bytes | None]) -> Descriptor:
    raise SourceRefused(url, "tests fetch no documents")


@dataclass
class Bench:
    engine: Engine
    store: Store
    swarms: SwarmTransport
    cache: Path

    def contents(self, data: bytes) -> list[Content]:
        said = parse("x.torrent", data)
        assert said.torrent is not None
        self.swarms.learn(said.torrent)
        return [content_of(entry, entry.size or 0) for entry in said.entries]


@asynccontextmanager
async def running(
    cache: Path,
    sources: dict[str, FakeSource] | None = None,
    settings: SwarmSettings | None = None,
    engine: EngineSettings | None = None,
) -> AsyncIterator[Bench]:
    store = Store(cache)
    swarms = SwarmTransport(settings or loopback(), cache, no_load)
    made = Engine(
        store,
        [FakeTransport(sources or {})],
        engine or EngineSettings(background="off", read_timeout=20),
        lambda content: None,
        swarms=swarms,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(swarms.run)
            await nursery.start(made.run)
            yield Bench(made, store, swarms, cache)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


async def test_a_torrent_is_read_from_a_peer(tmp_path: Path) -> None:
    """A piece in the middle comes first, then all of it, verified."""
    data = noise(3_000_001)
    with tracker() as (names, url):
        made = one_file(tmp_path / "seed", data, announce=url)
        with seeding(made, tmp_path / "seed") as peer:
            names.peers = [peer.port]
            async with running(tmp_path / "cache") as bench:
                [content] = bench.contents(made)
                reader = bench.engine.open(content)

                assert data[1_500_000:1_600_000] == await reader.read(Extent(1_500_000, 1_600_000))
                assert data == await reader.read(Extent(0, len(data)))
                assert bench.engine.status(content).verified == len(data)
