"""The store as a whole: opening, counting, looking, the janitor, other processes, disks that are full."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from mountdl.content import ContentKey
from mountdl.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, UsageError
from mountdl.extents import Extent
from mountdl.store import Glance, Store
from mountdl.store import store as stores
from mountdl.store.place import DATA, JOURNAL, MANIFEST, PIN, SUMS, Place
from mountdl.store.quota import Spared
from tests.support.content import content
from tests.support.turns import counting_turns

KEY = ContentKey("md5-00-ff")
SIZE = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "a" / "cache")
    yield made
    made.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_opens_share_and_the_last_close_lets_go(store: Store) -> None:
    """Each open needs its close; files are open as long as one of them is."""
    before = descriptors()
    one = store.open(KEY, SIZE, "fp")
    two = store.open(KEY, SIZE, "fp")
    assert one is two
    one.close()
    assert descriptors() > before
    one.read(Extent(0, 1))
    two.close()
    two.close()

    assert descriptors() == before


def test_what_is_dirty_waits_for_its_checkpoint_and_can_be_had_again(store: Store) -> None:
    """The last close of something written parks it; opening it again gives the same."""
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x")
    stored.close()

    assert store.open(KEY, SIZE, "fp") is stored
    assert stored.opens == 1


def test_descriptors_are_bounded(store: Store) -> None:
    """However many contents are touched between two looks of the janitor, few stay open."""
    before = descriptors()
    for index in range(150):
        stored = store.open(ContentKey(f"c-{index}"), SIZE, "fp")
        stored.write(0, b"x")
        stored.mark_verified(Extent(0, 1))
        stored.close()

    assert descriptors() - before <= 2 * 64
    store.close()
    assert descriptors() == before
    assert len(store.keys()) == 150


def test_a_checkpoint_under_way_is_not_closed_under(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Where a mount ends that has hundreds of files open: it was called off, and what it would say was on no record."""
    first = store.open(ContentKey("first"), SIZE, "fp")
    first.write(0, b"x")
    running = first.begin_checkpoint()
    assert running is not None
    first.close()
    for index in range(150):
        stored = store.open(ContentKey(f"c-{index}"), SIZE, "fp")
        stored.write(0, b"x")
        stored.close()
    running.save()
    store.close()
    header = Store(store.directory).recorded(first.key)
    assert header is not None
    assert header.written == 1
    assert not caplog.records


def test_one_content_has_one_size_and_chunk_map_at_a_time(store: Store) -> None:
    """Who has it open is not surprised by somebody else's idea of it; who closed it has no say."""
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x")
    with pytest.raises(StoreError):
        store.open(KEY, SIZE, "other")
    stored.close()

    assert store.open(KEY, SIZE, "other").fingerprint == "other"


def test_a_glance_tells_what_is_here(store: Store) -> None:
    """Open, closed, seen by the next process, asked for with another size, never stored."""
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x" * 8192)
    stored.mark_verified(Extent(0, 4096))
    here = Glance(8192, 4096, stored.blocks)
    assert here == store.glance(KEY, SIZE)
    stored.close()
    assert here == store.glance(KEY, SIZE)
    store.close()
    assert here == store.glance(KEY, SIZE)

    another = Store(store.directory)
    assert here == another.glance(KEY, SIZE)
    assert here == another.glance(KEY, SIZE)
    assert Glance(0, 0, here.blocks) == another.glance(KEY, SIZE + 1)
    assert frozenset({KEY}) == another.keys()
    path = Place(store.directory / "contents", KEY).path(MANIFEST)
    path.write_bytes(b"nonsense")
    assert Glance(0, 0, here.blocks) == another.glance(KEY, SIZE)


async def test_what_is_here_of_many_is_told_while_others_get_turns(store: Store) -> None:
    """`df` of a mount with thousands of files in the store must not stop its readers."""
    keys = [ContentKey(f"k{number}") for number in range(120)]
    for key in keys:
        stored = store.open(key, SIZE, "fp")
        stored.write(0, b"x" * 100)
        stored.close()
    shown = dict.fromkeys([*keys[20:], ContentKey("absent")], content(b"x" * SIZE))
    async with counting_turns() as turns:
        assert await store.written(shown) == 100 * 100
        assert turns.taken >= 1  # of the two that it gives; trio decides by chance who comes first in each


