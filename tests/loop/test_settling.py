"""What is in the store: left by earlier runs, damaged, judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mountdl.content import Content
from mountdl.engine.engine import Engine
from mountdl.errors import MountdlError, StoreDamaged, StoreError
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from tests.support.content import content, pattern
from tests.support.engines import QUIET, Bench, running
from tests.support.fakes import FakeSource, FakeTransport
from tests.support.scripts import dying

CHUNK = 1 << 16
DATA = pattern(6 * CHUNK)
WHAT = content(DATA, chunk=CHUNK, urls=("fake://a",))
URL = "fake://a"


def source(**more: Any) -> FakeSource:
    return FakeSource(DATA, step=CHUNK, **more)


def data_file(directory: Path) -> Path:
    (found,) = [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size == len(DATA)]
    return found


async def killed(directory: Path, what: Content, *extents: Extent, power: bool = False) -> None:
    """Read *extents* in a run that ends without saving anything, by SIGKILL or by loss of *power*."""
    store = Store(directory, boot=b"an earlier boot." if power else None)
    engine = Engine(store, [FakeTransport({URL: source()})], QUIET, lambda _: None)
    stored = store.open(what.key, what.size, what.chunk_map.fingerprint)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        reader = engine.open(what)
        for extent in extents:
            await reader.read(extent)
        nursery.cancel_scope.cancel()
    stored.release()  # only the files are let go: no checkpoint, no manifest


@pytest.mark.parametrize("power", [False, True])
async def test_bytes_of_a_killed_run_are_served(tmp_path: Path, clock: MockClock, power: bool) -> None:
    """After SIGKILL, or a loss of power after which they are hashed first, bytes are not fetched again."""
    await killed(tmp_path, WHAT, Extent(0, 2 * CHUNK), power=power)
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        assert DATA[: 2 * CHUNK] == await bench.engine.open(WHAT).read(Extent(0, 2 * CHUNK))
        assert [] == again.fetched
        assert 2 * CHUNK == bench.engine.status(WHAT).verified


async def test_bytes_of_a_killed_run_that_are_wrong_are_fetched_anew(tmp_path: Path, clock: MockClock) -> None:
    """What a loss of power left torn is found by its digest, blamed on nobody, and fetched."""
    await killed(tmp_path, WHAT, Extent(0, 2 * CHUNK), power=True)
    with data_file(tmp_path).open("r+b") as file:
        file.seek(CHUNK + 5)
        file.write(b"torn")
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        assert DATA[: 2 * CHUNK] == await bench.engine.open(WHAT).read(Extent(0, 2 * CHUNK))
        assert [Extent(CHUNK, 2 * CHUNK)] == [extent for extent, _ in again.fetched]
        assert 0 == bench.engine.status(WHAT).sources[0].bad_chunks


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have a disk that takes *seconds* to give a chunk back."""

    async def in_thread(act: Callable[..., None], *arguments: object) -> None:
        await trio.sleep(seconds)
        act(*arguments)

    monkeypatch.setattr("mountdl.engine.verifier.in_thread", in_thread)


