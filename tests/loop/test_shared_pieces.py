"""Contents that digests tell only in the middle (files of a torrent in a row), and those with very short pieces."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from pathlib import PurePosixPath as P

import pytest
import trio
from trio.testing import MockClock

from mountdl.content import Content, Level, content_of
from mountdl.descriptors.model import Entry, MirrorRef, PieceDigests
from mountdl.extents import Extent
from mountdl.settings import EngineSettings
from tests.loop.test_settling import data_file, killed
from tests.support.content import pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource
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
            start = time.perf_counter()
            await trio.sleep(0.001)
            waits.append(time.perf_counter() - start)

    liar = FakeSource(data, "liar", step=PIECE, latency=0, pause=0, fault=lying())
    honest = FakeSource(data, "honest", step=PIECE, latency=0.05, pause=0)
    async with running(tmp_path, {URL: honest, OTHER: liar}) as bench:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.fail_after(10):
                assert data == await bench.engine.open(what).read(Extent(0, len(data)))
            nursery.cancel_scope.cancel()
    # Generous: the machine may be busy. Chunk by chunk on the loop it took seconds.
    assert max(waits) < 0.25


def test_short_pieces_make_chunks_of_64_kib() -> None:
    """Whatever their length; pieces that long are chunks as they are."""
    for length in (1, 7, 16 << 10, 40_000, 1 << 16, 1 << 20):
        data = bytes(300_000)
        packed = b"".join(hashlib.md5(data[at : at + length]).digest() for at in range(0, len(data), length))
        pieces = PieceDigests("md5", length, packed)
        found = content_of(Entry(P("f"), len(data), pieces=pieces), len(data)).chunk_map
        assert found.length % length == 0
        assert max(length, 64 << 10) <= found.length < max(length + 1, (64 << 10) + length)
