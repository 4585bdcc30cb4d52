"""Reads of the store: what the page cache has, what a thread loads, and what goes meanwhile."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent, ExtentSet
from mountdl.store import Store
from mountdl.store.place import DATA, Place
from mountdl.store.stored import Stored
from mountdl.store.sums import LEAF, sums_of
from tests.support.content import flip, pattern

KEY = ContentKey("a")
SIZE = 4 * LEAF + 1000
BYTES = pattern(SIZE)
ALL = Extent(0, SIZE)


def data_of(directory: Path) -> Path:
    return Place(directory / "contents", KEY).path(DATA)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    store = Store(tmp_path)
    found = store.open(KEY, SIZE, "fp")
    found.write(0, BYTES)
    yield found
    store.close()


@pytest.mark.parametrize("extent", [Extent(0, 10), Extent(LEAF - 5, LEAF + 5), Extent(0, 200_000), ALL])
def test_all_ways_of_reading_give_the_same(stored: Stored, extent: Extent) -> None:
    """From the page cache, by a thread, on the loop."""
    load = stored.reading.begin(extent)
    load.run()

    assert stored.reading.glance(extent) == BYTES[extent.start : extent.stop]
    assert stored.reading.end(load) == BYTES[extent.start : extent.stop]
    assert stored.read(extent) == BYTES[extent.start : extent.stop]


@pytest.mark.parametrize("drop", ["evict", "discard"])
def test_a_load_does_not_count_if_anything_went_meanwhile(stored: Stored, drop: str) -> None:
    """What a thread reads from a hole are zeros that nobody sent."""
    load = stored.reading.begin(Extent(0, 10))
    getattr(stored, drop)(Extent(0, LEAF))
    load.run()

    assert stored.reading.end(load) is None


def test_what_the_page_cache_has_not_waits_for_a_thread(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says EAGAIN where it would have to wait for the disk."""

    def cold(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError(errno.EAGAIN, "cold")
        return real(fd, buffers, offset, flags)

    real = os.preadv
    monkeypatch.setattr(os, "preadv", cold)
    assert stored.reading.glance(ALL) is None
    load = stored.reading.begin(ALL)
    load.run()
    assert stored.reading.end(load) == BYTES


def test_a_file_system_that_can_not_tell_is_read_at_once(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """No O_DIRECT, no RWF_NOWAIT, no RWF_DONTCACHE: everything still works, asked for once."""
    asked: list[int] = []
    opened = os.open

    def indirectly(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            asked.append(flags)
            raise OSError(errno.EINVAL, "not here")
        return opened(path, flags, mode)

    def plain(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        asked.append(flags)
        if flags:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(fd, buffers, offset)

    real = os.preadv
    monkeypatch.setattr(os, "preadv", plain)
    monkeypatch.setattr(os, "open", indirectly)
    for _ in range(2):
        assert stored.reading.glance(ALL) == BYTES
        load = stored.reading.begin(ALL)
        load.run()
        assert stored.reading.end(load) == BYTES
    assert len([flags for flags in asked if flags]) == 3


def test_a_data_file_cut_short_is_damage_in_every_way(stored: Stored) -> None:
    """A glance can't tell and leaves it to the thread, which says so."""
    os.truncate(stored.path, 10)
    load = stored.reading.begin(ALL)

    assert stored.reading.glance(ALL) is None
    with pytest.raises(StoreDamaged):
        load.run()


@pytest.mark.parametrize("way", ["glance", "load"])
def test_a_flipped_bit_shows_before_any_way_gives_it(tmp_path: Path, way: str) -> None:
    """What an earlier run left is compared with its sum whoever reads it first."""
    with_store = Store(tmp_path)
    first = with_store.open(KEY, SIZE, "fp")
    first.write(0, BYTES)
    first.close()
    with_store.close()
    flip(data_of(tmp_path), LEAF + 7)
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    extent = Extent(LEAF + 100, LEAF + 110)
    if way == "load":
        load = stored.reading.begin(extent)
        load.run()
    with pytest.raises(StoreDamaged):
        stored.reading.end(load) if way == "load" else stored.reading.glance(extent)

    assert not list(stored.written.overlap(Extent(LEAF, 2 * LEAF)))
    assert stored.reading.glance(Extent(0, 10)) == BYTES[:10]
    store.close()


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("start", [0, LEAF, 777])
def test_bytes_that_pass_the_page_cache_by_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int, able: bool
) -> None:
    """Also where kernel or file system do not know how, and where pages are shared with neighbours."""
    real = os.pwritev

    def refused(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if not able:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(fd, [buffers[0][:5000]], offset, flags)  # a short write goes on where it stopped

    monkeypatch.setattr(os, "pwritev", refused)
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, BYTES[:start])
    sums = stored.put(start, memoryview(BYTES)[start:], cached=False)
    stored.landed(Extent(start, SIZE), sums)

    assert stored.read(ALL) == BYTES
    store.close()


def test_sums_taken_on_the_way_are_those_of_whole_leaves() -> None:
    """Of a leaf that begins before or ends behind what came nothing is said."""
    found = sums_of(memoryview(BYTES)[10 : 3 * LEAF], 10, SIZE)
    last = sums_of(memoryview(BYTES)[4 * LEAF :], 4 * LEAF, SIZE)

    assert found == {number: zlib.crc32(BYTES[number * LEAF : (number + 1) * LEAF]) for number in (1, 2)}
    assert last == {4: zlib.crc32(BYTES[4 * LEAF :])}


def test_sums_taken_on_the_way_find_rot(tmp_path: Path) -> None:
    """They are on record with the bytes: no checkpoint has to read those again."""
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    stored.landed(ALL, stored.put(0, memoryview(BYTES), cached=False))
    assert stored.sums.due(ExtentSet([ALL]), SIZE) == []
    stored.close()
    store.close()
    flip(data_of(tmp_path), 0)
    again = Store(tmp_path)
    with pytest.raises(StoreDamaged):
        again.open(KEY, SIZE, "fp").read(Extent(0, 1))
    again.close()
