"""Swarms by real libtorrent peers on loopback, under an engine with a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

pytest.importorskip("libtorrent")

from mountdl.content import Content, content_of
from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor, MirrorRef
from mountdl.engine.engine import Engine
from mountdl.engine.reader import Reader
from mountdl.errors import ContentUnavailable, SourceRefused, StoreBusy
from mountdl.extents import Extent, ExtentSet
from mountdl.settings import EngineSettings, SwarmSettings
from mountdl.sources.swarm import modes
from mountdl.sources.swarm.kept import Kept
from mountdl.sources.swarm.metadata import Library
from mountdl.sources.swarm.modes import Mode
from mountdl.sources.swarm.swarm import Swarm
from mountdl.sources.swarm.transport import SwarmTransport
from mountdl.store import trails
from mountdl.store.datafile import DataFile
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from tests.support import torrents
from tests.support.content import pattern
from tests.support.fakes import FakeSource, FakeTransport
from tests.support.machine import patience, until
from tests.support.ports import free_port
from tests.support.swarms import (
    Peer,
    choking,
    downloaded,
    leech,
    loopback,
    made_by_libtorrent,
    many_files,
    one_file,
    peer,
    seed,
    seeding,
    tracker,
)


async def no_load(url: str, wanted: Iterable[bytes | None]) -> Descriptor:
    raise SourceRefused(url, "tests fetch no documents")


@dataclass
class Bench:
    engine: Engine
    store: Store
    swarms: SwarmTransport
    library: Library
    cache: Path
    shown: list[Descriptor] = field(default_factory=list)
    """Descriptors that are in the mount: what they say of torrents is known as long as they are."""

    def contents(self, data: bytes, *peers: str) -> list[Content]:
        """Return the files of torrent *data*, whose swarm is known to have *peers*."""
        said = parse("x.torrent", data)
        assert said.torrent is not None
        self.library.learn(said.torrent)
        self.shown.append(said)
        return [met(content_of(entry, entry.size or 0), peers) for entry in said.entries]


def met(content: Content, peers: Iterable[str]) -> Content:
    swarms = tuple(replace(ref, url="&x.pe=".join((ref.url, *peers))) for ref in content.swarms)
    return replace(content, swarms=swarms)


@asynccontextmanager
async def running(
    cache: Path,
    sources: dict[str, FakeSource] | None = None,
    settings: SwarmSettings | None = None,
    engine: EngineSettings | None = None,
    aside: int = 1 << 30,
) -> AsyncIterator[Bench]:
    store = Store(cache)
    library = Library(Kept(cache))
    swarms = SwarmTransport(settings or loopback(), cache, library, no_load, aside)
    made = Engine(
        store,
        [FakeTransport(sources or {})],
        engine or EngineSettings(background="off", read_timeout=50),
        lambda content: None,
    )
    made.equip([], swarms)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(swarms.run)
            await nursery.start(made.run)
            yield Bench(made, store, swarms, library, cache)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


async def test_a_torrent_is_read_from_a_peer(tmp_path: Path) -> None:
    """A piece in the middle comes first, then all of it, verified."""
    data = pattern(3_000_001)
    with tracker() as (names, url):
        made = one_file(tmp_path / "seed", data, announce=url)
        with seeding(made, tmp_path / "seed") as other:
            names.peers = [other.port]
            async with running(tmp_path / "cache") as bench:
                [content] = bench.contents(made)
                reader = bench.engine.open(content)

                assert data[1_500_000:1_600_000] == await reader.read(Extent(1_500_000, 1_600_000))
                assert data == await reader.read(Extent(0, len(data)))
                assert bench.engine.status(content).verified == len(data)


async def test_files_in_a_row_are_verified_to_the_last_byte(tmp_path: Path) -> None:
    """Pieces that two files share are judged by libtorrent; only what is read is fetched, and pieces shared with it."""
    files = {"a/one.bin": pattern(200_000, 1), "two.bin": pattern(333_333, 2), "three.bin": pattern(1_500_000, 3)}
    with tracker() as (names, url):
        made = many_files(tmp_path / "seed", files, length=65536, announce=url)
        with seeding(made, tmp_path / "seed") as other:
            names.peers = [other.port]
            async with running(tmp_path / "cache") as bench:
                contents = bench.contents(made)
                for content, data in list(zip(contents, files.values(), strict=True))[:2]:
                    reader = bench.engine.open(content)
                    assert data == await reader.read(Extent(0, len(data)))
                    status = bench.engine.status(content)
                    assert (len(data), "complete") == (status.verified, status.state)
                assert bench.engine.status(contents[2]).written == 0


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
async def test_all_versions(tmp_path: Path, kind: str) -> None:
    """As libtorrent itself makes them: of several files, with padding where the version has it."""
    files = {"a.bin": pattern(300_000, 1), "sub/b.bin": pattern(70_000, 2), "c.txt": b"short"}
    made = made_by_libtorrent(tmp_path / "seed", files, kind)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache") as bench:
            for content in bench.contents(made, other.address):
                [data] = [each for each in files.values() if len(each) == content.size]
                assert data == await bench.engine.open(content).read(Extent(0, content.size))
                assert bench.engine.status(content).verified == content.size


async def test_what_is_whole_is_held_once_and_given_to_others(tmp_path: Path) -> None:
    """A second peer gets from us what we have, out of the store's own file."""
    data = pattern(2_000_000)
    made = one_file(tmp_path / "seed", data)
    settings = loopback(seed_ratio=0.0)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache", settings=settings) as bench:
            [content] = bench.contents(made, other.address)
            await bench.engine.open(content).read(Extent(0, len(data)))
            other.session.pause()
            await until(lambda: lying(tmp_path / "cache" / "swarms") == 0)
            got = await downloaded(made, settings.ports[0], tmp_path / "other")
    assert data == got


