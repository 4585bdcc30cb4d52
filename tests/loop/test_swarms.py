"""Swarms beside mirrors, under an engine with a real store, by a session without libtorrent."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from mountdl.content import Content, content_of
from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor, MirrorRef
from mountdl.engine.engine import Engine
from mountdl.errors import SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.settings import EngineSettings, SwarmSettings
from mountdl.sources.swarm.binding import Binding
from mountdl.sources.swarm.kept import Kept
from mountdl.sources.swarm.metadata import Library
from mountdl.sources.swarm.transport import SwarmTransport
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from tests.support.content import pattern
from tests.support.fakes import FakeSource, FakeTransport, failing
from tests.support.peers import Peer, Truth, install
from tests.support.torrents import single, torrent

PIECE = 1 << 16
DATA = pattern(40 * PIECE)
URL = "fake://a"


async def no_load(url: str, wanted: Iterable[bytes | None]) -> Descriptor:
    raise SourceRefused(url, "nothing is loaded here")


async def inline(function: Callable[..., Any], *args: Any, **_: object) -> Any:
    return function(*args)


@dataclass
class Bench:
    """A store that has swarms, and what can be read of it."""

    engine: Engine
    store: Store
    content: Content

    def full(self) -> bool:
        return False

    def owner(self, path: Path) -> Stored | None:
        return next((stored for stored in self.store._tenants() if stored.path == path), None)

    async def read(self, start: int, stop: int) -> None:
        """Read these pieces, and see that they are right."""
        reader = self.engine.open(self.content)
        try:
            extent = Extent(start * PIECE, stop * PIECE)
            assert await reader.read(extent) == DATA[extent.start : extent.stop]
        finally:
            reader.close()

    def serve(self, *urls: str) -> None:
        """Have the descriptor name these mirrors from now on."""
        self.content = replace(self.content, mirrors=tuple(map(MirrorRef, urls)))
        self.engine.update({self.content.key: self.content})


@asynccontextmanager
async def running(
    directory: Path,
    patch: pytest.MonkeyPatch,
    sources: dict[str, FakeSource],
    peers: Iterable[Peer] = (),
    aside: int = 1 << 30,
) -> AsyncIterator[Bench]:
    """Run an engine whose swarm has *peers*, beside *sources*; it fetches *aside* bytes into a folder at most."""
    patch.setattr(trio.to_thread, "run_sync", inline)
    said = parse("x.torrent", torrent(single(DATA, PIECE, "a.bin")))
    assert said.torrent is not None
    library = Library(Kept(directory))
    library.learn(said.torrent)
    store = Store(directory)
    engine = Engine(store, [FakeTransport(sources)], EngineSettings(background="off"), lambda _: None)
    truth = Truth(said.torrent, {0: DATA}, tuple(peers) or (Peer("10.0.0.1:7001"),))
    what = replace(content_of(said.entries[0], len(DATA)), mirrors=tuple(map(MirrorRef, sources)))
    made = Bench(engine, store, what)
    install(patch, [truth], made)
    swarms = SwarmTransport(SwarmSettings(), directory, library, no_load, aside)
    swarms._binding.loaded = True
    store.before_evicting(swarms.forget)
    engine.equip([], swarms)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(swarms.run)
            await nursery.start(engine.run)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        store.close()


@pytest.mark.parametrize("named", [True, False])
async def test_a_swarm_that_rested_is_asked_when_the_mirror_fails(
    tmp_path: Path, clock: object, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Its peers were parted from while nobody read; they are looked for once a reader waits."""
    mirror = FakeSource(DATA, step=1 << 14)
    async with running(tmp_path, monkeypatch, {URL: mirror}) as bench:
        await bench.read(0, 1)
        reader = bench.engine.open(bench.content)  # by a player that pauses
        await trio.sleep(50)
        if named:
            mirror.fault = failing(SourceUnavailable(URL, "connection refused"))
        else:
            bench.serve()
        with trio.fail_after(10):
            await bench.read(20, 21)
        reader.close()


async def test_a_libtorrent_that_is_too_old_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Debian's is: the first torrent that was read ended the mount, at a setting that it does not know."""
    monkeypatch.setitem(sys.modules, "libtorrent", SimpleNamespace(__version__="2.0.14.0"))
    binding = Binding()

    with pytest.raises(SourceRefused, match=r"needs libtorrent 2\.1 or newer .*: it is 2\.0\.14\.0, which is too old"):
        await binding.load()

    assert not binding.loaded
    assert "torrents are fetched from web seeds only" in caplog.text
    caplog.clear()


async def test_a_mirror_without_ranges_is_read_beside_a_swarm_of_nobody(
    tmp_path: Path, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader came to next was left to the swarm, for as long as a read may take."""
    nobody = Peer("10.0.0.1:7001", gaps=[(0, math.inf)])
    async with running(
        tmp_path, monkeypatch, {URL: FakeSource(DATA, step=1 << 14, sequential=True)}, [nobody]
    ) as bench:
        with trio.fail_after(10):
            await bench.read(20, 21)


async def test_a_flight_longer_than_what_may_lie_aside_comes_to_its_end(
    tmp_path: Path, clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had brought was fetched again each time that the folder was emptied, until that was full once more."""
    mirror = FakeSource(DATA, URL, fault=failing(SourceUnavailable(URL, "connection refused")))
    peer = Peer("10.0.0.1:7001", rate=5e5)
    async with running(tmp_path, monkeypatch, {URL: mirror}, [peer], aside=4 * PIECE) as bench:
        since = trio.current_time()
        await bench.read(0, 40)
        assert trio.current_time() - since < 20
