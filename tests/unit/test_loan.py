"""A data file that somebody else writes for a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from mountdl.content import ContentKey
from mountdl.errors import StoreBusy
from mountdl.extents import Extent, ExtentSet
from mountdl.settings import Limit
from mountdl.store import Store, Stored
from mountdl.store import room as rooms
from mountdl.store import store as stores
from mountdl.store.census import AtRest
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
    limited._room.surveyed(AtRest((), float))
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
    store._room.surveyed(AtRest((), float))
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


async def test_nobody_else_has_it_until_it_was_given_back(tmp_path: Path) -> None:
    """Blocks may come after the last use; another process that had verified bytes meanwhile would lose them."""
    store, other = Store(tmp_path), Store(tmp_path)
    stored = opened(store)
    lent(stored, [])
    stored.close()
    for index in range(stores._PARKED + 5):  # however many others are closed meanwhile
        another = store.open(ContentKey(f"c-{index}"), SIZE, FINGERPRINT)
        another.write(0, b"x")
        another.close()
    with pytest.raises(StoreBusy):
        opened(other)

    put(stored, mib(3, 5), os.urandom(2 * MIB))
    stored.loan.end(stored.there)
    await store._checkpoint_all()
    assert opened(other).written == ExtentSet()
    store.close()
    other.close()


async def test_the_janitor_leaves_it_to_him(tmp_path: Path) -> None:
    """Also at the end, when what was fetched is put on record while a swarm may still write; `close` comes after it."""
    store, other = Store(tmp_path), Store(tmp_path)
    stored = opened(store)
    lent(stored, [])
    put(stored, mib(0, 1), os.urandom(MIB))
    stored.arrived(mib(0, 1))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        stored.close()
        nursery.cancel_scope.cancel()
    assert not stored.dirty
    with pytest.raises(StoreBusy):
        opened(other)

    store.close()
    assert opened(other).written == ExtentSet([mib(0, 1)])
    other.close()


def test_who_opens_it_again_has_it_back(tmp_path: Path) -> None:
    """The borrower is told; as something else it can be opened once he gave it back."""
    store, recalls = Store(tmp_path), list[str]()
    stored = opened(store)
    lent(stored, recalls)
    stored.close()

    assert opened(store) is stored
    assert recalls == ["recalled"]
    stored.close()
    with pytest.raises(StoreBusy):
        store.open(ContentKey("k"), SIZE, "sha-256/other")
    stored.loan.end(stored.there)
    assert store.open(ContentKey("k"), SIZE, "sha-256/other").fingerprint == "sha-256/other"
    store.close()


async def test_who_waits_for_the_end_of_a_loan_hears_of_it(tmp_path: Path, clock: trio.testing.MockClock) -> None:
    """Also where it was lent once more meanwhile; at once where nobody has it."""
    store = Store(tmp_path)
    stored = opened(store)
    await stored.loan.over()
    heard: list[float] = []

    async def wait() -> None:
        await stored.loan.over()
        heard.append(trio.current_time())

    start = trio.current_time()
    lent(stored, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(1)
        stored.loan.end(stored.there)
        lent(stored, [])
        await trio.sleep(1)
        stored.loan.end(stored.there)
    assert [start + 2] == heard
    store.close()