async def test_what_mirrors_brought_is_given_to_the_swarm(tmp_path: Path) -> None:
    """Nobody else has the torrent: a peer that finds us gets from us what came by a mirror."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    settings = loopback(seed_ratio=0.0)
    mirror = FakeSource(data, step=65536)
    async with running(tmp_path / "cache", {"fake://m": mirror}, settings) as bench:
        [content] = bench.contents(made)
        content = replace(content, mirrors=(MirrorRef("fake://m"),))
        start = trio.current_time()
        assert data == await bench.engine.open(content).read(Extent(0, len(data)))
        assert trio.current_time() - start < patience(1.5)
        assert mirror.bytes_asked < 1_100_000
        await trio.sleep(1.2)
        assert data == await downloaded(made, settings.ports[0], tmp_path / "other")


async def test_what_was_whole_before_its_torrent_was_known_is_given(tmp_path: Path) -> None:
    """No piece is lacking when the swarm is joined, here after a restart: others get it all the same."""
    data = pattern(1_000_000)
    made = one_file(tmp_path / "seed", data)
    settings = loopback(seed_ratio=0.0)
    [told] = parse("x.torrent", made).entries
    plain = replace(content_of(told, len(data)), mirrors=(MirrorRef("fake://m"),), swarms=())
    async with running(tmp_path / "cache", {"fake://m": FakeSource(data, step=65536)}, settings) as bench:
        assert data == await bench.engine.open(plain).read(Extent(0, len(data)))
    async with running(tmp_path / "cache", settings=settings) as bench:
        [content] = bench.contents(made)
        assert content.key == plain.key
        bench.engine.open(content)
        assert data == await downloaded(made, settings.ports[0], tmp_path / "other")


@pytest.mark.parametrize("kind", ["v1", "v2", "hybrid"])
async def test_what_mirrors_brought_of_an_unfinished_file_is_given(tmp_path: Path, kind: str) -> None:
    """Nobody has all of it: a peer that finds us meanwhile gets the pieces that are here, and no others."""
    data = pattern(6_000_000)
    made = made_by_libtorrent(tmp_path / "seed", {"a.bin": data, "b.txt": b"short"}, kind)
    settings = loopback()
    mirror = FakeSource(data, step=65536, parallel=4)
    async with running(tmp_path / "cache", {"fake://m": mirror}, settings) as bench:
        content = next(each for each in bench.contents(made) if each.size == len(data))
        content = replace(content, mirrors=(MirrorRef("fake://m"),))
        await bench.engine.open(content).read(Extent(1_000_000, 4_000_000))
        with peer() as other:
            handle = leech(other, made, settings.ports[0], tmp_path / "other")
            with trio.fail_after(50):
                while sum(handle.status().pieces) < 40:
                    await trio.sleep(0.05)
            had = [place for place, each in enumerate(handle.status().pieces) if each]
            here = bench.engine.status(content).verified
            assert len(had) * 65536 <= here + 65536 < len(data)
            handle.flush_cache()
            with trio.fail_after(50):
                while not all(same(tmp_path / "other" / "top" / "a.bin", data, place * 65536) for place in had):
                    await trio.sleep(0.05)


def same(path: Path, data: bytes, offset: int) -> bool:
    """Say whether the piece at *offset* of *path* is on disk by now as in *data*, or is none of it."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(65536)[: max(0, len(data) - offset)] == data[offset : offset + 65536]


