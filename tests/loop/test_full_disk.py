"""A disk of the cache that is full: what a reader waits for goes through memory, and nothing else is fetched."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from mountdl.content import Content
from mountdl.errors import StoreError, StoreFrozen, StoreFull
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from mountdl.sources.swarm.holdings import Inventory, Member
from mountdl.sources.swarm.layout import Layout
from mountdl.store import overflow
from mountdl.store.datafile import DataFile
from mountdl.store.journal import Journal
from mountdl.store.place import Place, open_locked
from mountdl.store.store import Store
from tests.support.content import content, pattern
from tests.support.engines import Bench, running
from tests.support.fakes import FakeSource
from tests.unit.test_swarm_parts import Nobody, in_a_row

CHUNK = 1 << 16
SIZE = 40 * CHUNK + 1000
BYTES = pattern(SIZE)


class Disk:
    """The disk of the store; while it is *full* it takes *torn* bytes of each write and fails with *kind*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, self.torn = False, 0
        self.kind: type[StoreFull] = StoreFull
        self.reason = errno.ENOSPC
        self._write, self._put = DataFile.write, DataFile.put
        monkeypatch.setattr(DataFile, "write", lambda file, offset, data: self.write(file, offset, data))
        monkeypatch.setattr(DataFile, "put", lambda file, offset, data, **_: self.put(file, offset, data))

    def write(self, file: DataFile, offset: int, data: bytes | memoryview) -> None:
        self._fail(file, offset, data)
        self._write(file, offset, data)

    def put(self, file: DataFile, offset: int, data: memoryview) -> None:
        self._fail(file, offset, data)
        self._put(file, offset, data)

    def _fail(self, file: DataFile, offset: int, data: bytes | memoryview) -> None:
        if self.full:
            self._write(file, offset, bytes(data[: self.torn]))
            raise self.kind(f"can't write: {os.strerror(self.reason)}")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Nothing of the store's own may go, so that nothing makes room."""
    monkeypatch.setattr("mountdl.store.stored.Stored.evict", lambda stored, extent: None)
    return Disk(monkeypatch)


def held(bench: Bench, what: Content) -> int:
    """Return how many bytes memory holds."""
    return bench.engine.download(what).stored.overflow.total


async def read_all(bench: Bench, what: Content, step: int = 1 << 15) -> bytes:
    """Read from end to end."""
    reader = bench.engine.open(what)
    try:
        return b"".join([bytes(await reader.read(Extent(at, at + step))) for at in range(0, SIZE, step)])
    finally:
        reader.close()


@pytest.mark.parametrize("chunk", [CHUNK, 1 << 17, None])
@pytest.mark.parametrize("torn", [0, 5000])
async def test_reads_go_on_through_memory_and_nothing_of_it_is_on_record(
    tmp_path: Path, clock: object, disk: Disk, chunk: int | None, torn: int
) -> None:
    """With digests of chunks that are assembled, of longer ones and of the whole only: each byte right, none claimed."""
    what = content(BYTES, chunk=chunk, urls=("fake://a",))
    source = FakeSource(BYTES, step=1 << 14)
    async with running(tmp_path, {"fake://a": source}) as bench:
        assert await read_all_of_first(bench, what) == BYTES[:CHUNK]
        disk.full, disk.torn = True, torn
        assert await read_all(bench, what) == BYTES
        told = [incident.what for incident in bench.engine.incidents(what)]
        assert held(bench, what)
        bench.engine.download(what).stored.checkpoint()
        there = bench.engine.download(what).stored.there.copy()
    disk.full = False
    store = Store(tmp_path)
    stored = store.reopen(what.key)
    assert all(there.covers(extent) for extent in stored.written)
    store.close()
    assert not any("sent wrong bytes" in line for line in told)
    assert any("by way of memory" in line and "No space left" in line for line in told)
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 14)}) as bench:
        assert await read_all(bench, what) == BYTES


async def test_peers_are_offered_what_is_on_the_disk(tmp_path: Path, clock: object, disk: Disk) -> None:
    """Not what memory holds, however verified: they would get zeros out of the data file."""
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 14)}) as bench:
        await read_all_of_first(bench, what)
        stored = bench.engine.download(what).stored
        torrent = in_a_row([SIZE], CHUNK)
        inventory = Inventory(Layout(torrent))
        inventory.members.append(Member(torrent.files[0], stored, Nobody(), "swarm", mirrored=True))
        before = inventory.count
        disk.full = True
        reader = bench.engine.open(what)
        assert await reader.read(Extent(30 * CHUNK, 31 * CHUNK)) == BYTES[30 * CHUNK : 31 * CHUNK]
        await trio.sleep(1)
        assert stored.verified.covers(Extent(30 * CHUNK, 31 * CHUNK))
        [part] = inventory.parts()
        assert (inventory.count, any(part.verified.overlap(Extent(30 * CHUNK, SIZE)))) == (before, False)
        disk.full = False
        stored.unload()
        assert inventory.count == before + 1


