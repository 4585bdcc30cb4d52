"""What streams leave in the page cache: let go of in long pieces, twice, and never what was looked at in passing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from mountdl.content import ContentKey
from mountdl.extents import Extent
from mountdl.store.datafile import DataFile
from mountdl.store.place import Place
from mountdl.store.trails import LENGTH, STREAM, Trail, Trails

PART = LENGTH // 4


class File:
    """Takes down what it is told to let go."""

    def __init__(self) -> None:
        self.gone: list[list[Extent]] = []

    def let_go(self, extents: Iterable[Extent]) -> None:
        self.gone.append(list(extents))


def read(trail: Trail, start: int, stop: int, step: int = PART) -> None:
    for at in range(start, stop, step):
        trail.follow(Extent(at, min(at + step, stop)))


async def test_what_was_read_goes_in_long_pieces_and_twice() -> None:
    """The first time the way to the disk begins, the second time it is there."""
    file, trails = File(), Trails()
    trail = Trail(cast("DataFile", file), trails)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trails.run)
        for number in range(3):
            read(trail, number * LENGTH, (number + 1) * LENGTH)
            while len(file.gone) <= number:
                await trio.sleep(0.001)
        read(trail, 3 * LENGTH, 4 * LENGTH - PART)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    parts = [Extent(number * LENGTH, (number + 1) * LENGTH) for number in range(3)]
    assert file.gone == [[parts[0]], [parts[0], parts[1]], [parts[1], parts[2]]]


async def test_who_looks_around_leaves_all_where_it_is() -> None:
    """Short reads come back: an index, a folder of a disc image."""
    trails = Trails()
    trail = Trail(cast("DataFile", File()), trails)

    read(trail, 0, 2 * LENGTH, STREAM - 1)

    assert trail.due() == []


async def test_two_files_are_let_go_one_after_the_other() -> None:
    """Neither is forgotten that grows long while the other goes."""
    files, trails = [File(), File()], Trails()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trails.run)
        for file in files:
            read(Trail(cast("DataFile", file), trails), 0, LENGTH)
        while not all(file.gone for file in files):
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()

    assert [file.gone for file in files] == [[[Extent(0, LENGTH)]]] * 2


def test_the_page_cache_lets_go_of_what_is_on_the_disk(tmp_path: Path) -> None:
    """What is dirty only begins to be written; bytes are the same before and after; a closed file is left alone."""
    (tmp_path / "contents").mkdir()
    data = DataFile(Place(tmp_path / "contents", ContentKey("k")), 8 * STREAM)
    data.resize()
    extent, other = Extent(0, 4 * STREAM), Extent(4 * STREAM, 8 * STREAM)
    data.write(0, os.urandom(8 * STREAM))
    before = data.read(extent)
    data.sync()
    if not drops(tmp_path):
        pytest.skip("this file system keeps all in memory")
    assert data.glance(extent) == before

    data.let_go([extent])

    assert data.glance(extent) is None
    assert data.glance(other) is not None
    assert data.read(extent) == before
    data.close()
    data.let_go([extent])


def drops(folder: Path) -> bool:
    """Say whether the file system of *folder* can drop what it has on disk, and tells."""
    with (folder / "tried").open("w+b", buffering=0) as file:
        file.write(bytes(STREAM))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, STREAM, os.POSIX_FADV_DONTNEED)
        try:
            return os.preadv(file.fileno(), [bytearray(STREAM)], 0, os.RWF_NOWAIT) < STREAM
        except BlockingIOError:
            return True
        except OSError:
            return False