async def test_a_swarm_that_comes_late_helps_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first peer finds us when the mirror has served alone for longer than a swarm stays without being asked."""
    monkeypatch.setattr(modes, "LINGER", 1.0)
    data = pattern(12_000_000)
    made = one_file(tmp_path / "seed", data)
    settings = loopback()
    mirror = FakeSource(data, step=65536, pause=0.065, parallel=1)
    async with running(tmp_path / "cache", {"fake://m": mirror}, settings) as bench:
        [content] = bench.contents(made)
        content = replace(content, mirrors=(MirrorRef("fake://m"),))
        reader = bench.engine.open(content)
        start, position = trio.current_time(), 0

        async def read_on() -> None:
            nonlocal position
            extent = Extent(position, position + 250_000)
            assert data[position : extent.stop] == await reader.read(extent)
            position = extent.stop

        while trio.current_time() - start < 3:
            await read_on()
        with peer() as other:
            handle = seed(other, made, tmp_path / "seed")
            handle.connect_peer(("127.0.0.1", settings.ports[0]))
            while position < len(data):
                await read_on()
        brought = {source.name: source.delivered for source in bench.engine.status(content).sources}
    assert min(brought.values()) > 1_000_000, brought


async def test_a_swarm_and_a_mirror_serve_one_file_together(tmp_path: Path) -> None:
    """Both bring some of it, neither all."""
    data = pattern(20_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536, pause=0.01, parallel=1)
    with seeding(made, tmp_path / "seed", upload=8_000_000) as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
            [content] = bench.contents(made, other.address)
            content = replace(content, mirrors=(MirrorRef("fake://m"),))
            reader = bench.engine.open(content)
            await connected(bench)
            for start in range(0, len(data), 1 << 20):
                extent = Extent(start, start + (1 << 20)).clip(len(data))
                assert data[start : extent.stop] == await reader.read(extent)
            brought = {source.name: source.delivered for source in bench.engine.status(content).sources}
    assert min(brought.values()) > 1_000_000, brought
    assert sum(brought.values()) < 1.3 * len(data), brought


async def test_a_silent_swarm_costs_nothing(tmp_path: Path) -> None:
    """Whose peers never answer is not waited for, and asked for nothing, where there is a mirror."""
    data = pattern(3_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536)
    async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
        [content] = bench.contents(made, f"127.0.0.1:{free_port()}")
        content = replace(content, mirrors=(MirrorRef("fake://m"),))
        start = trio.current_time()
        assert data == await bench.engine.open(content).read(Extent(0, len(data)))
        assert trio.current_time() - start < patience(0.7)
        assert [3_000_000, 0] == [source.delivered for source in bench.engine.status(content).sources]


async def test_a_swarm_that_lacks_pieces_and_a_mirror(tmp_path: Path) -> None:
    """What no peer has comes from the mirror; the file is whole and verified."""
    data = pattern(4_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536, pause=0.005, parallel=1)
    with seeding(made, tmp_path / "seed", lacking=(20, 21, 40)) as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
            [content] = bench.contents(made, other.address)
            content = replace(content, mirrors=(MirrorRef("fake://m"),))
            reader = bench.engine.open(content)
            await connected(bench)
            assert data == await reader.read(Extent(0, len(data)))
            assert bench.engine.status(content).verified == len(data)


async def test_a_peer_that_never_gives_is_given_up(tmp_path: Path) -> None:
    """A read fails within the read time-out and says of whom nothing came; so does one without any peer."""
    made = one_file(tmp_path / "seed", pattern(300_000))
    with seeding(made, tmp_path / "seed", lacking=tuple(range(5))) as other:
        async with running(tmp_path / "cache", engine=EngineSettings(read_timeout=1.5)) as bench:
            [content] = bench.contents(made, other.address)
            with pytest.raises(ContentUnavailable, match="did not arrive within 1.5 s"):
                await bench.engine.open(content).read(Extent(0, 1000))


async def test_a_peer_that_chokes_for_ever(tmp_path: Path) -> None:
    """It is waited for as long as for anybody who is late: a mirror and another peer bring what it promised."""
    data = pattern(2_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536)
    with choking(made) as choker:
        async with running(tmp_path / "beside", {"fake://m": mirror}) as bench:
            [content] = bench.contents(made, choker)
            content = replace(content, mirrors=(MirrorRef("fake://m"),))
            reader = bench.engine.open(content)
            await connected(bench)
            assert data == await reader.read(Extent(0, len(data)))
            assert bench.engine.status(content).verified == len(data)
        with seeding(made, tmp_path / "seed") as good:
            async with running(tmp_path / "cache") as bench:
                [content] = bench.contents(made, choker, good.address)
                assert data == await bench.engine.open(content).read(Extent(0, len(data)))


async def test_a_peer_that_vanishes(tmp_path: Path) -> None:
    """In the middle of a read: a mirror goes on where it was."""
    data = pattern(6_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, latency=0.3, step=65536, pause=0.02, parallel=1)
    with seeding(made, tmp_path / "seed", upload=2_000_000) as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
            [content] = bench.contents(made, other.address)
            content = replace(content, mirrors=(MirrorRef("fake://m"),))
            reader = bench.engine.open(content)
            await connected(bench)
            assert data[:1_000_000] == await reader.read(Extent(0, 1_000_000))
            other.session.remove_torrent(other.handles[0])
            assert data == await reader.read(Extent(0, len(data)))
            assert bench.engine.status(content).verified == len(data)


async def connected(bench: Bench) -> None:
    """Wait until some peer is."""
    with trio.fail_after(50):
        while not any(swarm.ready for swarm in bench.swarms._swarms.values()):
            await trio.sleep(0.05)


async def test_a_torrent_that_contradicts_the_metalink_loses(tmp_path: Path) -> None:
    """What the swarm brings is judged by the metalink's digest: it is dropped, the file comes from the mirror."""
    data, other = pattern(8_000_000), pattern(8_000_000, 7)
    made = one_file(tmp_path / "seed", other)
    mirror = FakeSource(data, latency=0.3, step=65536, pause=0.02, parallel=1)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
            [swarmed] = bench.contents(made, other.address)
            [told] = parse("x.torrent", torrents.torrent(torrents.single(data, 65536, "a.bin"))).entries
            content = replace(content_of(told, len(data)), mirrors=(MirrorRef("fake://m"),), swarms=swarmed.swarms)
            reader = bench.engine.open(content)
            await connected(bench)
            assert data == await reader.read(Extent(0, len(data)))
            said = [f"{each.source} {each.what}" for each in bench.engine.incidents(content)]
            assert [each for each in said if each.startswith("swarm") and "sent wrong bytes" in each]