async def read_all_of_first(bench: Bench, what: Content) -> bytes:
    """Read the first bytes; they are on the disk then."""
    reader = bench.engine.open(what)
    try:
        found = bytes(await reader.read(Extent(0, CHUNK)))
        while bench.engine.status(what).written < CHUNK:
            await trio.sleep(0.01)
        return found
    finally:
        reader.close()


async def test_memory_is_bounded_and_the_latest_stays(
    tmp_path: Path, clock: object, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody waits for any more goes for what somebody does; read again, it is fetched again."""
    monkeypatch.setattr("mountdl.store.room.MEMORY", 4 * CHUNK)
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    source = FakeSource(BYTES, step=1 << 14)
    async with running(tmp_path, {"fake://a": source}) as bench:
        disk.full = True
        assert await read_all(bench, what) == BYTES
        assert CHUNK <= held(bench, what) <= 4 * CHUNK
        assert await read_all(bench, what) == BYTES
        assert held(bench, what) <= 4 * CHUNK
    assert source.bytes_asked < 3 * SIZE


async def test_a_chunk_that_is_too_long_for_memory_is_an_error_soon(
    tmp_path: Path, clock: object, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a wait until the time-out, and the text names the disk."""
    monkeypatch.setattr("mountdl.store.room.MEMORY", CHUNK // 2)
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 14)}) as bench:
        disk.full = True
        start = trio.current_time()
        with pytest.raises(StoreError, match="No space left"):
            await read_all(bench, what)
        assert trio.current_time() - start < 5
        disk.full = False
        assert await read_all(bench, what) == BYTES


async def test_it_heals_when_room_comes_back(
    tmp_path: Path, clock: object, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory holds goes to the disk, and the background goes on by itself; until then it fetches little."""
    monkeypatch.setattr("mountdl.store.room.PAUSE", -1.0)  # of a clock that stands still here
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    source = FakeSource(BYTES, step=1 << 14)
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="all")) as bench:
        bench.engine.download(what).want(Extent(0, SIZE))
        disk.full = True
        reader = bench.engine.open(what)
        assert await reader.read(Extent(3 * CHUNK, 4 * CHUNK)) == BYTES[3 * CHUNK : 4 * CHUNK]
        asked = source.bytes_asked
        await trio.sleep(5)
        assert source.bytes_asked - asked <= 20 * CHUNK
        assert held(bench, what) >= CHUNK
        disk.full = False
        bench.engine.download(what).stored.unload()
        assert not held(bench, what)
        with trio.fail_after(50):
            while not bench.engine.complete(what.key):
                await trio.sleep(1)
        assert bench.engine.download(what).stored.verified.total == SIZE
        reader.close()


async def test_a_reader_does_not_suffer_from_what_nobody_waits_for(tmp_path: Path, clock: object, disk: Disk) -> None:
    """The background finds the disk full while a read waits for a slow source: the read gets its bytes."""
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    source = FakeSource(BYTES, step=1 << 12, pause=0.05)
    async with running(tmp_path, {"fake://a": source}, EngineSettings(background="all")) as bench:
        bench.engine.download(what).want(Extent(0, SIZE))
        reader = bench.engine.open(what)
        await trio.sleep(1.5)
        disk.full = True
        for index in (30, 7, 22):
            assert (
                await reader.read(Extent(index * CHUNK, index * CHUNK + 9)) == BYTES[index * CHUNK : index * CHUNK + 9]
            )
        reader.close()


def test_the_memory_is_small() -> None:
    """What a full disk may cost is less than what many other things take."""
    assert overflow.MEMORY <= 32 << 20


@pytest.mark.parametrize("chunk", [CHUNK, 1 << 20, None])
async def test_what_a_failed_sync_made_doubtful_is_fetched_again(
    tmp_path: Path, clock: object, monkeypatch: pytest.MonkeyPatch, chunk: int | None
) -> None:
    """The kernel then calls pages clean that never reached the disk: they are dropped, and readers get them anew."""
    what = content(BYTES, chunk=chunk, urls=("fake://a",))
    source = FakeSource(BYTES, step=CHUNK)
    failed: list[DataFile] = []

    def sync(file: DataFile) -> None:
        failed.append(file)
        raise OSError(errno.EIO, "the disk failed")

    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        assert await reader.read(Extent(0, SIZE)) == BYTES
        stored = bench.store.open(what.key, SIZE, what.chunk_map.fingerprint)
        with monkeypatch.context() as patched:
            patched.setattr(DataFile, "sync", sync)
            stored.checkpoint()
        assert failed
        assert not stored.verified
        assert await reader.read(Extent(0, SIZE)) == BYTES
        assert source.bytes_asked >= 2 * SIZE
        stored.close()


async def test_a_disk_that_fails_again_and_again_is_told_of_once(
    tmp_path: Path, clock: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that became read-only fails each read; a thousand lines about it help nobody and fill another disk."""

    def broken(file: DataFile, offset: int, data: bytes | memoryview, **_: bool) -> None:
        raise StoreError("can't write: Read-only file system")

    monkeypatch.setattr(DataFile, "write", broken)
    monkeypatch.setattr(DataFile, "put", broken)
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=CHUNK)}) as bench:
        reader = bench.engine.open(what)
        for start in range(0, SIZE, CHUNK):
            with pytest.raises(StoreError):
                await reader.read(Extent(start, start + 1))

    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["the store: can't write: Read-only file system"]


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Make a disk that is not full but becomes read-only."""
    disk = Disk(monkeypatch)
    disk.kind, disk.reason = StoreFrozen, errno.EROFS

    def punch(file: DataFile, extent: Extent) -> None:
        if disk.full and extent:
            raise StoreFrozen(f"can't punch: {os.strerror(errno.EROFS)}")

    def locked(place: Place) -> int:
        if disk.full:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open_locked(place)

    def appended(journal: Journal, kind: object, extent: Extent) -> None:
        if disk.full:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        append(journal, kind, extent)  # type: ignore[arg-type]

    append = Journal.append
    monkeypatch.setattr(DataFile, "punch", punch)
    monkeypatch.setattr(Journal, "append", appended)
    monkeypatch.setattr("mountdl.store.datafile.open_locked", locked)
    return disk


@pytest.mark.parametrize("chunk", [CHUNK, 1 << 17, None])
async def test_reads_go_on_while_the_disk_is_read_only(
    tmp_path: Path, clock: object, frozen: Disk, chunk: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what was open, of what is stored and opened later, and of what never was; one line tells what to do."""
    one = content(BYTES, chunk=chunk, urls=("fake://a",))
    kept = content(BYTES[1:], chunk=chunk, urls=("fake://b",))
    new = content(BYTES[2:], chunk=chunk, urls=("fake://c",))
    sources = {f"fake://{name}": FakeSource(BYTES[at:], step=1 << 14) for at, name in enumerate("abc")}
    async with running(tmp_path, sources) as bench:
        assert await read_part(bench, kept, SIZE - 1) == BYTES[1:]
        assert await read_part(bench, one, CHUNK) == BYTES[:CHUNK]
    async with running(tmp_path, sources) as bench:
        assert await read_part(bench, one, CHUNK) == BYTES[:CHUNK]
        asked = sources["fake://b"].bytes_asked
        frozen.full = True
        assert await read_all(bench, one) == BYTES
        assert await read_part(bench, kept, SIZE - 1) == BYTES[1:]
        assert await read_part(bench, new, SIZE - 2) == BYTES[2:]
        assert sources["fake://b"].bytes_asked == asked
        assert bench.engine.ailing is not None
    told = [record.message for record in caplog.records if "takes nothing" in record.message]
    assert len(told) == 1
    assert "Read-only file system" in told[0]
    assert "read-write again" in told[0]


