"""The pure parts of swarms: layout, wants, giving, and who waits."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from mountdl.descriptors.model import Torrent, TorrentFile
from mountdl.errors import SourceUnavailable
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm.giving import Giving
from mountdl.sources.swarm.layout import Layout, pick
from mountdl.sources.swarm.waiting import REMEMBERED, Waiting
from mountdl.sources.swarm.wants import AHEAD_MS, KEPT, KEPT_BESIDE_MIRRORS, Lacking, Wants


def in_a_row(sizes: list[int], length: int) -> Torrent:
    """Return a torrent of files of *sizes*, one behind the other without padding."""
    files, offset = [], 0
    for index, size in enumerate(sizes):
        files.append(TorrentFile(PurePosixPath(f"top/{index}"), size, offset, index))
        offset += size
    return Torrent(b"", bytes(20), None, length, -(-offset // length), tuple(files))


ROWS = st.builds(in_a_row, st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 16))


@given(ROWS, st.data())
def test_the_parts_of_an_extent_are_the_extent(torrent: Torrent, data: st.DataObject) -> None:
    """Pieces that hold an extent cover it, each byte once, and none is asked for in vain."""
    layout = Layout(torrent)
    file = data.draw(st.sampled_from(torrent.files))
    start = data.draw(st.integers(0, file.size))
    extent = Extent(start, data.draw(st.integers(start, file.size)))
    covered = [layout.part(file, piece)[0].intersection(extent) for piece in layout.pieces(file, extent)]

    assert all(covered)
    assert ExtentSet([extent]) == ExtentSet(covered)
    assert extent.length == sum(part.length for part in covered)


@given(ROWS, st.data())
def test_a_piece_is_held_when_every_byte_of_it_is(torrent: Torrent, data: st.DataObject) -> None:
    """Against a row of flags, a byte each."""
    layout = Layout(torrent)
    total = sum(file.size for file in torrent.files)
    flags = data.draw(st.lists(st.booleans(), min_size=total, max_size=total))
    verified = {
        file.index: ExtentSet(Extent(at, at + 1) for at in range(file.size) if flags[file.offset + at])
        for file in torrent.files
    }
    length = torrent.piece_length

    assert [all(flags[at : at + length]) for at in range(0, total, length)] == layout.held(verified)


def test_a_file_is_picked_by_name_else_by_a_size_of_its_own() -> None:
    """With or without the torrent's own name; never one of another size, nor one of two that fit."""
    torrent = in_a_row([5, 7, 7], 4)

    assert torrent.files[2] == pick(torrent, "top/2", 7)
    assert torrent.files[2] == pick(torrent, "2", 7)
    assert torrent.files[0] == pick(torrent, "another", 5)
    assert pick(torrent, "top/0", 6) is None
    assert pick(torrent, None, 7) is None


def test_readers_come_first_and_what_is_ahead_of_them_later() -> None:
    """Deadlines rise from piece to piece; what nobody waits for has none."""
    wants = Wants()
    wants.add([7], Priority.BACKGROUND)
    wants.add([4, 5], Priority.READAHEAD)
    wants.add([9, 8], Priority.READ)

    assert [(8, 0), (9, 50), (4, 100 + AHEAD_MS)] == wants.deadlines([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert [] == wants.remove([9], Priority.READ)[1:]
    assert 9 not in wants


def test_something_stays_wanted_and_little_of_what_mirrors_bring() -> None:
    """The last pieces of a file keep the peers; all of it only where all of it is to come."""
    wants = Wants()
    wants.add([0], Priority.READ)
    here = [0] * 100

    def count(*, eager: bool, mirrored: bool) -> int:
        return sum(map(bool, wants.priorities(100, [Lacking(range(100), eager, mirrored)], here)))

    assert KEPT + 1 == count(eager=False, mirrored=False)
    assert count(eager=True, mirrored=False) == 100
    assert KEPT_BESIDE_MIRRORS + 1 == count(eager=True, mirrored=True)
    assert wants.priorities(100, [], here)[1:] == [0] * 99


def test_giving_ends_by_ratio_or_time() -> None:
    """0 is no limit for a ratio, and nothing at all for a time."""
    assert Giving(SwarmSettings(seed_ratio=1.5)).goes_on(100, 149, 0)
    assert not Giving(SwarmSettings(seed_ratio=1.5)).goes_on(100, 150, 0)
    assert Giving(SwarmSettings(seed_ratio=0)).goes_on(100, 10**9, 0)
    assert not Giving(SwarmSettings(seed_time=0)).goes_on(100, 0, 0)
    assert not Giving(SwarmSettings()).goes_on(0, 0, 0)
    timed = Giving(SwarmSettings(seed_time=60))
    assert timed.goes_on(100, 0, 1000)
    assert not timed.goes_on(100, 0, 1060)


async def test_all_who_wait_for_a_piece_get_it(clock: trio.testing.MockClock) -> None:
    """And who fails is told why; a few bytes are kept for the next."""
    waiting = Waiting()
    got: list[object] = []

    async def wait(piece: int) -> None:
        try:
            got.append(await waiting.wait(piece))
        except SourceUnavailable as error:
            got.append(error.reason)

    async with trio.open_nursery() as nursery:
        for piece in (1, 1, 2):
            nursery.start_soon(wait, piece)
        await trio.testing.wait_all_tasks_blocked()
        waiting.bring(1, b"one")
        waiting.fail_all(SourceUnavailable("s", "gone"))
    assert sorted(map(str, got)) == ["b'one'", "b'one'", "gone"]
    assert not waiting
    assert waiting.recent(1) == b"one"
    waiting.bring(3, bytes(REMEMBERED))
    assert waiting.recent(1) is None
    assert len(waiting.recent(3) or b"") == REMEMBERED


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_file_has_no_pieces(size: int) -> None:
    """Nor does an empty extent."""
    torrent = in_a_row([size, 3], 4)

    assert len(Layout(torrent).pieces(torrent.files[0], Extent(0, size))) == size