@dataclass
class Given:
    """A file that *bench* fetched from *other* and gives away by *port*: the bytes *data*, by the torrent *made*."""

    bench: Bench
    content: Content
    reader: Reader
    data: bytes
    made: bytes
    other: Peer
    port: int

    async def nobody_gets_it(self, folder: Path) -> None:
        with pytest.raises(trio.TooSlowError):
            await downloaded(self.made, self.port, folder, within=1.5)


@asynccontextmanager
async def given(place: Path) -> AsyncIterator[Given]:
    data = pattern(1_000_000)
    made = one_file(place / "seed", data)
    settings = loopback(seed_ratio=0.0)
    with seeding(made, place / "seed") as other:
        async with running(place / "cache", settings=settings) as bench:
            [content] = bench.contents(made, other.address)
            reader = bench.engine.open(content)
            assert data == await reader.read(Extent(0, len(data)))
            yield Given(bench, content, reader, data, made, other, settings.ports[0])


async def test_what_is_evicted_is_not_offered(tmp_path: Path) -> None:
    """Another peer gets nothing from us once the bytes have gone, and the next read fetches them again."""
    async with given(tmp_path) as it:
        [swarm] = set(_swarms(it.bench))
        while swarm.mode is not Mode.GIVING:
            await trio.sleep(0.05)
        it.bench.swarms.forget(it.content.key)
        it.bench.engine.download(it.content).stored.evict(Extent(0, len(it.data)))
        assert swarm.mode is not Mode.GIVING
        it.other.session.pause()
        await it.nobody_gets_it(tmp_path / "other")
        it.other.session.resume()
        assert it.data == await it.reader.read(Extent(0, len(it.data)))


