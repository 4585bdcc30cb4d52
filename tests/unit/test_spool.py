"""What is on its way and of unknown length: it is bounded, and nobody else can see it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from mountdl.errors import StoreDamaged, StoreFull
from mountdl.extents import Extent
from mountdl.store import spool
from mountdl.store.spool import Spool


def test_what_came_is_given_back(tmp_path: Path) -> None:
    """From a file without a name; what did not come is not made up."""
    told: list[int] = []
    with closing(Spool(tmp_path, lambda _: 1 << 30, told.append)) as found:
        found.write(0, b"abc")
        found.write(3, b"defg")
        assert found.read(Extent(2, 6)) == b"cdef"
        with pytest.raises(StoreDamaged):
            found.read(Extent(5, 8))
        assert os.listdir(tmp_path) == []
    assert told == [3, 7]


def test_it_never_has_more_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the steps in which that is asked."""
    monkeypatch.setattr(spool, "STEP", 100)
    asked: list[int] = []

    def room(count: int) -> int:
        asked.append(count)
        return 250 - count

    with closing(Spool(tmp_path, room, lambda _: None)) as found:
        for start in range(0, 250, 10):
            found.write(start, bytes(10))
        with pytest.raises(StoreFull, match="no room for more than its first 250 bytes"):
            found.write(250, b"x")
    assert asked == [0, 110, 220, 250]