async def test_what_is_in_doubt_is_asked_of_nobody_while_it_is_hashed(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: the read waits for the hash, and what follows is fetched ahead meanwhile."""
    await killed(tmp_path, WHAT, Extent(0, 2 * CHUNK), power=True)
    slow(monkeypatch, 5)
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        reader, start = bench.engine.open(WHAT), trio.current_time()
        assert DATA[: 2 * CHUNK] == await reader.read(Extent(0, 2 * CHUNK))
        assert 5 <= trio.current_time() - start < 6
        assert all(extent.start >= 2 * CHUNK for extent, _ in again.fetched)
        await trio.sleep(60)
        assert all(extent.start >= 2 * CHUNK for extent, _ in again.fetched)


async def test_a_disk_that_hangs_holds_no_read_for_ever(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in doubt can't be hashed there: the read ends when its time is up, and says that it was the disk."""
    await killed(tmp_path, WHAT, Extent(0, 2 * CHUNK), power=True)
    slow(monkeypatch, 10_000)
    async with running(tmp_path, {URL: source()}) as bench:
        start = trio.current_time()
        with pytest.raises(
            MountdlError, match="within 60 s: the disk of the cache did not give back what it has of them"
        ):
            await bench.engine.open(WHAT).read(Extent(0, 2 * CHUNK))
        assert QUIET.read_timeout == pytest.approx(trio.current_time() - start, abs=0.1)


async def test_the_background_judges_what_a_killed_run_left(tmp_path: Path, clock: MockClock) -> None:
    """Nobody reads it: it is hashed all the same, and only the rest fetched."""
    await killed(tmp_path, WHAT, Extent(0, 4 * CHUNK), power=True)
    again = source()
    async with running(tmp_path, {URL: again}, EngineSettings(background="all")) as bench:
        bench.engine.update({WHAT.key: WHAT})
        await trio.sleep(30)
        assert "complete" == bench.engine.status(WHAT).state
        assert 2 * CHUNK == again.bytes_asked


async def test_without_chunk_digests_doubtful_bytes_are_not_served(tmp_path: Path, clock: MockClock) -> None:
    """Where nothing could ever find out, bytes of a killed run are fetched anew."""
    what = content(DATA, chunk=None, urls=(URL,))
    await killed(tmp_path, what, Extent(0, CHUNK), power=True)
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        assert DATA[:CHUNK] == await bench.engine.open(what).read(Extent(0, CHUNK))
        assert again.fetched


@pytest.mark.parametrize("size", [0, CHUNK, 2 * CHUNK + 7])
async def test_a_data_file_cut_short_is_mended(tmp_path: Path, clock: MockClock, size: int) -> None:
    """Somebody truncates the data file of an open download: the reads that miss bytes fetch them again."""
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        reader = bench.engine.open(WHAT)
        await reader.read(Extent(0, len(DATA)))
        with data_file(tmp_path).open("r+b") as file:
            file.truncate(size)
        for offset in range(0, len(DATA), CHUNK):
            assert DATA[offset : offset + CHUNK] == await reader.read(Extent(offset, offset + CHUNK))
        assert 0 == bench.engine.status(WHAT).sources[0].bad_chunks


async def test_a_chunk_of_two_sources_that_can_not_be_read_back(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk loses what two sources brought, just when it is judged: nobody lied and the mount goes on."""
    bad = True
    read, hash_extent = Stored.read, Stored.hash_extent

    def broken_read(self: Stored, extent: Extent) -> bytes:
        if bad:
            raise StoreDamaged("the disk gave back 0 bytes")
        return read(self, extent)

    def broken_hash(self: Stored, extent: Extent, hasher: Any) -> dict[int, int]:
        if bad:
            raise StoreDamaged("the disk gave back 0 bytes")
        return hash_extent(self, extent, hasher)

    monkeypatch.setattr(Stored, "read", broken_read)
    monkeypatch.setattr(Stored, "hash_extent", broken_hash)
    one = FakeSource(DATA, "one", latency=0.001, step=1024, fault=dying(CHUNK // 2))
    other = FakeSource(DATA, "other", latency=0.3, step=1024)
    what = content(DATA, chunk=CHUNK, urls=("fake://one", "fake://other"))
    async with running(tmp_path, {"fake://one": one, "fake://other": other}) as bench:
        reader = bench.engine.open(what)
        with pytest.raises(MountdlError):
            await reader.read(Extent(0, 10))
        bad = False
        assert DATA[-10:] == await reader.read(Extent(len(DATA) - 10, len(DATA)))


async def test_a_disk_that_can_not_discard_does_not_end_the_mount(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad chunk whose room can't be given back is an error of that read, not of everything."""

    def discard(self: Stored, extent: Extent) -> None:
        raise StoreError("can't punch: Input/output error")

    liar = source(fault=lambda source, offset: b"?" * CHUNK if offset == 0 else None)
    async with running(tmp_path, {URL: liar}, EngineSettings(background="off", read_timeout=10)) as bench:
        reader = bench.engine.open(WHAT)
        monkeypatch.setattr(Stored, "discard", discard)
        with pytest.raises(MountdlError):
            await reader.read(Extent(0, 10))
        assert DATA[CHUNK : CHUNK + 10] == await reader.read(Extent(CHUNK, CHUNK + 10))


async def test_a_disk_error_while_judging_the_whole_blames_nobody(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole that can't be read back was not sent wrong: its source stays."""
    real = Stored.hash_extent
    failures = [1, 2]

    def hash_extent(self: Stored, extent: Extent, hasher: Any) -> dict[int, int]:
        if failures:
            failures.pop()
            raise StoreDamaged("the disk gave back 0 bytes")
        return real(self, extent, hasher)

    monkeypatch.setattr(Stored, "hash_extent", hash_extent)
    what = content(DATA, chunk=None, urls=(URL,))
    async with running(tmp_path, {URL: source()}) as bench:
        await bench.engine.open(what).read(Extent(0, len(DATA)))
        await trio.sleep(5)
        assert "dropped" != bench.engine.status(what).sources[0].state


class Meanwhile:
    """Stands in for the threads that judge: all goes at the first verdict, *before* or after it is out.

    What comes then is the same, or after it another file.
    """

    def __init__(self, bench: Bench, what: Content, mirror: FakeSource, *, before: bool) -> None:
        self.stored, self.mirror, self.before, self.left = bench.engine.download(what).stored, mirror, before, 1

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        self.left -= 1
        if self.left:
            return function(*args)
        if self.before:
            self.stored.evict(Extent(0, len(DATA)))
        found = function(*args)
        if not self.before:
            self.mirror.data = DATA[:-1] + b"?"
            self.stored.evict(Extent(0, len(DATA)))
        await trio.sleep(1)  # somebody reads it again
        return found


@pytest.mark.parametrize("before", [True, False])
async def test_a_verdict_over_what_went_meanwhile_counts_for_nothing(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """A full store took the bytes while they were hashed: neither is a hole a lie, nor what came next found good."""
    what = content(DATA, chunk=None, urls=(URL,))
    mirror = source()
    async with running(tmp_path, {URL: mirror}) as bench:
        reader = bench.engine.open(what)
        monkeypatch.setattr("mountdl.engine.verifier.in_thread", Meanwhile(bench, what, mirror, before=before))
        await reader.read(Extent(0, len(DATA)))
        await trio.sleep(0.5)
        await reader.read(Extent(0, len(DATA)))
        await trio.sleep(5)
        assert bench.discarded == ([] if before else [what])
        assert bench.engine.status(what).verified == (len(DATA) if before else 0)
        assert bench.engine.status(what).sources[0].bad_chunks == (not before)


async def test_what_went_before_it_was_judged_as_a_whole_is_not_judged(tmp_path: Path, clock: MockClock) -> None:
    """Made room for others in the moment between its last byte and its hash: holes are no file to be discarded."""
    what = content(DATA, chunk=None, urls=(URL,))
    async with running(tmp_path, {URL: source()}) as bench:
        reader = bench.engine.open(what)
        with trio.move_on_after(0.5):
            await reader.read(Extent(0, len(DATA) - 1))
        download = bench.engine.download(what)
        await download.ensure(Extent(len(DATA) - 1, len(DATA)))
        download._settling.whole_due = True
        download.stored.evict(Extent(0, CHUNK))
        assert not download._settling.whole_due
        await trio.sleep(5)
        assert bench.discarded == []
