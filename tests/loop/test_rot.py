"""Bits that rot in the store cost a reader a fetch."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from mountdl.extents import Extent
from mountdl.store.place import DATA, Place
from mountdl.store.sums import LEAF
from tests.support.content import content, flip, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

SIZE = 4 * LEAF + 1000
BYTES = pattern(SIZE)


@pytest.mark.parametrize("chunk", [1 << 16, 1 << 20, None])
async def test_a_reader_gets_the_right_bytes_and_why_tells(tmp_path: Path, clock: object, chunk: int | None) -> None:
    """With digests of chunks longer and shorter than a leaf, and with one of the whole only."""
    what = content(BYTES, chunk=chunk, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 16)}) as bench:
        await bench.engine.open(what).read(Extent(0, SIZE))
    data = Place(tmp_path / "contents", what.key).path(DATA)
    flip(data, LEAF + 3)
    source = FakeSource(BYTES, step=1 << 16)
    async with running(tmp_path, {"fake://a": source}) as bench:
        reader = bench.engine.open(what)
        got = [await reader.read(Extent(at, at + (1 << 16)).clip(SIZE)) for at in range(0, SIZE, 1 << 16)]
        told = [incident.what for incident in bench.engine.incidents(what)]

    assert "the store lost bytes; they are fetched again" in told
    assert b"".join(got) == BYTES
    assert 0 < source.bytes_asked < SIZE or chunk == 1 << 20


@pytest.mark.parametrize("chunk", [1 << 16, 1 << 20, None])
@pytest.mark.parametrize("step", [1 << 16, SIZE])
async def test_several_rotten_places_are_no_source_s_fault(
    tmp_path: Path, clock: object, chunk: int | None, step: int
) -> None:
    """Bits flipped in three leaves: right bytes, by short reads and by one, and nobody is said to have sent wrong ones."""
    what = content(BYTES, chunk=chunk, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 16)}) as bench:
        await bench.engine.open(what).read(Extent(0, SIZE))
    data = Place(tmp_path / "contents", what.key).path(DATA)
    for offset in (5, LEAF + 3, 3 * LEAF - 1):
        flip(data, offset)
    async with running(tmp_path, {"fake://a": FakeSource(BYTES, step=1 << 16)}) as bench:
        reader = bench.engine.open(what)
        got = []
        for at in range(0, SIZE, step):
            got.append(await reader.read(Extent(at, at + step).clip(SIZE)))
            await trio.sleep(1)  # time for verdicts
        told = [incident.what for incident in bench.engine.incidents(what)]
        [source] = bench.engine.status(what).sources

    assert b"".join(got) == BYTES
    assert not any("sent wrong bytes" in line for line in told)
    assert source.bad_chunks == 0


async def test_rot_that_was_not_read_yet_is_not_blamed_on_who_mended_another(tmp_path: Path, clock: object) -> None:
    """With a digest of the whole only: bytes of an earlier run made it fail, so all is fetched anew."""
    data = pattern(3 << 20)
    what = content(data, chunk=None, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(data, step=1 << 16)}) as bench:
        await bench.engine.open(what).read(Extent(0, len(data)))
        await trio.sleep(1)
    path = Place(tmp_path / "contents", what.key).path(DATA)
    flip(path, 5)
    flip(path, (2 << 20) + 5)
    async with running(tmp_path, {"fake://a": FakeSource(data, step=1 << 16)}) as bench:
        reader = bench.engine.open(what)
        assert await reader.read(Extent(0, 1000)) == data[:1000]
        await trio.sleep(5)
        assert await reader.read(Extent(0, len(data))) == data
        await trio.sleep(5)
        told = [incident.what for incident in bench.engine.incidents(what)]
        status = bench.engine.status(what)

    assert not any("sent wrong bytes" in line for line in told)
    assert [source.bad_chunks for source in status.sources] == [0]
    assert status.state == "complete"
