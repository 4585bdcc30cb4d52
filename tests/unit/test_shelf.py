"""What is set aside reads back, and the room of what is given back is used again."""

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.errors import StoreDamaged, StoreError, StoreFull
from mountdl.store.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "store")
    yield made
    made.close()


def test_it_leaves_no_name(shelf: Shelf, tmp_path: Path) -> None:
    """The file goes with the process, however that ends."""
    shelf.put(b"0123456789")

    assert list((tmp_path / "store").iterdir()) == []


def test_room_is_used_again(shelf: Shelf) -> None:
    """What takes the place of what was given back makes the file no longer."""
    first, second = shelf.put(b"a" * 100), shelf.put(b"b" * 100)
    before = shelf.size
    shelf.free(first, 100)
    third = shelf.put(b"c" * 120)

    assert (before, first) == (shelf.size, third)
    assert shelf.get(second, 100) == b"b" * 100
    assert shelf.get(third, 120) == b"c" * 120


def test_a_full_disk_takes_no_room(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried: what comes when there is room again lies where that would have been."""

    def full(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as context:
        context.setattr("mountdl.store.shelf.write_all", full)
        for _ in range(3):
            with pytest.raises(StoreFull):
                shelf.put(b"x" * 100)

    assert shelf.put(b"y" * 100) == 0
    assert shelf.size == 128


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=40))
def test_nothing_is_written_over(steps: list[tuple[bytes, bool]]) -> None:
    """Whatever is put and given back in whatever order: what is there stays as it was put."""
    shelf = Shelf(Path("/tmp"))
    there: dict[int, bytes] = {}
    for data, give_back in steps:
        there[shelf.put(data)] = data
        if give_back and there:
            place = next(iter(there))
            shelf.free(place, len(there.pop(place)))
        assert {place: shelf.get(place, len(kept)) for place, kept in there.items()} == there
    shelf.close()


def test_a_disk_that_fails_is_told(shelf: Shelf, tmp_path: Path) -> None:
    """Neither a folder that can't be made nor bytes that are gone end in anything but a StoreError."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        Shelf(tmp_path / "file" / "store").put(b"x")
    place = shelf.put(b"x" * 100)
    assert shelf._fd is not None
    os.ftruncate(shelf._fd, 10)
    with pytest.raises(StoreDamaged):
        shelf.get(place, 100)
    gc.collect()
