"""What is given to peers out of closed files is looked at: other processes make room in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mountdl.descriptors.model import TorrentFile
from mountdl.extents import Extent, ExtentSet
from mountdl.sources.swarm import vigil
from mountdl.sources.swarm.holdings import Part
from mountdl.sources.swarm.vigil import Vigil
from mountdl.store.kernel import punch_hole
from tests.unit.test_swarm_parts import in_a_row

SIZE = 1 << 20


def part(tmp_path: Path, number: int = 0, *verified: Extent) -> Part:
    """Return a file whose bytes are on disk where *verified* says so, or all of it."""
    path = tmp_path / f"{number}.data"
    there = verified or (Extent(0, SIZE),)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for extent in there:
            os.pwrite(file.fileno(), b"x" * extent.length, extent.start)
    return Part(files(number), f"key-{number}", path, ExtentSet(there))


def files(number: int) -> TorrentFile:
    return in_a_row([SIZE] * (number + 1), 65536).files[number]


def punch(of: Part, extent: Extent) -> None:
    with of.path.open("r+b") as file:
        punch_hole(file.fileno(), extent.start, extent.length)


def test_what_is_there_is_no_loss(tmp_path: Path) -> None:
    """Nor is a hole where nothing is said to be, nor more bytes, nor another time of use."""
    sparse = part(tmp_path, 0, Extent(65536, 131072), Extent(SIZE - 5, SIZE))
    watch = Vigil()
    assert watch.lost([sparse]) == []
    os.utime(sparse.path)
    with sparse.path.open("r+b") as file:
        os.pwrite(file.fileno(), b"y" * 4096, 0)
    assert watch.lost([sparse]) == []
    punch(sparse, Extent(0, 65536))
    assert watch.lost([sparse]) == []
    assert watch.lost([]) == []


@pytest.mark.parametrize("seen", [False, True])
def test_a_hole_is_a_loss(tmp_path: Path, seen: bool) -> None:
    """Whether the file was looked at before it came or not."""
    one, other = part(tmp_path, 0), part(tmp_path, 1)
    watch = Vigil()
    assert not seen or watch.lost([one, other]) == []
    punch(other, Extent(524288, 589824))
    assert watch.lost([one, other]) == ["key-1"]


@pytest.mark.parametrize("act", ["unlink", "truncate", "replace", "link"])
def test_a_file_that_is_not_the_one_it_was_is_a_loss(tmp_path: Path, act: str) -> None:
    one = part(tmp_path)
    watch = Vigil()
    assert watch.lost([one]) == []
    other = one.path.rename(tmp_path / "other")
    if act == "truncate":
        other.rename(one.path)
        os.truncate(one.path, 5)
    elif act == "replace":
        one.path.touch()
        os.truncate(one.path, SIZE)
    elif act == "link":
        one.path.symlink_to(other)
    assert watch.lost([one]) == ["key-0"]


def test_many_are_looked_at_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a torrent of many files does not hold readers up; each has its turn."""
    monkeypatch.setattr(vigil, "AT_ONCE", 2)
    parts = [part(tmp_path, number) for number in range(5)]
    watch = Vigil()
    for each in parts:
        punch(each, Extent(0, SIZE))
    found = [watch.lost(parts) for _ in range(4)]
    assert found == [["key-0", "key-1"], ["key-2", "key-3"], ["key-4"], ["key-0", "key-1"]]
