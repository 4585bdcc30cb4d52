"""Bits that rot in the store: found before they are served, also where no descriptor gives a digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mountdl.content import ContentKey
from mountdl.errors import StoreDamaged
from mountdl.extents import Extent
from mountdl.store import Store, sums
from mountdl.store.place import DATA, SUMS, Place
from mountdl.store.sums import LEAF
from tests.support.content import flip, pattern

KEY = ContentKey("a")
SIZE = 4 * LEAF + 1000
BYTES = pattern(SIZE)


def stored_and_closed(directory: Path) -> Path:
    store = Store(directory)
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, BYTES)
    stored.close()
    store.close()
    return Place(directory / "contents", KEY).path(DATA)


@pytest.mark.parametrize("offset", [0, LEAF - 1, 2 * LEAF + 77, SIZE - 1])
def test_a_flipped_bit_is_found_at_the_first_read_and_only_its_leaf_goes(tmp_path: Path, offset: int) -> None:
    data = stored_and_closed(tmp_path)
    flip(data, offset)
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    gone: list[Extent] = []
    stored.follow_evictions(gone.append)
    with pytest.raises(StoreDamaged, match="not what was stored"):
        stored.read(Extent(offset, offset + 1))

    assert gone == [sums.leaf(offset // LEAF, SIZE)]
    assert stored.written.total == SIZE - gone[0].length
    for part in stored.written:
        assert stored.read(part) == BYTES[part.start : part.stop]
    store.close()


def test_sound_bytes_are_compared_once(tmp_path: Path) -> None:
    """What changes on disk while it is open is the disk's page cache: it is not read twice to find out."""
    data = stored_and_closed(tmp_path)
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    assert stored.read(Extent(0, SIZE)) == BYTES
    assert not stored.reading.unchecked
    flip(data, 5)
    stored.read(Extent(0, 10))
    store.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "deleted"])
def test_sums_that_are_damaged_say_nothing(tmp_path: Path, damage: str) -> None:
    stored_and_closed(tmp_path)
    path = Place(tmp_path / "contents", KEY).path(SUMS)
    if damage == "cut":
        os.truncate(path, 11)
    elif damage == "flipped":
        flip(path, 3)
    else:
        path.unlink()
    store = Store(tmp_path)

    assert store.open(KEY, SIZE, "fp").read(Extent(0, SIZE)) == BYTES
    store.close()


def test_what_was_dropped_and_came_back_is_summed_anew(tmp_path: Path) -> None:
    stored_and_closed(tmp_path)
    store = Store(tmp_path)
    stored = store.open(KEY, SIZE, "fp")
    stored.discard(Extent(LEAF, LEAF + 10))
    stored.write(LEAF, b"other text")
    stored.evict(Extent(3 * LEAF, 4 * LEAF))
    store.close()
    again = Store(tmp_path)
    stored = again.open(KEY, SIZE, "fp")
    assert stored.read(Extent(LEAF, LEAF + 10)) == b"other text"
    stored.checkpoint()
    again.close()
    last = Store(tmp_path)
    stored = last.open(KEY, SIZE, "fp")
    assert stored.read(Extent(LEAF, 2 * LEAF)) == b"other text" + BYTES[LEAF + 10 : 2 * LEAF]
    last.close()


def test_sums_are_written_many_at_once(tmp_path: Path) -> None:
    """Until then memory tells them; what is dropped meanwhile is not written, and closing writes the rest."""
    (tmp_path / "contents").mkdir()
    place = Place(tmp_path / "contents", KEY)
    place.make_folder()
    kept = sums.Sums(place)
    kept.keep({0: 7, 1: 8, 5: 9})
    kept.forget(sums.leaf(1, SIZE))

    assert [kept.recall(number) for number in (0, 1, 5)] == [7, None, 9]
    assert not place.path(SUMS).exists()
    kept.close()
    again = sums.Sums(place)
    assert [again.recall(number) for number in (0, 1, 5)] == [7, None, 9]

    again.keep({number: number for number in range(sums.MOST_KEPT)})
    third = sums.Sums(place)
    assert third.recall(sums.MOST_KEPT - 1) == sums.MOST_KEPT - 1
    again.settle({sums.MOST_KEPT: 1})
    assert third.recall(sums.MOST_KEPT) == 1
    again.close()
    third.close()