@pytest.mark.parametrize("how", ["evicted", "pruned"])
async def test_what_another_process_evicts_is_not_offered(tmp_path: Path, how: str) -> None:
    """Another mount on the same store, or `mountdl cache prune`: peers would get zeros, and think us liars."""
    async with given(tmp_path) as it:
        it.reader.close()
        it.bench.engine.release(it.content.key)
        await it.bench.store._checkpoint_all()
        [swarm] = set(_swarms(it.bench))
        await until(lambda: swarm.mode is Mode.GIVING)
        await until(lambda: it.bench.store.census()[it.content.key].taken > 0)
        it.other.session.pause()
        second = Store(tmp_path / "cache")
        await trio.sleep(1.5)
        assert swarm.mode is Mode.GIVING
        if how == "evicted":
            stored = second.reopen(it.content.key)
            stored.evict(Extent(300_000, 500_000))
            stored.close()
        else:
            second.remove(it.content.key)
        second.close()
        await until(lambda: swarm.mode is not Mode.GIVING)
        await it.nobody_gets_it(tmp_path / "other")
        it.other.session.resume()
        assert it.data == await it.bench.engine.open(it.content).read(Extent(0, len(it.data)))


async def test_little_lies_aside(tmp_path: Path) -> None:
    """What a torrent is fetched into, where mirrors write the store's file, never grows beyond its bound by much."""
    data = pattern(8_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536, latency=5.0)
    with seeding(made, tmp_path / "seed", upload=8_000_000) as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}, aside=2_000_000) as bench:
            [content] = bench.contents(made, other.address)
            content = replace(content, mirrors=(MirrorRef("fake://m"),))
            reader = bench.engine.open(content)
            await connected(bench)
            most = 0
            async for _ in in_order(reader, data, 250_000):
                most = max(most, lying(tmp_path / "cache" / "swarms"))
            assert 200_000 < most < 7_000_000


async def in_order(reader: Reader, data: bytes, step: int) -> AsyncIterator[int]:
    """Read all by *step* bytes, compare it with *data*, and give where each began."""
    for start in range(0, len(data), step):
        extent = Extent(start, start + step).clip(len(data))
        assert data[start : extent.stop] == await reader.read(extent)
        yield start


def lying(folder: Path) -> int:
    """Return how many bytes of disk the files below *folder* take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


async def test_bytes_are_held_once(tmp_path: Path) -> None:
    """While it is fetched too: into the store's own file, and what nobody asked for yet is kept and known as well."""
    data = pattern(8_000_000)
    made = one_file(tmp_path / "seed", data)
    with seeding(made, tmp_path / "seed", upload=8_000_000) as other:
        async with running(tmp_path / "cache") as bench:
            [content] = bench.contents(made, other.address)
            reader, stored = bench.engine.open(content), bench.engine.download(content).stored
            async for _ in in_order(reader, data, 250_000):
                assert lying(tmp_path / "cache" / "swarms") == 0
                assert lying(tmp_path / "cache" / "contents") < len(data) + 100_000
            assert data == stored.path.read_bytes()
            assert bench.engine.status(content).sources[0].delivered >= len(data)
            [swarm] = set(bench.swarms._swarms.values())
            while swarm.mode is not Mode.GIVING:
                await trio.sleep(0.05)
            assert not stored.loan.given


