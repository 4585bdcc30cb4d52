"""The quota: what goes, in which order, and that it holds at every moment."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.content import ContentKey
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.settings import Limit
from mountdl.store import Store, Stored, census
from mountdl.store import room as rooms
from mountdl.store.census import AtRest
from mountdl.store.place import PIN, Place
from mountdl.store.quota import Candidate, Keep, Spared, candidates, choose, gap
from mountdl.store.uses import MOST_UNITS, Clock, Uses

MIB = 1 << 20
UNIT = MIB
SIZE = 8 * MIB


def fingerprint(chunk: int = MIB, size: int = SIZE) -> str:
    return f"sha-256/{chunk}/{size}/0"


def taken(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (directory / "contents").rglob("*") if path.is_file())


def fill(stored: Stored, *extents: Extent) -> None:
    for extent in extents:
        for start in range(extent.start, extent.stop, 128 << 10):
            stored.write(start, os.urandom(128 << 10))


def mib(start: int, stop: int) -> Extent:
    return Extent(start * MIB, stop * MIB)


keeps = st.sampled_from(list(Keep))
offers = st.lists(st.builds(Candidate, keeps, st.integers(0, 9), st.just(0), st.just(0), st.just(9), st.integers(1, 9)))


@given(offers, st.integers(0, 60))
def test_the_cheapest_and_oldest_go_first_and_no_more_than_needed(offered: list[Candidate], wanted: int) -> None:
    """Nothing goes while something less dear, or as dear and older, stays; without its last one there is too little."""
    chosen = list(choose(offered, wanted))
    left = list(offered)
    for each in chosen:
        left.remove(each)

    assert all((a.keep, a.used_at) <= (b.keep, b.used_at) for a in chosen for b in left)
    assert sum(each.length for each in chosen[:-1]) < wanted or not chosen
    assert sum(each.length for each in chosen) >= wanted or not left


def test_edges_of_used_files_pins_and_what_is_ahead_are_kept_longer_and_what_is_locked_is_no_choice() -> None:
    uses = Uses(SIZE, MIB, Clock(5.0), 1.0)
    there = ExtentSet([mib(0, 8)])
    spared = Spared(locked=(Extent(2 * MIB + 5, 2 * MIB + 6),), ahead=(mib(4, 5),), used=True)
    found = {each.start // MIB: each.keep for each in candidates(0, there, uses, spared, SIZE, pinned=False)}

    assert found == {
        0: Keep.EDGE, 1: Keep.NORMAL, 3: Keep.NORMAL, 4: Keep.AHEAD, 5: Keep.NORMAL, 6: Keep.NORMAL, 7: Keep.EDGE
    }  # fmt: skip
    assert {each.keep for each in candidates(0, there, uses, Spared(), SIZE, pinned=True)} == {Keep.PINNED}
    assert {each.keep for each in candidates(0, there, uses, Spared(), SIZE, pinned=False)} == {Keep.NORMAL}


@given(st.integers(1, 1 << 50), st.integers(1, 1 << 26))
def test_the_marks_of_a_content_are_bounded_whatever_its_size(size: int, chunk: int) -> None:
    uses = Uses(size, chunk, Clock(), 0.0)

    assert uses.unit % chunk == 0
    assert -(-size // uses.unit) <= MOST_UNITS


def test_a_use_is_remembered_by_its_unit() -> None:
    clock = Clock(3.0)
    uses = Uses(SIZE, MIB, clock, 1.0)
    uses.touch(MIB + 7)
    clock.now = 4.0
    uses.cover(Extent(3 * MIB - 1, 4 * MIB + 1))

    assert [uses.at(index) for index in range(6)] == [1.0, 3.0, 4.0, 4.0, 4.0, 1.0]
    assert uses.latest == 4.0


HOUR = 3600.0


def test_time_goes_on_though_the_clock_is_set_back() -> None:
    """Else what is used from then on would be older than all that was used before, and go first."""
    clock = Clock(1000 * HOUR, 5.0)
    clock.follow(1000 * HOUR + 10, 15.0)
    assert clock.now == 1000 * HOUR + 10
    clock.follow(995 * HOUR, 25.0)
    assert clock.now == 1000 * HOUR + 20
    clock.follow(1003 * HOUR, 26.0)  # put forward, or the machine was suspended
    assert clock.now == 1003 * HOUR


def test_a_date_in_the_far_future_is_none() -> None:
    """A clock that was a year ahead for a moment stamped it; hours may be another machine's, or a time zone."""
    clock = Clock(1000 * HOUR)

    assert [clock.plausible(used) for used in (5.0, 1023 * HOUR, 10_000 * HOUR)] == [5.0, 1023 * HOUR, 0.0]


