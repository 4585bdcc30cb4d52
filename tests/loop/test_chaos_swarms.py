"""Whatever peers, mirrors, quotas, disks and kills do together, by seed: what a mount of torrents promises holds.

The code of `mountdl.sources.swarm` runs over a session without libtorrent (tests/support/peers.py), which looks after
two laws of its own. Each seed is a store that several processes use one after another; all but the last two may be
killed, and the last one reads everything in peace. For more of them: `python -m tests.loop.test_chaos_swarms FROM TO`.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.content import Content, Level, content_of
from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor, Entry, MirrorRef, PieceDigests, Torrent
from mountdl.engine import assembly
from mountdl.engine.engine import Engine
from mountdl.errors import MountdlError, SourceRefused
from mountdl.extents import Extent
from mountdl.settings import EngineSettings, Limit, SwarmSettings
from mountdl.sources.swarm.kept import Kept
from mountdl.sources.swarm.metadata import Library
from mountdl.sources.swarm.transport import SwarmTransport
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from tests.loop.test_chaos import BAD, Host, Mirror
from tests.loop.test_engine import reproducible
from tests.support import torrents
from tests.support.fakes import FakeTransport
from tests.support.peers import Peer, Truth, install

KIB = 1 << 10
KILLED = 99
SEEDS = (1, 9, 16, 70024, 80009)
"""Each found something: slow reads behind another reader, wrong bytes offered, a swarm that was not asked: 3 of 50 did.
In 70024 a piece was handed over at once, and lost, as long as the file was lent: for ever, by this clock. In the last
what a flight had brought was fetched again whenever the folder was emptied, so that it came to no end."""
LENGTH = 90.0
"""Simulated seconds that a process lives at most."""
LONGEST = 25.0
"""Simulated seconds that a read may take beside an honest source, beside what a slow peer needs for eight pieces."""
PROCESSES = 4
HASTY = {
    "engine.engine.LINGER": 5.0,
    "engine.download.STORE_PAUSE": 5.0,
    "store.room.PAUSE": 5.0,
    "sources.swarm.modes.LINGER": 6.0,
    "sources.swarm.placing.LATE": 6.0,
    "sources.swarm.swarm.REFRESH": 2.0,
}
"""Patience in seconds, less than it is, so that more comes and goes in the time that there is."""


async def no_load(url: str, wanted: Iterable[bytes | None]) -> Descriptor:
    raise SourceRefused(url, "nothing is loaded here")


class World(FakeTransport):
    """The torrents of *seed*, who has them, and what process *number* of several meets."""

    def __init__(self, seed: int, number: int, directory: Path) -> None:
        super().__init__({})
        self.schemes = frozenset({"fake", "http"})
        self.seed, self.directory = seed, directory
        self.what = f"seed {seed} process {number}"
        self.calm = number == PROCESSES - 1
        self.skew = self.slowness = 0.0
        chance = self.chance = random.Random(f"{seed} {number}")
        made = random.Random(seed)
        good = Host("good", made.choice((0.01, 0.1, 0.5)), 8e6)
        self.hosts = [good, *(self._host(f"host{index}") for index in range(2))]
        self.mirrors: dict[str, Mirror] = {}
        self.data: dict[str, bytes] = {}
        self.seeds: dict[str, bytes] = {}
        self.contents: dict[str, Content] = {}
        self.swarmed: dict[str, bool] = {}
        """Whether a good peer is always there."""
        self.truths: dict[str, Truth] = {}
        self.shown: list[Torrent] = []
        self.lone = made.random() < 0.6
        """Whether torrents have no mirrors at first, so that files are lent."""
        for index in range(1 if self.lone else made.choice((1, 1, 2))):
            self._torrent(made, index)
        total = sum(map(len, self.data.values()))
        shares = (0.5, 0.7, 0.9, 4) if self.lone else (0.3, 0.8, 1.5, 4)
        self.limit = None if made.random() < 0.4 else Limit(max(64 * KIB, int(total * made.choice(shares))))
        self.settings = EngineSettings(
            background=chance.choice(("all", "touched", "off")), max_tries=chance.choice((5, 1))
        )
        self.swarm_settings = SwarmSettings(seed_time=chance.choice((None, None, 0, 20)))
        self.hasty = chance.random() < 0.7
        self.eager = random.Random(f"{seed} eager").random() < 0.3
        """Whether descriptors change all the time, so that mirrors come while files are lent."""
        self.readers = chance.choice((1, 2, 4))
        self.aside = chance.choice((1 << 30, 1 << 20, 1 << 18))
        self.capacity: int | None = None
        self.store: Store | None = None

    # -- what there is -------------------------------------------------------------------------------------

    def _torrent(self, made: random.Random, index: int) -> None:
        length = made.choice((16, 32, 64, 256)) * KIB
        sizes = [made.choice((100, length, made.randrange(length), made.randrange(1 << 20), made.randrange(1 << 20)))
                 for _ in range(made.choice((1, 2, 3, 6)))]  # fmt: skip
        files = {f"d/{place}": random.Random(f"{self.seed} {index} {place}").randbytes(size)
                 for place, size in enumerate(sizes)}  # fmt: skip
        if not any(sizes):
            files["d/0"] = b"x"
        kind, swarmed = made.choice(("v1", "v1", "v1", "v2", "seeds")), made.random() < 0.7
        if self.lone:
            kind, swarmed, length = made.choice(("v1", "v1", "v2")), True, made.choice((16, 32, 64)) * KIB
        more = {"url_list": [f"http://w{index}/"]} if kind == "seeds" else {}
        if kind == "v2":
            described = torrents.encode(torrents.tidy(torrents.version_2(files, length, f"top{index}")))
        elif len(files) == 1:
            described = torrents.torrent(torrents.single(files["d/0"], length, f"top{index}"), **more)
        else:
            described = torrents.torrent(torrents.several(files, length, f"top{index}"), **more)
        said = parse("x.torrent", described)
        assert said.torrent is not None
        self.shown.append(said.torrent)
        data = dict(zip((file.index for file in said.torrent.files), files.values(), strict=True))
        peers = [self._peer(f"10.0.{index}.{place}:{7000 + place}") for place in range(1, made.randrange(5))]
        if swarmed:
            peers.append(
                Peer(f"10.0.{index}.99:7099", "good", made.choice((0.01, 0.1, 0.4)), made.choice((5e4, 2e5, 4e6)))
            )
            self.slowness = max(self.slowness, 8 * length / peers[-1].rate)
        truth = Truth(said.torrent, data, peers)
        self.truths.update(dict.fromkeys(truth.keys, truth))
        for entry, bits in zip(said.entries, files.values(), strict=True):
            if bits:
                self._content(made, entry, bits, swarmed=swarmed)

    def _content(self, made: random.Random, entry: Entry, data: bytes, *, swarmed: bool) -> None:
        for mirror in entry.mirrors:
            self.seeds[mirror.url] = data
        kind = made.choice(("torrent", "torrent", "torrent", "chunk", "torrent" if self.lone else "whole"))
        if kind == "chunk":
            length = made.choice((16, 64, 128)) * KIB
            digests = b"".join(hashlib.sha256(data[at : at + length]).digest() for at in range(0, len(data), length))
            entry = replace(entry, pieces=PieceDigests("sha-256", length, digests))
        if kind == "whole":
            entry = replace(entry, pieces=None, digests={"sha-256": hashlib.sha256(data).digest()})
        found = content_of(entry, len(data))
        number = len(self.contents)
        urls = [self._address(made) for _ in range(0 if self.lone else made.choice((0, 0, 0, 1, 3)))]
        if not swarmed:
            urls.append("honest/0")
        made.shuffle(urls)
        mirrors = tuple(
            MirrorRef(f"fake://{found.key}/{url}/{number * 100 + i}", priority=1) for i, url in enumerate(urls)
        )
        self.contents[found.key] = replace(found, mirrors=found.mirrors + mirrors)
        self.data[found.key], self.swarmed[found.key] = data, swarmed

    def _gaps(self) -> list[tuple[float, float]]:
        chance = self.chance
        return [
            (start, start + chance.choice((1.0, 3.0, 30.0)))
            for start in chance.sample(range(int(LENGTH)), k=chance.randrange(4))
        ]

    def _host(self, name: str) -> Host:
        chance = self.chance
        return Host(
            name, chance.choice((0.01, 0.5, 3.0)), chance.choice((1e5, 2e7)), chance.choice((1, 1000)), self._gaps()
        )

    def _peer(self, address: str) -> Peer:
        chance = self.chance
        kind = chance.choice(("good", "good", "liar", "choker", "flaky"))
        rate, has = chance.choice((2e4, 5e5, 4e6)), chance.choice((1.0, 1.0, 0.5))
        return Peer(address, kind, chance.choice((0.01, 0.1, 0.4, 2.0)), rate, has, self._gaps())

    def _address(self, chance: random.Random) -> str:
        kind = chance.choice((*BAD, "honest", "honest"))
        return f"{kind}/{chance.randrange(kind in {'slow', 'staller', 'trickle'}, 3)}"

    def source(self, ref: MirrorRef, content: Content) -> Mirror:  # type: ignore[override]
        if ref.url.startswith("http:"):
            kind, host, data = "honest", "0", self.seeds[ref.url]
        else:
            _, _, key, kind, host, _ = ref.url.split("/")
            data = self.data[key]
        if kind in {"liar", "other"}:  # where no chunk has a digest, what it sent may outlive this process
            (self.directory / f"{content.key}.lies").touch()
        made = Mirror(kind, self.hosts[int(host)], data, random.Random(f"{self.seed} {ref.url}"), ref.url)
        return self.mirrors.setdefault(ref.url, made)

    # -- the disk ------------------------------------------------------------------------------------------

    def used(self) -> int:
        return sum(path.lstat().st_blocks * 512 for path in self.directory.rglob("*"))

    def full(self) -> bool:
        return self.capacity is not None and self.used() >= self.capacity

    def owner(self, path: Path) -> Stored | None:
        assert self.store is not None
        found = next((stored for stored in self.store._tenants() if stored.path == path), None)
        assert found is not None or not path.is_relative_to(self.directory / "contents"), f"nobody has {path} open"
        return found

    # -- what goes on --------------------------------------------------------------------------------------

    async def read(self, engine: Engine, key: str, extent: Extent, patience: float) -> None:
        what, since = self.contents[key], trio.current_time()
        told = f"{self.what} at {since:.2f}: {extent} of {what.level} {what.size} {key}"
        try:
            reader = engine.open(what)
        except MountdlError as error:
            raise AssertionError(f"{told}: {error}") from error
        try:
            await self.look(reader, key, extent, patience, told)
        finally:
            reader.close()

    async def look(self, reader: Any, key: str, extent: Extent, patience: float, told: str) -> None:
        what, since, data, found = self.contents[key], trio.current_time(), self.data[key], None
        try:
            with trio.move_on_after(patience):
                found = reader.ready(extent)
                found = found if found is not None else await reader.read(extent)
        except MountdlError as error:
            alone = not any("honest/0" in mirror.url for mirror in self.contents[key].mirrors)
            if not (alone and "No space left" in str(error)):  # a swarm needs a disk
                raise AssertionError(f"{told} after {trio.current_time() - since:.1f} s: {error}") from error
        honest = not (self.directory / f"{key}.lies").exists()
        if found is not None:
            for part in (
                (extent,) if what.level is Level.CHUNK or honest else (extent.intersection(what.chunk_map.sure),)
            ):
                at = slice(part.start - extent.start, part.stop - extent.start)
                assert not part or bytes(found[at]) == data[part.start : part.stop], f"{told} is wrong"
        waited = trio.current_time() - since
        assert waited < LONGEST + self.slowness, f"{told} took {waited:.1f} s"

    async def reading(self, engine: Engine, chance: random.Random) -> None:
        """Read here and there, and in a row, by a handle that is kept for a while."""
        while True:
            key = chance.choice(list(self.contents))
            size, length, at = self.contents[key].size, chance.choice((1, 4, 128)) * KIB, 0
            told = f"{self.what} at {trio.current_time():.2f}: %s of {self.contents[key].level} {size} {key}"
            try:
                reader = engine.open(self.contents[key])
            except MountdlError as error:
                raise AssertionError(f"{told}: {error}") from error
            jumps = chance.random() < 0.5
            try:
                for _ in range(chance.choice((1, 10, 40))):
                    at = chance.randrange(size) if jumps or at >= size else at
                    extent = Extent(at, min(at + length, size))
                    await self.look(reader, key, extent, chance.choice((0.01, 0.5, 99, 99, 99)), told % extent)
                    at += length
                    if chance.random() < 0.05:
                        await trio.sleep(chance.choice((0.5, 5.0, 40.0)))
            finally:
                reader.close()
            await trio.sleep(chance.choice((0.0, 0.5, 5.0, 20.0)))

    async def troubling(self, engine: Engine, store: Store) -> None:
        """Have mirrors come and go, users change their minds, the disk fill up, and the clock on the wall be set."""
        chance = self.chance
        mirrors, disk = chance.choice((0.0, 0.1, 0.5)), chance.choice((0.0, 0.0, 0.1))
        mirrors = 1.0 if self.eager else mirrors
        for number in range(10**6):
            await trio.sleep(chance.expovariate(2.0 if self.eager else 1.0 if self.hasty else 0.3))
            key = chance.choice(list(self.contents))
            what = self.contents[key]
            if chance.random() < mirrors:
                must = not self.swarmed[key]
                named = [each for each in what.mirrors if (must and "/honest/0/" in each.url) or chance.random() < 0.5]
                if chance.random() < 0.4:
                    named.append(MirrorRef(f"fake://{key}/{self._address(chance)}/{number + 10000}", priority=1))
                self.contents[key] = replace(what, mirrors=tuple(named))
                engine.update(dict(self.contents))
            engine.pause(what, on=chance.random() < 0.2)
            if chance.random() < 0.3:
                engine.prefetch(what, Extent(0, chance.randrange(1, what.size + 1)))
            if chance.random() < 0.1:
                store.pin(what.key, on=chance.random() < 0.5)
            if chance.random() < disk:
                self.capacity = self.used() + chance.choice((0, 100_000, 1_000_000))
            elif chance.random() < 0.5:
                self.capacity = None
            if chance.random() < 0.05:
                self.skew += chance.choice((-7200.0, 30.0, 1e5))
            engine.status(what)

    async def watching(self) -> None:
        """See that what is offered to peers is right."""
        while True:
            await trio.sleep(0.3)
            for handle in self.session.handles.values():
                handle.offers()

    async def live(self, ends: float) -> None:
        """Go on until *ends*, then look whether all is put away."""
        store = self.store = Store(self.directory, limit=self.limit)
        library = Library(Kept(self.directory))
        for torrent in self.shown:
            library.learn(torrent)
        swarms = SwarmTransport(self.swarm_settings, self.directory, library, no_load, self.aside)
        swarms._binding.loaded = True
        self.session = swarms._session
        store.before_evicting(swarms.forget)
        engine = Engine(store, [self], self.settings, lambda _: None)
        engine.equip([], swarms)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(store.run)
                await nursery.start(swarms.run)
                async with trio.open_nursery() as inner:
                    await inner.start(engine.run)
                    engine.update(dict(self.contents))
                    nursery.start_soon(self.watching)
                    await (self.peace(engine) if self.calm else self.trouble(engine, store, ends))
                    inner.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
        finally:
            store.close()
        assert not any(host.active for host in self.hosts), self.what
        assert not any(host.flying for host in engine._lineup._hosts.values()), self.what
        assert engine._traffic._waiting == 0, self.what

    async def trouble(self, engine: Engine, store: Store, ends: float) -> None:
        with trio.move_on_after(ends):
            async with trio.open_nursery() as people:
                people.start_soon(self.troubling, engine, store)
                for number in range(4):
                    people.start_soon(self.reading, engine, random.Random(f"{self.seed} {number}"))

    async def peace(self, engine: Engine) -> None:
        for key, what in self.contents.items():
            for at in range(0, what.size, 128 * KIB):
                await self.read(engine, key, Extent(at, min(at + 128 * KIB, what.size)), 99)


async def slowly(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """Stand in for a thread on a busy machine: much may go on before and after its work."""
    with trio.CancelScope(shield=True):
        await trio.sleep(random.choice((0.0, 0.01, 0.1)))
        found = function(*args)
        await trio.sleep(random.choice((0.0, 0.01, 0.1)))
    return found


def run(world: World, patch: pytest.MonkeyPatch, ends: float) -> None:
    """Be one process."""
    patch.setattr("mountdl.engine.verifier.COURTESY", 0.0)
    patch.setattr("mountdl.engine.verifier.REST", 0.0)
    for name in ("verifier", "reader", "borders"):
        patch.setattr(f"mountdl.engine.{name}.in_thread", slowly)
    patch.setattr("mountdl.engine.settling.quick", lambda chunk_map: chunk_map.length < 1 << 19)
    patch.setattr(trio.to_thread, "run_sync", slowly)
    patch.setattr(
        "mountdl.store.store.time",
        SimpleNamespace(time=lambda: 1e9 + world.skew + trio.current_time(), monotonic=trio.current_time),
    )
    if world.hasty:
        for name, seconds in HASTY.items():
            patch.setattr(f"mountdl.{name}", seconds)
    install(patch, list(world.truths.values()), world, world.what)
    for name in ("pwrite", "pwritev"):
        patch.setattr(os, name, partial(_write, world, getattr(os, name)))
    lent = assembly.MEMORY._lent, assembly.MEMORY._retainable
    with reproducible(world.seed):
        trio.run(world.live, ends, clock=MockClock(autojump_threshold=0))
    assert (assembly.MEMORY._lent, assembly.MEMORY._retainable) == lent, world.what


def _write(world: World, write: Callable[..., int], *args: Any) -> int:
    if world.full():
        raise OSError(28, "No space left on device")
    return write(*args)


async def killed(live: Callable[[float], Any], ends: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, ends * 2)
        await trio.sleep(ends)
        os._exit(KILLED)


def process(seed: int, number: int, directory: Path, report: Path) -> int:
    """Run one process and return how it ended; what went wrong is in *report*."""
    report.write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: those of pytest do nothing meanwhile
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with pytest.MonkeyPatch.context() as patch:
                world = World(seed, number, directory)
                chance = random.Random(f"{seed} {number} end")
                ends, kill = chance.uniform(1, LENGTH), number < PROCESSES - 2 and chance.random() < 0.7
                if kill:
                    world.live = partial(killed, world.live)  # type: ignore[method-assign]
                run(world, patch, ends)
                code = 0
        except BaseException:  # noqa: BLE001
            report.write_text(f"seed {seed} process {number}\n{traceback.format_exc()}")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def complaint(seed: int, folder: Path) -> str:
    """Return what went wrong with *seed*, whose store is in *folder*; "" for nothing."""
    for number in range(PROCESSES):
        code = process(seed, number, folder / "cache", folder / "report")
        if code not in {0, KILLED}:
            return (folder / "report").read_text() or f"seed {seed} process {number} ended with {code}"
    return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_in_chaos(tmp_path: Path, seed: int) -> None:
    """Bytes are right, verified ones are never written to, no read waits long or fails, across kills."""
    assert not complaint(seed, tmp_path)


if __name__ == "__main__":
    for each in range(int(sys.argv[1]), int(sys.argv[2])):
        with tempfile.TemporaryDirectory() as place:
            print(complaint(each, Path(place)) or f"seed {each} good", flush=True)
