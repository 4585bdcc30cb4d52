"""Contents that digests tell only in the middle (files of a torrent in a row), and those with very short pieces."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pathlib import PurePosixPath as P

import pytest
import trio
from trio.testing import MockClock

from mountdl.content import Content, Level, content_of
from mountdl.descriptors.model import Entry, MirrorRef, Neighbour, PieceDigests
from mountdl.errors import ContentUnavailable, SourceUnavailable
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from tests.loop.test_settling import data_file, killed
from tests.support.content import pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource, failing
from tests.support.scripts import lying

PIECE = 1 << 16
LEAD, DATA = 1000, pattern(6 * PIECE)
URL, OTHER = "fake://a", "fake://b"
HEAD, TAIL = Extent(0, PIECE - LEAD), Extent(6 * PIECE - LEAD, 6 * PIECE)
ALL = Extent(0, len(DATA))


def row(data: bytes = DATA, *urls: str) -> Content:
    """Return the content of a file between two others of a torrent."""
    stream = bytes(LEAD) + data + bytes(PIECE - LEAD)
    packed = b"".join(hashlib.sha1(stream[at : at + PIECE]).digest() for at in range(0, len(stream), PIECE))
    pieces = PieceDigests("sha-1", PIECE, packed, LEAD, open_end=True)
    entry = Entry(P("f"), len(data), pieces=pieces, mirrors=tuple(MirrorRef(url) for url in urls or (URL,)))
    return content_of(entry, len(data))


def source(**more: object) -> FakeSource:
    return FakeSource(DATA, step=1000, **more)  # type: ignore[arg-type]


async def test_whole_pieces_are_verified_and_the_ends_served_as_written(tmp_path: Path, clock: MockClock) -> None:
    """All of it is read; what is verified is what digests tell, and it counts as complete."""
    what = row()
    async with running(tmp_path, {URL: source()}, EngineSettings(background="touched")) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        await trio.sleep(5)
        status = bench.engine.status(what)
        assert (Level.NONE, "complete") == (what.level, status.state)
        assert (len(DATA), len(DATA) - HEAD.length - TAIL.length) == (status.written, status.verified)
    async with running(tmp_path, {URL: source()}) as bench:
        assert "complete" == bench.engine.status(what).state


async def test_a_liar_in_a_piece_of_the_file_alone_is_found_out(tmp_path: Path, clock: MockClock) -> None:
    """No wrong byte is returned from where digests tell; the liar is blamed and the other mirror asked."""
    liar = FakeSource(DATA, "liar", step=PIECE - LEAD, latency=0.001, fault=lying(*range(1, len(DATA))))
    what = row(DATA, URL, OTHER)
    async with running(tmp_path, {URL: liar, OTHER: source(name="honest", latency=0.5)}) as bench:
        reader = bench.engine.open(what)
        for start in range(HEAD.stop, TAIL.start, PIECE):
            assert DATA[start : start + PIECE] == await reader.read(Extent(start, start + PIECE))
        assert "sent wrong bytes" in " ".join(each.what for each in bench.engine.incidents(what))


async def test_after_a_loss_of_power_only_the_ends_are_fetched_anew(tmp_path: Path, clock: MockClock) -> None:
    """What digests tell is hashed and served; what nothing can tell is not trusted."""
    what = row()
    await killed(tmp_path, what, ALL, power=True)
    again = source()
    async with running(tmp_path, {URL: again}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        assert {HEAD, TAIL} == {extent for extent, _ in again.fetched}


async def test_torn_bytes_in_the_middle_are_found(tmp_path: Path, clock: MockClock) -> None:
    """As with any chunk."""
    what = row()
    await killed(tmp_path, what, ALL, power=True)
    with data_file(tmp_path).open("r+b") as file:
        file.seek(2 * PIECE)
        file.write(b"torn")
    async with running(tmp_path, {URL: source()}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)


@pytest.mark.parametrize("wrong", [(), (0,)])
async def test_with_a_digest_of_the_whole_all_is_verified_in_the_end(
    wrong: tuple[int, ...], tmp_path: Path, clock: MockClock
) -> None:
    """A metalink that names the same bytes tells the ends too; wrong ones are thrown away."""
    what = replace(row(DATA, URL, OTHER), digests={"sha-256": hashlib.sha256(DATA).digest()})
    liar = FakeSource(DATA, "liar", step=1000, latency=0.001, fault=lying(*wrong) if wrong else lambda *_: None)
    sources = {URL: liar, OTHER: source(name="honest", latency=0.2)}
    async with running(tmp_path, sources, EngineSettings(background="touched")) as bench:
        reader = bench.engine.open(what)
        await reader.read(ALL)
        await trio.sleep(20)
        assert bool(wrong) == bool(bench.discarded)
        assert DATA == await reader.read(ALL)
        await trio.sleep(20)
        assert (Level.WHOLE, "complete") == (what.level, bench.engine.status(what).state)
        assert len(DATA) == bench.engine.status(what).verified


def test_the_ends_tell_two_files_apart() -> None:
    """Of files that differ only where they share pieces with neighbours the bytes are not mixed."""
    assert row().key != row(b"?" + DATA[1:]).key
    assert row().key == row(DATA, OTHER).key


async def test_pieces_of_single_bytes_do_not_keep_the_loop(tmp_path: Path) -> None:
    """Their chunks are of 64 KiB: 200,000 digests are judged in a moment, and nobody else waits for it."""
    data = pattern(200_000)
    packed = b"".join(hashlib.sha1(data[at : at + 1]).digest() for at in range(len(data)))
    entry = Entry(
        P("f"), len(data), pieces=PieceDigests("sha-1", 1, packed), mirrors=(MirrorRef(URL), MirrorRef(OTHER))
    )
    what = content_of(entry, len(data))
    assert (Level.CHUNK, 4) == (what.level, what.chunk_map.count)
    waits: list[float] = []

    async def watch() -> None:
        while True:
            start = time.thread_time()
            await trio.sleep(0.001)
            waits.append(time.thread_time() - start)

    liar = FakeSource(data, "liar", step=PIECE, latency=0, pause=0, fault=lying())
    honest = FakeSource(data, "honest", step=PIECE, latency=0.05, pause=0)
    async with running(tmp_path, {URL: honest, OTHER: liar}) as bench:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.fail_after(50):
                assert data == await bench.engine.open(what).read(Extent(0, len(data)))
            nursery.cancel_scope.cancel()
    # Of the thread's own time: the machine may be busy. Chunk by chunk on the loop it took seconds.
    assert max(waits) < 1.0


def test_short_pieces_make_chunks_of_64_kib() -> None:
    """Whatever their length; pieces that long are chunks as they are."""
    for length in (1, 7, 16 << 10, 40_000, 1 << 16, 1 << 20):
        data = bytes(300_000)
        packed = b"".join(hashlib.md5(data[at : at + length]).digest() for at in range(0, len(data), length))
        pieces = PieceDigests("md5", length, packed)
        found = content_of(Entry(P("f"), len(data), pieces=pieces), len(data)).chunk_map
        assert found.length % length == 0
        assert max(length, 64 << 10) <= found.length < max(length + 1, (64 << 10) + length)


# Ends that are judged with neighbours' bytes

BEFORE, AFTER = pattern(5000, seed=3), pattern(PIECE, seed=4)
BEFORE_URLS, AFTER_URLS = ("fake://before-a", "fake://before-b"), ("fake://after-a", "fake://after-b")


def between(*urls: str, data: bytes = DATA) -> Content:
    """Return the content of a file between two others that can be had."""
    stream = BEFORE[-LEAD:] + data + AFTER[: PIECE - LEAD]
    packed = b"".join(hashlib.sha1(stream[at : at + PIECE]).digest() for at in range(0, len(stream), PIECE))
    before = Neighbour(len(BEFORE), Extent(len(BEFORE) - LEAD, len(BEFORE)), BEFORE_URLS)
    after = Neighbour(len(AFTER), Extent(0, PIECE - LEAD), AFTER_URLS)
    pieces = PieceDigests("sha-1", PIECE, packed, LEAD, open_end=True, before=(before,), after=(after,))
    entry = Entry(P("f"), len(data), pieces=pieces, mirrors=tuple(MirrorRef(url) for url in urls or (URL,)))
    return content_of(entry, len(data))


def others(*, lying_ones: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> dict[str, FakeSource]:
    """Return the neighbours' mirrors."""
    found = {}
    for url in (*BEFORE_URLS, *AFTER_URLS):
        data = BEFORE if url in BEFORE_URLS else AFTER
        fault = lying() if url in lying_ones else failing(SourceUnavailable(url, "gone")) if url in gone else None
        found[url] = FakeSource(data, url, step=1000, **({} if fault is None else {"fault": fault}))  # type: ignore[arg-type]
    return found


