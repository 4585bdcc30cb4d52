"""Bits that rot in the store cost a reader a fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from mountdl.extents import Extent
from mountdl.store.place import DATA, Place
from mountdl.store.sums import LEAF
from tests.support.content import content, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource

SIZE = 4 * LEAF + 1000
BYTES = pattern(SIZE)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


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
