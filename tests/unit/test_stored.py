"""One open content: what counts, what survives, what the disk is told and when."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mountdl.content import ContentKey
from mountdl.errors import StoreCrowded, StoreDamaged, StoreError, StoreFull
from mountdl.extents import Extent
from mountdl.store import Store, Stored
from mountdl.store.journal import HEADER_LENGTH, RECORD_LENGTH
from mountdl.store.ledger import RUN_LENGTH
from mountdl.store.place import DATA, JOURNAL, MANIFEST, Place
from mountdl.store.quota import Spared

KEY = ContentKey("md5-00-ff")
BLOCK = 4096
SIZE = 8 * BLOCK
ONE, TWO = bytes(16), b"\1" * 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "cache", boot=ONE)
    yield made
    made.close()


@pytest.fixture
def stored(store: Store) -> Stored:
    return store.open(KEY, SIZE, "fp")


@pytest.fixture
def place(store: Store) -> Place:
    return Place(store.directory / "contents", KEY)


def block(index: int, count: int = 1) -> Extent:
    return Extent(index * BLOCK, (index + count) * BLOCK)


def fill(stored: Stored, extent: Extent, *, verified: bool = False) -> None:
    stored.write(extent.start, b"x" * extent.length)
    if verified:
        stored.mark_verified(extent)


def reopened(stored: Stored, store: Store, *, boot: bytes = ONE, fingerprint: str = "fp") -> Stored:
    """Open again what a killed process leaves; with another *boot*, in a time when no journal is believed."""
    stored.release()
    return Store(store.directory, boot=boot).open(KEY, stored.size, fingerprint)


def test_verified_bytes_are_not_overwritten(stored: Stored) -> None:
    """A write around verified bytes changes the others only."""
    fill(stored, block(1), verified=True)
    stored.write(0, b"y" * 3 * BLOCK)

    assert stored.read(block(0, 3)) == b"y" * BLOCK + b"x" * BLOCK + b"y" * BLOCK
    assert [block(0, 3)] == list(stored.written)
    assert [block(1)] == list(stored.verified)


def test_only_what_is_there_becomes_verified(stored: Stored) -> None:
    """A mark that comes after a discard does not make a hole count."""
    fill(stored, block(0, 3))
    stored.discard(block(1))
    stored.mark_verified(block(0, 3))

    assert [block(0), block(2)] == list(stored.verified)


def test_a_write_beyond_the_end_is_refused(stored: Stored) -> None:
    """The data file never grows beyond the content."""
    with pytest.raises(StoreError):
        stored.write(SIZE - 1, b"xx")


def test_a_content_without_bytes_is_fine(store: Store) -> None:
    """Size 0 has nothing to write and nothing to read."""
    stored = store.open(ContentKey("empty"), 0, "fp")
    stored.mark_verified(Extent(0, 0))
    stored.discard(Extent(0, 0))

    assert stored.read(Extent(0, 0)) == b""


def test_after_a_reboot_what_was_not_on_record_is_doubted(store: Store, stored: Stored) -> None:
    """A checkpoint counts in full; a journal of an earlier boot and data nobody mentions are in doubt."""
    fill(stored, block(0), verified=True)
    stored.checkpoint()
    fill(stored, block(2), verified=True)
    fill(stored, block(4))
    again = reopened(stored, store, boot=TWO)

    assert [block(0)] == list(again.verified)
    assert [block(0)] == list(again.written)
    assert [block(2), block(4)] == list(again.doubted)
    again.release()


def test_doubts_can_be_trusted_or_verified(store: Store, stored: Stored) -> None:
    """Trust makes written of a doubt, a matching hash makes it verified, both on record."""
    fill(stored, block(0, 3))
    again = reopened(stored, store, boot=TWO)
    again.trust(block(0))
    again.mark_verified(block(1))
    again.checkpoint()
    third = reopened(again, store, boot=TWO)

    assert [block(0, 2)] == list(third.written)
    assert [block(1)] == list(third.verified)
    assert [block(2)] == list(third.doubted)
    third.release()


def test_another_chunk_map_puts_everything_in_doubt(store: Store, stored: Stored) -> None:
    """Bytes that matched other digests must match these, also when the old map comes back."""
    fill(stored, block(0, 2), verified=True)
    stored.checkpoint()
    other = reopened(stored, store, fingerprint="other")
    assert (0, [block(0, 2)]) == (other.written.total, list(other.doubted))
    back = reopened(other, store)

    assert not back.verified
    back.release()


def test_another_size_starts_over(store: Store, stored: Stored) -> None:
    """A content of another size shares no bytes with this one."""
    fill(stored, block(0), verified=True)
    stored.checkpoint()
    stored.release()
    again = Store(store.directory, boot=ONE).open(KEY, SIZE - 1, "fp")

    assert (again.written.total, again.doubted.total, again.blocks) == (0, 0, 0)
    again.release()


def test_growth_is_journaled_in_runs(store: Store) -> None:
    """Flights that interleave each grow their own run; a kill costs each of them less than one run."""
    half = RUN_LENGTH // 2
    stored = store.open(ContentKey("big"), 16 * RUN_LENGTH, "fp")
    for step in range(3):
        for flight in (0, 8 * RUN_LENGTH):
            stored.write(flight + step * half, b"x" * half)
    stored.release()
    again = Store(store.directory, boot=ONE).open(stored.key, stored.size, "fp")

    assert [Extent(0, 2 * half), Extent(8 * RUN_LENGTH, 8 * RUN_LENGTH + 2 * half)] == list(again.written)
    assert 2 * half == again.doubted.total
    again.release()


def test_what_came_in_one_run_takes_one_record(store: Store) -> None:
    """That it is verified says no more after a kill than that it was written; once discarded it is told anew."""
    stored = store.open(ContentKey("big"), 16 * RUN_LENGTH, "fp")
    place, run = Place(store.directory / "contents", stored.key), Extent(0, RUN_LENGTH)
    fill(stored, run, verified=True)
    assert HEADER_LENGTH + RECORD_LENGTH == place.path(JOURNAL).stat().st_size

    stored.discard(run)
    fill(stored, run, verified=True)
    stored.release()
    again = Store(store.directory, boot=ONE).open(stored.key, stored.size, "fp")

    assert [run] == list(again.written)
    assert not again.doubted
    again.release()


def test_a_discard_is_on_disk_before_the_hole(stored: Stored, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is synced with the discard in it before a byte changes, when a checkpoint or one to come says more."""
    fill(stored, block(0, 4), verified=True)
    stored.checkpoint()
    fill(stored, block(5), verified=True)
    running = stored.begin_checkpoint()
    synced: list[tuple[str, bytes]] = []

    def fdatasync(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), place.path(DATA).read_bytes()[BLOCK : 2 * BLOCK]))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    stored.discard(block(1))
    stored.discard(block(5))
    journal = str(place.path(JOURNAL))
    assert [journal, journal] == [path for path, _ in synced]
    assert synced[0][1] == b"x" * BLOCK
    stored.discard(block(6))
    assert len(synced) == 2, "what no manifest says needs no sync"
    monkeypatch.undo()
    assert running is not None
    running.save()
    stored.end_checkpoint()