def test_a_content_that_was_used_next_year_makes_room_first(tmp_path: Path) -> None:
    first = Store(tmp_path)
    for name, ahead in (("next year", 9000 * HOUR), ("now", 0.0)):
        stored = first.open(ContentKey(name.replace(" ", "")), 2 * MIB, fingerprint(size=2 * MIB))
        first._clock.now += ahead
        fill(stored, mib(0, 2))
        stored.close()
        first._clock.now -= ahead
    first.close()
    store = Store(tmp_path, limit=Limit(5 * MIB))
    store._room.surveyed(census.at_rest(tmp_path / "contents", store._clock.plausible))
    stored = store.open(ContentKey("new"), SIZE, fingerprint())
    fill(stored, mib(0, 2))
    store.close()

    assert not Place(tmp_path / "contents", ContentKey("nextyear")).path(".data").exists()
    assert Place(tmp_path / "contents", ContentKey("now")).path(".data").exists()


@pytest.fixture
def limited(tmp_path: Path) -> Store:
    store = Store(tmp_path, limit=Limit(4 * MIB))
    store._room.surveyed(AtRest((), float))
    return store


def test_the_quota_holds_while_an_open_file_is_written(limited: Store, tmp_path: Path) -> None:
    """Of what is not used the oldest goes; who follows hears of every byte that does."""
    stored = limited.open(ContentKey("a"), SIZE, fingerprint())
    gone = ExtentSet()
    stored.follow_evictions(gone.add)
    for number in range(8):
        limited._clock.now += 1
        fill(stored, mib(number, number + 1))
        assert taken(tmp_path) <= 4 * MIB + 64 * 1024
        assert limited.used == pytest.approx(taken(tmp_path), abs=MIB)
    assert stored.written.covers(mib(7, 8))
    assert not any(stored.written.overlap(mib(0, 4)))
    assert gone == ExtentSet(ExtentSet(stored.written).missing(mib(0, 8)))
    limited.close()


@pytest.mark.parametrize("how", ["removed", "not a folder any more"])
def test_a_store_that_is_gone_can_be_closed(limited: Store, tmp_path: Path, how: str) -> None:
    """Its disk was pulled or somebody removed it: what was evicted from has no files to remove."""
    evicted, kept = (limited.open(ContentKey(name), SIZE, fingerprint()) for name in ("evicted", "kept"))
    fill(evicted, mib(0, 1))
    limited._clock.now += 1
    fill(kept, mib(0, 4))
    assert not evicted.written
    assert limited.evicted(evicted.key)
    shutil.rmtree(tmp_path / "contents")
    if how != "removed":
        (tmp_path / "contents").write_text("")

    evicted.close()
    limited.close()