def test_a_content_never_stored_costs_no_system_call(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing a folder of files that nobody read yet asks the disk nothing."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a system call")

    with monkeypatch.context() as context:
        for name in ("stat", "lstat", "open", "fstat"):
            context.setattr(os, name, refuse)
        context.setattr(Path, "lstat", refuse)
        seen = store.glance(KEY, SIZE)

    assert seen == Glance(0, 0, 0)


def test_space_is_that_of_the_disk(store: Store) -> None:
    """Total, free and available are in this order of size."""
    space = store.space()

    assert space.total > space.free >= space.available >= 0


async def test_the_janitor_puts_on_record_what_is_dirty(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so every few seconds, lets closed contents go, and does it once more on its way out."""
    monkeypatch.setattr(stores, "CHECKPOINT_INTERVAL", 0.01)
    one, two = store.open(KEY, SIZE, "fp"), store.open(ContentKey("two"), SIZE, "fp")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        one.write(0, b"x")
        two.write(0, b"x")
        two.close()
        while one.dirty or store._parked:
            await trio.sleep(0.01)
        monkeypatch.setattr(stores, "CHECKPOINT_INTERVAL", 60)
        await trio.sleep(0.05)
        one.write(1, b"x")
        nursery.cancel_scope.cancel()

    assert not one.dirty
    assert Store(store.directory).glance(KEY, SIZE).written == 2


def gated_sync(monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[threading.Event, threading.Event]:
    """Have syncs of data wait; return what tells that one began, and what lets them go on within *seconds*."""
    begun, go_on, real = threading.Event(), threading.Event(), os.fdatasync

    def fdatasync(fd: int) -> None:
        begun.set()
        assert go_on.wait(seconds)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return begun, go_on


async def test_a_disk_that_hangs_does_not_hang_the_janitor(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that takes too long goes on alone; the content stays usable, later checkpoints hold it."""
    monkeypatch.setattr(stores, "CHECKPOINT_PATIENCE", 0.05)
    monkeypatch.setattr(stores, "CHECKPOINT_INTERVAL", 60)
    real = os.fdatasync
    _, hang = gated_sync(monkeypatch, 60)
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        nursery.cancel_scope.cancel()
    assert stored.busy
    stored.checkpoint()
    hang.set()
    while stored.busy:
        await trio.sleep(0.01)
    monkeypatch.setattr(os, "fdatasync", real)
    stored.write(1, b"x")
    stored.checkpoint()

    assert not stored.dirty


async def test_what_is_put_away_while_the_janitor_records_it_goes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record and closed afterwards, whoever's checkpoint it was."""
    monkeypatch.setattr(stores, "CHECKPOINT_INTERVAL", 0.01)
    begun, go_on = gated_sync(monkeypatch, 60)
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x")
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await trio.to_thread.run_sync(begun.wait, 60)
        stored.write(1, b"x")
        stored.close()
        async with trio.open_nursery() as putting:
            putting.start_soon(store.put_away, KEY)
            await trio.sleep(0.05)
            go_on.set()
        assert not store._parked
        assert Store(store.directory).glance(KEY, SIZE).written == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
async def test_what_is_let_go_at_the_end_of_a_checkpoint_is_on_record(store: Store, closed: bool) -> None:
    """Also when the loop has yet to hear that its thread has ended: what was discarded before is not so any more."""
    stored = store.open(KEY, SIZE, "fp")
    stored.discard(Extent(0, SIZE))
    stored.write(0, b"x" * 10)
    if closed:
        stored.close()
    running = stored.begin_checkpoint()
    assert running is not None
    running.save()
    if not closed:
        stored.close()
    await store.put_away(KEY)

    again = Store(store.directory).open(KEY, SIZE, "fp")
    assert [Extent(0, 10)] == list(again.written)
    again.close()


OTHER = """
import sys, pathlib
from mountdl.store import Store
from mountdl.extents import Extent
stored = Store(pathlib.Path(sys.argv[1])).open("md5-00-ff", 1 << 20, "fp")
stored.write(0, b"x" * 8192)
stored.mark_verified(Extent(0, 8192))
print("open", flush=True)
sys.stdin.read()
"""


def test_another_process_keeps_a_content_until_it_dies(store: Store) -> None:
    """Two processes never have one content open; a killed one leaves no lock, and its bytes count as written."""
    command = [sys.executable, "-c", OTHER, str(store.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreBusy):
            store.open(KEY, SIZE, "fp")
        store.open(ContentKey("another"), SIZE, "fp")
        other.kill()
        other.wait()
    stored = store.open(KEY, SIZE, "fp")

    assert [Extent(0, 8192)] == list(stored.written)
    assert not stored.verified
    assert not stored.doubted


def test_a_store_that_is_removed_under_us_is_made_anew(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is open reads on, all else begins anew: rm -rf of the cache made a mount useless until its end."""
    stored, other = store.open(KEY, SIZE, "fp"), ContentKey("md5-11-ff")
    stored.write(0, b"x")
    for act in (lambda: store.open(other, SIZE, "fp").close(), store.space, lambda: store.pin(other, on=True)):
        shutil.rmtree(tmp_path / "a")
        act()
        [said] = caplog.messages
        assert said.startswith(f"{store.directory} was removed under us; it is made anew")
        caplog.clear()
    assert stored.read(Extent(0, 1)) == b"x"
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert (store.directory / "CACHEDIR.TAG").exists()
    assert store.pinned(other)


def test_a_store_is_private_and_marked_as_a_cache(store: Store) -> None:
    """Nobody else may look; backup programs leave it out."""
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert (store.directory / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("obstacle", ["file", "file-above", "contents-link", "other-layout", "layout-link"])
def test_a_directory_that_can_not_be_used_is_told_with_a_remedy(tmp_path: Path, obstacle: str) -> None:
    """The text names the directory and the option."""
    directory = tmp_path / "cache"
    if obstacle == "file":
        directory.write_text("")
    elif obstacle == "file-above":
        (tmp_path / "x").write_text("")
        directory = tmp_path / "x" / "cache"
    else:
        directory.mkdir()
        if obstacle == "contents-link":
            (directory / "contents").symlink_to(tmp_path)
        elif obstacle == "layout-link":
            (directory / "layout").symlink_to("/etc/passwd")
        else:
            (directory / "layout").write_text("2\n")

    with pytest.raises(UsageError, match="--cache-dir") as caught:
        Store(directory)
    assert str(directory) in str(caught.value)


def test_what_does_not_belong_into_the_store_is_left_alone(store: Store, tmp_path: Path) -> None:
    """Strange names are no keys; a link in a content's place is refused and its target stays."""
    odd = store.directory / "contents" / "ab"
    odd.mkdir()
    for name in ("UPPER.data", "x y.data", "notes.txt", ".data"):
        (odd / name).write_text("")
    (store.directory / "contents" / "stray").write_text("")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place = Place(store.directory / "contents", KEY)
    place.make_folder()
    place.path(DATA).symlink_to(victim)
    again = Store(store.directory)

    assert again.keys() <= {KEY}
    with pytest.raises(StoreDamaged):
        again.open(KEY, SIZE, "fp")
    assert victim.read_text() == "precious"
    for key in ("../../victim", "", "x/y"):
        with pytest.raises(StoreError):
            again.open(ContentKey(key), SIZE, "fp")


@pytest.mark.parametrize("what", ["link", "link to a folder", "pipe", "folder"])
@pytest.mark.parametrize("suffix", [DATA, MANIFEST, JOURNAL, SUMS, PIN, MANIFEST + ".new", JOURNAL + ".new"])
def test_what_is_planted_in_the_place_of_a_file_leads_nowhere(tmp_path: Path, suffix: str, what: str) -> None:
    """Whatever is done to the content then: an error of ours or none, nothing outside read or written, no wait."""
    directory, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"precious" * 1000)
    store = Store(directory)
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x" * 100_000)
    stored.mark_verified(Extent(0, 100_000))
    stored.close()
    store.close()
    planted = Place(directory / "contents", KEY).path(suffix)
    planted.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(planted)
    elif what == "folder":
        planted.mkdir()
    else:
        planted.symlink_to(victim if what == "link" else outside)

    again = Store(directory)
    again.glance(KEY, SIZE)
    again.census()
    with suppress(StoreError):
        again.pin(KEY, on=True)
    with suppress(StoreError):
        opened = again.open(KEY, SIZE, "fp")
        assert opened.read(Extent(0, 100_000)) in {b"x" * 100_000, bytes(100_000)}
        opened.write(200_000, b"y" * 1000)
        opened.mark_verified(Extent(200_000, 201_000))
        opened.discard(Extent(0, 4096))
        opened.checkpoint()
        opened.close()
    again.close()
    with suppress(StoreError):
        again.pin(KEY, on=False)
    with suppress(StoreError):
        again.remove(KEY)

    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert victim.read_bytes() == b"precious" * 1000


def test_a_folder_of_the_store_that_is_a_link_leads_nowhere(store: Store, tmp_path: Path) -> None:
    """A link in the place of the folder that holds a content's files is refused, with the name to remove."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place = Place(store.directory / "contents", KEY)
    place.path(DATA).parent.symlink_to(outside)

    for act in (
        lambda: store.open(KEY, SIZE, "fp"),
        lambda: store.pin(KEY, on=True),
        lambda: store.remove(KEY),
    ):
        with pytest.raises(StoreError):
            act()
    assert store.census() == {}
    assert Store(store.directory).keys() == frozenset()
    assert list(outside.iterdir()) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "x", disk], check=False).returncode
    ):
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_heals(small: Path) -> None:
    """Writes fail with StoreFull, what is verified stays, discards make room, writing goes on."""
    store = Store(small / "cache")
    stored = store.open(KEY, SIZE, "fp")
    stored.spare(lambda: Spared(locked=(Extent(0, SIZE),)))  # or the oldest would make room
    kept = 0
    with pytest.raises(StoreFull):  # noqa: PT012 - how many fit is the disk's matter
        for offset in range(0, SIZE, 32768):
            stored.write(offset, b"x" * 32768)
            stored.mark_verified(Extent(offset, offset + 32768))
            kept = offset + 32768
    assert [Extent(0, kept)] == list(stored.verified)
    stored.checkpoint()
    stored.discard(Extent(0, 65536))
    stored.write(kept, b"y" * 32768)
    stored.mark_verified(Extent(kept, kept + 32768))
    stored.checkpoint()
    assert not stored.dirty
    stored.close()
    stored = store.open(KEY, SIZE, "fp")

    assert [Extent(65536, kept + 32768)] == list(stored.verified)
    assert stored.read(Extent(kept - 1, kept + 1)) == b"xy"
    store.close()


def test_a_read_only_disk_is_told_with_a_remedy(small: Path) -> None:
    """Even root can't keep a store there."""
    Store(small / "cache").close()
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)

    for directory in (small / "cache", small / "new"):
        with pytest.raises(UsageError, match="--cache-dir"):
            Store(directory)


def test_what_is_cut_off_is_lost_all_at_once(store: Store) -> None:
    """Before anything is written behind the cut, which would have a hole of zeros in between."""
    stored = store.open(KEY, SIZE, "fp")
    stored.write(0, b"x" * SIZE)
    assert [Extent(5, 6)] == stored.lost(Extent(5, 6))
    os.truncate(stored.path, 0)
    assert [Extent(5, 6), Extent(0, SIZE)] == stored.lost(Extent(5, 6))
    stored.close()
