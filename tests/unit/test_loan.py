"""A data file that somebody else writes for a time."""

from __future__ import annotations

import os
from pathlib import Path

from mountdl.content import ContentKey
from mountdl.extents import Extent, ExtentSet
from mountdl.settings import Limit
from mountdl.store import Store, Stored
from mountdl.store import room as rooms
from mountdl.store.quota import Spared

MIB = 1 << 20
SIZE = 8 * MIB
FINGERPRINT = f"sha-256/{MIB}/{SIZE}/0"


def mib(start: int, stop: int) -> Extent:
    return Extent(start * MIB, stop * MIB)


def lent(stored: Stored, recalls: list[str]) -> None:
    assert stored.loan.possible(stored.there)
    stored.loan.begin(stored.there, lambda: recalls.append("recalled"))


def opened(store: Store) -> Stored:
    return store.open(ContentKey("k"), SIZE, FINGERPRINT)


def put(stored: Stored, extent: Extent, data: bytes) -> None:
    """Do what a swarm does."""
    with stored.path.open("r+b") as file:
        file.seek(extent.start)
        file.write(data)


def test_what_the_borrower_brought_is_kept(tmp_path: Path) -> None:
    """It is on record like all else, at the next opening too; he is not told to stop for it."""
    store, data, recalls = Store(tmp_path), os.urandom(2 * MIB), list[str]()
    stored = opened(store)
    lent(stored, recalls)
    put(stored, mib(3, 5), data)
    stored.arrived(mib(3, 5))
    stored.mark_verified(mib(3, 5))

    assert data == stored.read(mib(3, 5))
    stored.loan.end(stored.there)
    stored.close()
    store.close()
    again = opened(Store(tmp_path))
    assert again.verified == ExtentSet([mib(3, 5)])
    assert data == again.read(mib(3, 5))
    assert not recalls


def test_what_he_left_unfinished_takes_no_room(tmp_path: Path) -> None:
    """Blocks of pieces that never came as a whole; what was brought stays, to the byte."""
    stored = opened(Store(tmp_path))
    lent(stored, [])
    data = os.urandom(SIZE)
    put(stored, mib(0, 8), data)
    kept = Extent(MIB + 100, 2 * MIB + 300)
    stored.arrived(kept)
    assert stored.blocks * 512 >= SIZE

    stored.loan.end(stored.there)
    assert stored.blocks * 512 <= MIB + 8192
    assert data[kept.start : kept.stop] == stored.read(kept)


def test_he_is_told_before_anything_goes(tmp_path: Path) -> None:
    """Once, whether it is evicted or discarded; while he has it nobody else gets it."""
    stored, recalls = opened(Store(tmp_path)), list[str]()
    stored.write(0, bytes(2 * MIB))
    there: list[ExtentSet] = []
    stored.loan.begin(stored.there, lambda: (recalls.append("recalled"), there.append(stored.there.copy()))[0])
    assert not stored.loan.possible(stored.there)
    stored.evict(mib(0, 1))
    stored.evict(mib(1, 2))

    assert ["recalled"] == recalls
    assert [ExtentSet([mib(0, 2)])] == there
    assert stored.loan.given
    stored.loan.end(stored.there)
    lent(stored, recalls)
    stored.discard(mib(0, 8))
    assert ["recalled"] * 2 == recalls


def test_it_is_not_lent_where_the_rest_finds_no_room(tmp_path: Path) -> None:
    """Neither beyond the quota, nor while what closed contents take is not known, nor on a disk that was full."""
    limited = Store(tmp_path / "limited", limit=Limit(SIZE + 3 * MIB))
    stored = opened(limited)
    assert not stored.loan.possible(stored.there)
    limited._room.surveyed({})
    assert stored.loan.possible(stored.there)
    other = limited.open(ContentKey("other"), SIZE, FINGERPRINT)
    other.write(0, os.urandom(3 * MIB))
    assert not stored.loan.possible(stored.there)

    full = opened(Store(tmp_path / "full"))
    assert full.loan.possible(full.there)
    full.room.full(MIB)
    assert not full.loan.possible(full.there)
    assert not full.room.holds(1, rooms.MARGIN)


def test_it_is_not_lent_while_a_thread_writes(tmp_path: Path) -> None:
    """What was put and is not known of yet might be taken for the borrower's."""
    stored = opened(Store(tmp_path))
    stored.put(0, memoryview(bytearray(MIB)))

    assert not stored.loan.possible(stored.there)
    stored.landed(mib(0, 1), {})
    assert stored.loan.possible(stored.there)


def test_blocks_beside_what_goes_stay_while_it_is_taken_in(tmp_path: Path) -> None:
    """A quota that is full makes room in the step that takes in a piece, whose block another piece shares."""
    store = Store(tmp_path, limit=Limit(3 * MIB))
    store._room.surveyed({})
    stored, recalls = opened(store), list[str]()
    stored.write(MIB, os.urandom(2 * MIB + 100))
    stored.mark_verified(Extent(MIB, 3 * MIB + 100))
    stored.spare(lambda: Spared(locked=(mib(1, 3),)))
    stored.loan.begin(stored.there, lambda: recalls.append("recalled"))
    extent = Extent(3 * MIB + 100, 4 * MIB + 100)
    data = os.urandom(MIB)
    put(stored, extent, data)
    stored.arrived(extent)

    assert ["recalled"] == recalls
    assert stored.there.covers(extent)
    assert data == stored.read(extent)


def test_who_gives_it_to_others_hears_whatever_the_reason_is_that_bytes_go(tmp_path: Path) -> None:
    """Not only want of room: bytes that are not what was put there, and such as could not be synced, go too."""
    store, heard = Store(tmp_path), list[str]()
    store.before_evicting(heard.append)
    stored = opened(store)
    stored.write(0, bytes(2 * MIB))
    stored.discard(mib(0, 1))
    assert heard == ["k"]
    stored.evict(mib(1, 2))
    assert heard == ["k", "k"]
    stored.close()
    store.close()