async def read_part(bench: Bench, what: Content, length: int) -> bytes:
    """Read the first *length* bytes."""
    reader = bench.engine.open(what)
    try:
        return b"".join(
            [bytes(await reader.read(Extent(at, min(at + CHUNK, length)))) for at in range(0, length, CHUNK)]
        )
    finally:
        reader.close()


async def test_what_is_stored_stays_while_the_disk_is_read_only(tmp_path: Path, clock: object, frozen: Disk) -> None:
    """Nothing goes for room that nothing would fill, and with a disk that takes bytes again all goes on."""
    what = content(BYTES, chunk=CHUNK, urls=("fake://a",))
    source = FakeSource(BYTES, step=1 << 14)
    async with running(tmp_path, {"fake://a": source}) as bench:
        assert await read_part(bench, what, 8 * CHUNK) == BYTES[: 8 * CHUNK]
        stored = bench.engine.download(what).stored
        frozen.full = True
        assert await read_all(bench, what) == BYTES
        assert stored.verified.covers(Extent(0, 8 * CHUNK))
        assert held(bench, what)
        frozen.full = False
        stored.unload()
        assert not held(bench, what)
        assert bench.engine.ailing is None
        assert await read_all(bench, what) == BYTES
        assert not held(bench, what)


async def test_wrong_bytes_on_a_read_only_disk_are_not_served(tmp_path: Path, clock: object, frozen: Disk) -> None:
    """A mirror that lies costs itself its place, not the reader the bytes."""
    what = content(BYTES, chunk=CHUNK, urls=("fake://bad", "fake://a"))
    bad = FakeSource(bytes(SIZE), step=1 << 14, latency=0.001, name="bad")
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 14), "fake://bad": bad}) as bench:
        reader = bench.engine.open(what)
        frozen.full = True
        assert await read_all(bench, what) == BYTES
        reader.close()