def offline() -> FakeSource:
    return source(fault=failing(SourceUnavailable("a", "gone")))


async def test_the_ends_are_verified_with_the_neighbours_bytes(tmp_path: Path, clock: MockClock) -> None:
    """Everything is verified then, and of the neighbours no more is fetched than shares a piece."""
    what, neighbours = between(), others()
    async with running(tmp_path, {URL: source(), **neighbours}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        status = bench.engine.status(what)
        assert (len(DATA), "complete") == (status.verified, status.state)
    asked = {url: each.bytes_asked for url, each in neighbours.items() if each.fetched}
    assert {"fake://before-a": LEAD, "fake://after-a": PIECE - LEAD} == asked
    async with running(tmp_path, {URL: offline()}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)


@pytest.mark.parametrize("liars", [("fake://before-a",), ("fake://after-a",), ("fake://before-a", "fake://after-a")])
async def test_a_neighbour_that_lies_is_asked_elsewhere(
    liars: tuple[str, ...], tmp_path: Path, clock: MockClock
) -> None:
    """The file's own mirror is not blamed for it."""
    what = between()
    async with running(tmp_path, {URL: source(), **others(lying_ones=liars)}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        assert len(DATA) == bench.engine.status(what).verified
        assert [0] == [each.bad_chunks for each in bench.engine.status(what).sources]


@pytest.mark.parametrize("extent", [HEAD, TAIL, Extent(0, 10), Extent(len(DATA) - 10, len(DATA))])
async def test_a_liar_at_the_ends_is_found_out(extent: Extent, tmp_path: Path, clock: MockClock) -> None:
    """No wrong byte is read, and the other mirror brings the right ones."""
    liar = FakeSource(DATA, "liar", step=1000, latency=0.001, fault=lying())
    sources = {URL: liar, OTHER: source(name="honest", latency=0.2), **others()}
    what = between(URL, OTHER)
    async with running(tmp_path, sources) as bench:
        assert DATA[extent.start : extent.stop] == await bench.engine.open(what).read(extent)
        assert "sent wrong bytes" in " ".join(each.what for each in bench.engine.incidents(what))


async def test_ends_whose_neighbours_can_not_be_had_are_served_as_written(tmp_path: Path, clock: MockClock) -> None:
    """Nothing contradicts them; a later run asks again."""
    what = between()
    gone = (*BEFORE_URLS, *AFTER_URLS)
    async with running(tmp_path, {URL: source(), **others(gone=gone)}, EngineSettings(background="off")) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        status = bench.engine.status(what)
        assert (len(DATA) - HEAD.length - TAIL.length, "complete") == (status.verified, status.state)
    async with running(tmp_path, {URL: offline(), **others()}) as bench:
        assert DATA == await bench.engine.open(what).read(ALL)
        assert len(DATA) == bench.engine.status(what).verified


async def test_neighbours_that_are_silent_do_not_keep_a_reader_for_ever(tmp_path: Path, clock: MockClock) -> None:
    """Half a minute, not the read time-out."""
    silent = {url: FakeSource(b"", url, latency=1e6) for url in (*BEFORE_URLS, *AFTER_URLS)}
    what = between()
    async with running(tmp_path, {URL: source(), **silent}) as bench:
        start = trio.current_time()
        assert DATA[:10] == await bench.engine.open(what).read(Extent(0, 10))
        assert trio.current_time() - start < 40


async def test_a_small_file_inside_one_piece(tmp_path: Path, clock: MockClock) -> None:
    """Neighbours on both sides, padding among them."""
    data = pattern(100, seed=9)
    stream = BEFORE[-50:] + data + bytes(20) + AFTER[:30]
    around = (Neighbour(len(BEFORE), Extent(len(BEFORE) - 50, len(BEFORE)), BEFORE_URLS),)
    behind = (Neighbour(20, Extent(0, 20)), Neighbour(len(AFTER), Extent(0, 30), AFTER_URLS))
    pieces = PieceDigests("sha-1", 200, hashlib.sha1(stream).digest(), 50, open_end=True, before=around, after=behind)
    what = content_of(Entry(P("f"), 100, pieces=pieces, mirrors=(MirrorRef(URL), MirrorRef(OTHER))), 100)
    liar = FakeSource(data, "liar", latency=0.001, fault=lying())
    async with running(tmp_path, {URL: liar, OTHER: FakeSource(data, "honest", latency=0.2), **others()}) as bench:
        assert data == await bench.engine.open(what).read(Extent(0, 100))
        assert 100 == bench.engine.status(what).verified


async def test_an_end_that_went_while_it_was_judged_is_judged_anew(
    tmp_path: Path, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full store took it, nobody waiting: neither is a hole a lie, nor what comes next found good unseen."""
    what, mirror = between(), source()
    async with running(tmp_path, {URL: mirror, **others()}) as bench:
        reader, stored = bench.engine.open(what), bench.engine.download(what).stored
        went = []

        async def slowly(function: Callable[..., object], *args: object) -> object:
            good = function(*args)
            if not went:
                went.append(good)
                mirror.data = b"?" + DATA[1:]
                stored.evict(HEAD)
                await trio.sleep(2)
            return good

        monkeypatch.setattr("mountdl.engine.borders.in_thread", slowly)
        with trio.move_on_after(1):
            await reader.read(Extent(0, 10))
        assert went == [True]
        with pytest.raises(ContentUnavailable, match="wrong bytes"):
            await reader.read(Extent(0, 10))
        assert not stored.verified.covers(HEAD)