@pytest.mark.parametrize("end", ["open", "closed", "killed"])
def test_what_is_reserved_around_scattered_bytes_counts_and_goes(limited: Store, tmp_path: Path, end: str) -> None:
    """A MiB is reserved for 64 KiB: the quota holds for that room too, and none of it stays behind."""
    key, size = ContentKey("a"), 64 * MIB
    stored = limited.open(key, size, fingerprint(size=size))
    for number in range(64):
        limited._clock.now += 1
        stored.write(number * MIB + 5000, bytes([number + 1]) * 65536)
        assert taken(tmp_path) <= 4 * MIB + 64 * 1024
    for extent in stored.written:
        assert stored.read(extent) == bytes([extent.start // MIB + 1]) * extent.length
    kept = stored.written.copy()
    if end == "open":
        limited.close()
        return
    if end == "closed":
        limited.close()
    else:
        stored._data.close()
        assert taken(tmp_path) > kept.total + MIB  # as a kill leaves it
    again = Store(tmp_path).open(key, size, fingerprint(size=size))
    assert taken(tmp_path) <= kept.total + MIB
    for extent in kept:
        assert again.there.covers(extent)
        assert again.read(extent) == bytes([extent.start // MIB + 1]) * extent.length
    again.release()


def test_what_a_thread_is_putting_is_not_punched(tmp_path: Path) -> None:
    """Chunks share blocks and reserved room with neighbours that are dropped while they land."""
    chunk = 100_000
    stored = Store(tmp_path).open(ContentKey("a"), 20 * chunk, fingerprint(chunk, 20 * chunk))
    stored.write(0, b"a" * chunk)
    stored.write(2 * chunk, b"c" * chunk)
    stored.put(chunk, memoryview(b"b" * chunk))  # by a thread; the loop has not heard of it yet
    stored.evict(Extent(0, chunk))
    stored.discard(Extent(2 * chunk, 3 * chunk))
    stored.landed(Extent(chunk, 2 * chunk), {})
    assert stored.read(Extent(chunk, 2 * chunk)) == b"b" * chunk
    before = stored.blocks
    stored.put(8 * chunk, memoryview(b"d" * chunk))
    stored.strayed(Extent(8 * chunk, 9 * chunk))
    assert stored.blocks <= before + 16
    stored.release()


def test_what_was_read_lately_stays(limited: Store) -> None:
    stored = limited.open(ContentKey("a"), SIZE, fingerprint())
    for number in range(3):
        limited._clock.now += 1
        fill(stored, mib(number, number + 1))
    limited._clock.now += 1
    stored.read(Extent(100, 200))
    for number in (4, 5):
        limited._clock.now += 1
        fill(stored, mib(number, number + 1))

    assert stored.written.covers(mib(0, 1))
    assert not any(stored.written.overlap(mib(1, 2)))
    limited.close()


def test_a_closed_content_makes_room_before_one_in_use_and_a_pinned_one_after_it(tmp_path: Path) -> None:
    """Bytes of earlier runs go by their last use; of a content that is left with none, no file stays."""
    first = Store(tmp_path)
    for name in ("old", "pinned"):
        stored = first.open(ContentKey(name), 2 * MIB, fingerprint(size=2 * MIB))
        fill(stored, mib(0, 1))
        stored.close()
    first.pin(ContentKey("pinned"), on=True)
    first.close()
    store = Store(tmp_path, limit=Limit(4 * MIB))
    store._clock.now += 10
    store._room.surveyed(census.at_rest(tmp_path / "contents", store._clock.plausible))
    assert store.used >= 2 * MIB
    stored = store.open(ContentKey("new"), SIZE, fingerprint())
    fill(stored, mib(0, 3))
    store.close()

    assert not Place(tmp_path / "contents", ContentKey("old")).path(".data").exists()
    again = Store(tmp_path)
    assert again.glance(ContentKey("pinned"), 2 * MIB).written == MIB
    assert again.pinned(ContentKey("pinned"))
    assert Place(tmp_path / "contents", ContentKey("pinned")).path(PIN).exists()
    assert again.glance(ContentKey("new"), SIZE).written >= 2 * MIB
    again.close()


def test_what_is_locked_goes_over_the_quota_and_ends_all_but_reading(limited: Store, tmp_path: Path) -> None:
    """A chunk longer than the quota has to be here whole to be verified; it goes when the next one is wanted."""
    stored = limited.open(ContentKey("a"), SIZE, fingerprint())
    locked = [mib(0, 6)]
    stored.spare(lambda: Spared(locked=tuple(locked), used=True))
    fill(stored, mib(0, 6))
    assert stored.written.covers(mib(0, 6))
    assert stored.room.allowance() is Priority.READ
    locked[0] = mib(6, 7)
    fill(stored, mib(6, 7))

    assert taken(tmp_path) <= 4 * MIB + 64 * 1024
    limited.close()


def test_background_work_ends_before_it_evicts(limited: Store) -> None:
    """Near the quota only what readers want is fetched, unless something was left for an hour."""
    stored = limited.open(ContentKey("a"), SIZE, fingerprint())
    assert stored.room.allowance() is Priority.BACKGROUND
    fill(stored, mib(0, 3), Extent(3 * MIB, 3 * MIB + MIB // 2))
    assert stored.room.allowance() is Priority.READAHEAD
    rest = rooms.Resting(ContentKey("b"), 4096, limited._clock.now - 2 * rooms.STALE, pinned=False)
    limited._room.left(rest)
    assert stored.room.allowance() is Priority.BACKGROUND
    limited.close()


def test_before_the_first_census_nothing_is_fetched_in_the_background(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=Limit(4 * MIB))
    assert store.allowance() is Priority.READAHEAD
    assert Store(tmp_path).allowance() is Priority.BACKGROUND


async def test_a_census_takes_in_what_others_write(tmp_path: Path) -> None:
    """The contents of other processes count, too."""
    store, other = Store(tmp_path, limit=Limit(4 * MIB)), Store(tmp_path)
    await store._survey()
    assert store.used == 0
    stored = other.open(ContentKey("other"), SIZE, fingerprint())
    fill(stored, mib(0, 2))
    await store._survey()

    assert store.used >= 2 * MIB
    other.close()
    store.close()


@pytest.mark.parametrize("chunk", [MIB, 1_000_000, 12_345])
def test_eviction_gives_back_whole_blocks_and_touches_no_others_byte(tmp_path: Path, chunk: int) -> None:
    """Chunks need not end where blocks do."""
    store = Store(tmp_path)
    stored = store.open(ContentKey("a"), SIZE, fingerprint(chunk))
    data = random.Random(1).randbytes(SIZE)
    stored.write(0, data)
    for index in range(1, SIZE // chunk, 2):
        stored.evict(Extent(index * chunk, (index + 1) * chunk))
        for part in stored.written.overlap(Extent((index - 1) * chunk, min((index + 2) * chunk, SIZE))):
            assert stored.read(part) == data[part.start : part.stop]
    for part in stored.written:
        assert stored.read(part) == data[part.start : part.stop]
    for index in range(SIZE // chunk + 1):
        stored.evict(Extent(index * chunk, (index + 1) * chunk).clip(SIZE))

    assert not stored.written
    assert stored.blocks * 512 <= 8192
    store.close()


def test_bytes_that_come_back_after_an_eviction_are_on_record_first(tmp_path: Path) -> None:
    """A manifest that calls the old bytes verified must not speak for the new ones, whatever happens."""
    store = Store(tmp_path)
    stored = store.open(ContentKey("a"), SIZE, fingerprint())
    fill(stored, mib(0, 2))
    stored.mark_verified(mib(0, 2))
    stored.checkpoint()
    stored.evict(mib(0, 1))
    stored.write(0, b"other bytes")
    stored.release()  # killed
    again = Store(tmp_path, boot=b"after a reboot..").open(ContentKey("a"), SIZE, fingerprint())

    assert not any(again.verified.overlap(mib(0, 1)))
    assert again.verified.covers(mib(1, 2))
    again.close()


def test_a_part_of_the_disk_is_a_quota() -> None:
    assert Limit(percent=10).of(1000) == 100
    assert Limit(5).of(1000) == 5
    assert gap(1 << 40) == 1 << 33
    assert gap(4 * MIB) == MIB // 2


def test_what_a_full_disk_cost_comes_again_once_there_is_room(tmp_path: Path) -> None:
    """Not at once, for it was fetched a moment before it went; under a quota it would go again."""
    for limit, left in ((None, False), (Limit(64 * MIB), True)):
        store = Store(tmp_path / str(left), limit=limit)
        stored = store.open(ContentKey("a"), SIZE, fingerprint())
        fill(stored, mib(0, 2))
        store._room.full(MIB)
        assert store.evicted(stored.key)
        store._clock.now += 1800
        store._room.relax()
        assert store.evicted(stored.key)
        store._clock.now += 1900
        store._room.relax()
        assert store.evicted(stored.key) is left
        stored.close()
        store.close()


def rested(directory: Path, names: dict[str, float], size: int = MIB) -> None:
    """Leave a store whose contents *names* were last used so many seconds ago."""
    store = Store(directory)
    for name in names:
        stored = store.open(ContentKey(name), size, fingerprint(size=size))
        fill(stored, Extent(0, size))
        stored.close()
    store.close()
    for name, ago in names.items():
        path = Place(directory / "contents", ContentKey(name)).path(".data")
        used = time.time() - ago
        os.utime(path, (used, path.stat().st_mtime))


def left_of(directory: Path) -> list[str]:
    found = census.take(directory / "contents")
    return sorted(key for key, rest in found.items() if rest.taken >= MIB // 2)


def test_what_is_done_unnoticed_is_no_use(tmp_path: Path) -> None:
    """`mountdl cache verify` must not make everything look as old as the hills: what is oldest goes first."""
    rested(tmp_path, {"a": 2000.0, "b": 1000.0})
    before = {key: rest.used_at for key, rest in census.take(tmp_path / "contents").items()}
    store = Store(tmp_path)
    store.unnoticed()
    for key in store.keys():  # noqa: SIM118  # a method of ours
        stored = store.reopen(key)
        stored.read(Extent(0, MIB))
        stored.close()
    store.close()

    after = {key: rest.used_at for key, rest in census.take(tmp_path / "contents").items()}
    assert after == {key: pytest.approx(used, abs=0.001) for key, used in before.items()}


def test_shrinking_takes_what_was_not_used_for_longest(tmp_path: Path) -> None:
    """Whatever the order of the keys, and however many there are; and leaves pins."""
    rested(tmp_path, {f"c{number:02}": 1000.0 * (50 - number if number % 2 else number) for number in range(50)})
    store = Store(tmp_path)
    store.unnoticed()
    store.pin(ContentKey("c49"), on=True)
    store.pin(ContentKey("c48"), on=True)
    store.shrink(5 * MIB)
    store.close()

    newest = ["c00", "c02", "c47"]  # of which the last does not fit where files take more than their bytes
    assert left_of(tmp_path) in [[*newest, "c48", "c49"], [*newest[:2], "c48", "c49"]]
    store = Store(tmp_path)
    store.unnoticed()
    store.shrink(0)
    store.close()
    assert left_of(tmp_path) == ["c48", "c49"]