@pytest.fixture
def told(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is synced and renamed, in order, by file name suffix; the folder is "folder"."""
    seen: list[str] = []
    rename = os.rename

    def sync(fd: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{fd}"))
        seen.append("folder" if name == place.path(DATA).parent else name.name.removeprefix(KEY))

    def renamed(old: str, new: str, **folders: int) -> None:
        seen.append(f"{new.removeprefix(KEY)}!")
        rename(old, new, **folders)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(os, "rename", renamed)
    return seen


def test_a_checkpoint_goes_to_disk_in_order(stored: Stored, told: list[str]) -> None:
    """Data first, then the manifest under another name, then its name, then the folder."""
    fill(stored, block(0, 2), verified=True)
    stored.checkpoint()
    assert told == [DATA, f"{MANIFEST}.new", f"{MANIFEST}!", "folder"]
    stored.checkpoint()
    assert len(told) == 4, "what has not changed is not synced"


def test_a_new_journal_is_synced_with_its_name(store: Store, stored: Stored, told: list[str]) -> None:
    """A discard is not on disk while the file that holds it has no name there; later ones need only their bytes."""
    fill(stored, block(0, 2), verified=True)
    stored.checkpoint()
    stored.close()
    again = store.open(KEY, SIZE, "fp")
    told.clear()
    again.discard(block(0))
    again.discard(block(1))

    assert told == [JOURNAL, "folder", JOURNAL]


def test_a_journal_that_keeps_a_discard_is_synced_before_it_takes_its_place(stored: Stored, told: list[str]) -> None:
    """A discard that came during a checkpoint outlives a power loss right after it."""
    fill(stored, block(0, 2), verified=True)
    running = stored.begin_checkpoint()
    assert running is not None
    stored.discard(block(0))
    running.save()
    told.clear()
    stored.end_checkpoint()

    assert told == [f"{JOURNAL}.new", f"{JOURNAL}!", "folder"]


def test_a_discard_during_a_checkpoint_is_not_lost(store: Store, stored: Stored) -> None:
    """The manifest of a checkpoint begun before says more; the journal kept for it takes that back."""
    fill(stored, block(0, 3), verified=True)
    running = stored.begin_checkpoint()
    assert running is not None
    stored.discard(block(1))
    running.save()
    stored.end_checkpoint()
    stored.write(BLOCK, b"bad" * 1000)
    again = reopened(stored, store, boot=TWO)

    assert [block(0), block(2)] == list(again.verified)
    again.release()


def test_a_full_disk_refuses_bytes_and_still_lets_go(
    store: Store, stored: Stored, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for a record, a discard removes manifest and journal: a crash then leaves doubts, not lies."""
    stored.spare(lambda: Spared(locked=(Extent(0, stored.size),)))  # nothing can make room
    fill(stored, block(0, 3), verified=True)
    stored.checkpoint()

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", pwrite)
        with pytest.raises(StoreFull):
            stored.write(4 * BLOCK, b"x")
        assert not stored.written.covers(block(4))
        stored.discard(block(1))
        stored.mark_verified(block(0))
        stored.checkpoint()
        assert stored.dirty
    assert not place.path(MANIFEST).exists()
    assert [block(0), block(2)] == list(stored.verified)
    stored.checkpoint()
    assert not stored.dirty
    again = reopened(stored, store, boot=TWO)
    assert [block(0), block(2)] == list(again.verified)
    again.release()


@pytest.mark.parametrize("boot", [ONE, TWO])
def test_what_memory_holds_is_on_no_record(
    store: Store, stored: Stored, monkeypatch: pytest.MonkeyPatch, boot: bytes
) -> None:
    """Verified in memory while the disk took half a block of it: neither journal nor manifest says so, after any end."""
    everything = (Extent(0, SIZE),)
    fill(stored, block(0, 2), verified=True)
    put, half = os.pwrite, BLOCK // 2

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if len(data) < BLOCK:
            return put(fd, data, offset)
        put(fd, bytes(data[:half]), offset)
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", pwrite)
        stored.spare(lambda: Spared(everything))
        with pytest.raises(StoreCrowded):
            stored.write(3 * BLOCK, b"y" * BLOCK)
        stored.spare(lambda: Spared(everything, awaited=everything))
        stored.write(3 * BLOCK, b"y" * BLOCK)
        stored.mark_verified(block(3))
        assert stored.read(block(3)) == b"y" * BLOCK
        stored.checkpoint()
    assert stored.verified.covers(block(3))
    again = reopened(stored, store, boot=boot)

    assert list(again.verified) == [block(0, 2)]
    assert not any(again.written.overlap(block(3)))
    again.release()


def test_what_memory_holds_goes_to_the_disk_when_there_is_room(
    store: Store, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is verified on record then."""
    everything = (Extent(0, SIZE),)
    stored.spare(lambda: Spared(everything, awaited=everything))
    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        fill(stored, block(3), verified=True)
        stored.unload()
    assert stored.overflow.total == BLOCK
    assert stored.blocks == 0
    stored.unload()
    assert not stored.overflow
    again = reopened(stored, store, boot=ONE)

    assert list(again.written) == [block(3)]
    assert again.read(block(3)) == b"x" * BLOCK
    again.release()


def test_a_discard_calls_off_a_checkpoint_that_can_not_be_answered(
    stored: Stored, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the journal takes no record, a manifest on its way that says more does not get there."""
    fill(stored, block(0, 2), verified=True)
    running = stored.begin_checkpoint()
    assert running is not None
    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        stored.discard(block(0))
    running.save()
    stored.end_checkpoint()

    assert not place.path(MANIFEST).exists()
    stored.checkpoint()
    assert place.path(MANIFEST).exists()


def test_after_a_failed_sync_only_the_last_checkpoint_counts(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may call pages clean that never got to the disk, so they are fetched again."""
    fill(stored, block(0), verified=True)
    stored.checkpoint()
    fill(stored, block(1), verified=True)
    real = os.fdatasync
    failing = [OSError(errno.EIO, "dying")]

    def fdatasync(fd: int) -> None:
        if failing:
            raise failing.pop()
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    stored.checkpoint()

    assert [block(0)] == list(stored.verified)
    assert [block(0)] == list(stored.written)


def test_a_data_file_deleted_while_open_leaves_no_manifest(
    store: Store, stored: Stored, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads go on; what is on record afterwards is nothing, because there is nothing on disk."""
    fill(stored, block(0), verified=True)
    place.path(DATA).unlink()
    stored.checkpoint()
    stored.checkpoint()

    assert stored.read(block(0)) == b"x" * BLOCK
    assert not place.path(MANIFEST).exists()
    assert len(caplog.records) == 1
    again = reopened(stored, store)
    assert (again.written.total, again.doubted.total) == (0, 0)
    again.release()


def test_a_data_file_cut_short_heals_by_discard(stored: Stored, place: Place) -> None:
    """A read of what is gone says so; discarding and writing it again makes it whole."""
    fill(stored, block(0, 4), verified=True)
    os.truncate(place.path(DATA), BLOCK)
    with pytest.raises(StoreDamaged):
        stored.read(block(2))
    stored.discard(block(1, 3))
    fill(stored, block(1, 3), verified=True)

    assert stored.read(block(0, 4)) == b"x" * 4 * BLOCK


def test_a_journal_cut_short_while_open_is_no_accident(store: Store, stored: Stored, place: Place) -> None:
    """It goes on, and the next checkpoint has everything."""
    fill(stored, block(0), verified=True)
    os.truncate(place.path(JOURNAL), 3)
    fill(stored, block(1), verified=True)
    stored.checkpoint()
    fill(stored, block(2), verified=True)
    again = reopened(stored, store)

    assert [block(0, 3)] == list(again.written)
    assert [block(0, 2)] == list(again.verified), "after a kill only what was on record is verified"
    again.release()