async def test_what_was_streamed_is_not_kept_by_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has the mount's pages of it; and no checkpoint reads it back to sum it."""
    monkeypatch.setattr(trails, "LENGTH", 1_000_000)
    gone, read_back = ExtentSet(), list[Extent]()
    monkeypatch.setattr(DataFile, "let_go", lambda file, extents: [gone.add(extent) for extent in extents])
    data = pattern(8 << 20)
    made = one_file(tmp_path / "seed", data, length=1 << 19)
    # What is read once all is here is no stream from a swarm. However late the reader is, the last piece is later.
    with seeding(made, tmp_path / "seed", lacking=(15,)) as other:
        async with running(tmp_path / "cache") as bench, trio.open_nursery() as nursery:
            await nursery.start(bench.store.run)
            [content] = bench.contents(made, other.address)
            reader, stored = bench.engine.open(content), bench.engine.download(content).stored
            async for _ in in_order(reader, data[: 15 << 19], 250_000):
                pass
            await until(lambda: gone.total >= 1_000_000)  # most of it, but for what was not in the page cache yet
            other.handles[0].add_piece(15, data[15 << 19 :], 0)
            assert data[15 << 19 :] == await reader.read(Extent(15 << 19, len(data)))
            await until(lambda: bench.engine.status(content).state == "complete")
            monkeypatch.setattr(DataFile, "hash", lambda file, extent, hasher=None: read_back.append(extent) or {})
            stored.checkpoint()
            assert read_back == []
            nursery.cancel_scope.cancel()


async def test_a_peer_gets_what_is_being_fetched(tmp_path: Path) -> None:
    """Out of the store's own file, while the rest of it still comes."""
    data = pattern(8_000_000)
    made = one_file(tmp_path / "seed", data)
    settings = loopback()
    with seeding(made, tmp_path / "seed", lacking=(100,)) as other:
        async with running(tmp_path / "cache", settings=settings) as bench:
            [content] = bench.contents(made, other.address)
            await bench.engine.open(content).read(Extent(0, 4_000_000))
            with peer() as second:
                handle = leech(second, made, settings.ports[0], tmp_path / "other")
                with trio.fail_after(50):
                    while sum(handle.status().pieces) < 60:
                        await trio.sleep(0.05)
                assert not any(swarm.mode is Mode.GIVING for swarm in bench.swarms._swarms.values())


async def test_files_that_share_pieces_are_fetched_side_by_side(tmp_path: Path) -> None:
    """The second is opened while the first comes, and lies aside at first; the third when the first was left."""
    files = {f"{name}.bin": pattern(1_500_001, name) for name in range(3)}
    named = {f"{name}": data for name, data in files.items()}
    made = many_files(tmp_path / "seed", named, length=262144)
    with seeding(made, tmp_path / "seed", upload=3_000_000) as other:
        async with running(tmp_path / "cache") as bench:
            contents = bench.contents(made, other.address)
            read = [False] * 3

            async def whole(number: int) -> None:
                reader = bench.engine.open(contents[number])
                want = named[f"{number}.bin"]
                async for _ in in_order(reader, want, 100_000):
                    pass
                read[number] = True

            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(whole, number)
                    await trio.sleep(0.3)
            assert all(read)
            for content, want in zip(contents, named.values(), strict=True):
                stored = bench.engine.download(content).stored
                assert want == stored.path.read_bytes()
                assert stored.verified.total == len(want)


async def placed(bench: Bench, count: int) -> None:
    """Wait until *count* files are written where the store keeps them."""
    with trio.fail_after(50):
        while not any(swarm._fetching and len(swarm._fetching.placed) == count for swarm in _swarms(bench)):
            await trio.sleep(0.01)


def _swarms(bench: Bench) -> Iterable[Swarm]:
    return bench.swarms._swarms.values()


async def test_another_process_gets_a_file_once_nothing_writes_to_it(tmp_path: Path) -> None:
    """It was left while another of its torrent comes: blocks may still be written to it, and peers don't part for it."""
    files = {"0.bin": pattern(9_000_001, 0), "1.bin": pattern(1_000_001, 1)}
    made = many_files(tmp_path / "seed", files, length=262144)
    other_mount = Store(tmp_path / "cache")
    with seeding(made, tmp_path / "seed", upload=3_000_000) as other:
        async with running(tmp_path / "cache") as bench:
            left, kept = bench.contents(made, other.address)
            first, second = bench.engine.open(left), bench.engine.open(kept)
            assert files["0.bin"][:300_000] == await first.read(Extent(0, 300_000))
            await placed(bench, 2)
            assert bench.engine.status(left).verified < left.size
            first.close()
            bench.engine._close(left.key)
            await bench.store._checkpoint_all()
            with pytest.raises(StoreBusy):
                other_mount.open(left.key, left.size, left.chunk_map.fingerprint)

            assert files["1.bin"] == await second.read(Extent(0, kept.size))
            assert files["0.bin"] == await bench.engine.open(left).read(Extent(0, left.size))
        assert other_mount.open(left.key, left.size, left.chunk_map.fingerprint).verified.total == left.size
    other_mount.close()


async def test_peers_that_tell_something_after_the_engine_are_heard(tmp_path: Path) -> None:
    """A mount ends from the top; what its swarms hear until they end was a defect, and the mount said so."""
    data = pattern(3_000_000)
    made = one_file(tmp_path / "seed", data)
    async with trio.open_nursery() as lower:
        store = Store(tmp_path / "cache")
        library = Library(Kept(tmp_path / "cache"))
        swarms = SwarmTransport(loopback(), tmp_path / "cache", library, no_load)
        await lower.start(swarms.run)
        with seeding(made, tmp_path / "seed", upload=1_000_000) as other:
            engine = Engine(store, [], EngineSettings(read_timeout=20), lambda content: None)
            engine.equip([], swarms)
            async with trio.open_nursery() as upper:
                await upper.start(engine.run)
                bench = Bench(engine, store, swarms, library, tmp_path / "cache")
                [content] = bench.contents(made, other.address)
                assert data[:65536] == await engine.open(content).read(Extent(0, 65536))
                upper.cancel_scope.cancel()
            for swarm in _swarms(bench):
                swarm._inventory.poke()
            await trio.sleep(0.5)  # pieces come
        lower.cancel_scope.cancel()
    store.close()
    with open_content(tmp_path / "cache", content) as stored:
        for extent in stored.written:
            assert data[extent.start : extent.stop] == stored.read(extent)


@contextmanager
def open_content(cache: Path, content: Content) -> Iterator[Stored]:
    store = Store(cache)
    yield store.open(content.key, content.size, content.chunk_map.fingerprint)
    store.close()


async def test_an_empty_file_beside_others_is_in_nobodys_way(tmp_path: Path) -> None:
    """It is whole as soon as it is opened, and in no piece."""
    files = {"a.bin": pattern(200_000, 1), "empty": b"", "b.bin": pattern(150_000, 2)}
    made = many_files(tmp_path / "seed", files)
    with seeding(made, tmp_path / "seed") as other:
        async with running(tmp_path / "cache") as bench:
            for content, data in zip(bench.contents(made, other.address), files.values(), strict=True):
                assert data == await bench.engine.open(content).read(Extent(0, len(data)))


async def test_what_is_evicted_meanwhile_comes_again(tmp_path: Path) -> None:
    """While it is fetched into the store's file: it is given back first, and no wrong byte is read."""
    data = pattern(6_000_000)
    made = one_file(tmp_path / "seed", data)
    with seeding(made, tmp_path / "seed", upload=6_000_000) as other:
        async with running(tmp_path / "cache") as bench:
            [content] = bench.contents(made, other.address)
            reader, stored = bench.engine.open(content), bench.engine.download(content).stored
            async for start in in_order(reader, data, 250_000):
                if start % 1_500_000 == 1_000_000:
                    bench.swarms.forget(content.key)
                    stored.evict(Extent(start - 1_000_000, start - 500_000))
            assert data == await reader.read(Extent(0, len(data)))
            assert data == stored.path.read_bytes()


async def test_a_mirror_that_turns_up_takes_its_part(tmp_path: Path) -> None:
    """The store's file is given back before a byte of the mirror comes."""
    data = pattern(8_000_000)
    made = one_file(tmp_path / "seed", data)
    mirror = FakeSource(data, step=65536)
    with seeding(made, tmp_path / "seed", upload=1_000_000) as other:
        async with running(tmp_path / "cache", {"fake://m": mirror}) as bench:
            [content] = bench.contents(made, other.address)
            reader, stored = bench.engine.open(content), bench.engine.download(content).stored
            assert data[:300_000] == await reader.read(Extent(0, 300_000))
            assert stored.loan.given
            with_mirror = replace(content, mirrors=(MirrorRef("fake://m"),))
            bench.engine._adopt(bench.engine.download(content), with_mirror)
            with trio.fail_after(50):
                assert data == await reader.read(Extent(0, len(data)))
            assert not stored.loan.given
            assert mirror.bytes_asked > 1_000_000
            assert data == stored.path.read_bytes()
