"""One sparse file: moving bytes, holes, locks, and disks that fail."""

import errno
import hashlib
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mountdl.content import ContentKey
from mountdl.errors import StoreBusy, StoreDamaged, StoreError, StoreFull
from mountdl.extents import Extent, ExtentSet
from mountdl.pages import aligned, padded
from mountdl.store.datafile import DataFile
from mountdl.store.place import DATA, Place

KEY = ContentKey("md5-00-ff")
SIZE = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "contents").mkdir()
    return Place(tmp_path / "contents", KEY)


@pytest.fixture
def data(place: Place) -> Iterator[DataFile]:
    file = DataFile(place, SIZE)
    file.resize()
    yield file
    file.close()


def test_it_is_sparse_private_and_as_long_as_the_content(place: Place, data: DataFile) -> None:
    """A new data file takes no room, and nobody else may read it."""
    found = place.path(DATA).stat()

    assert (found.st_size, found.st_blocks, found.st_mode & 0o777) == (SIZE, 0, 0o600)
    assert place.path(DATA).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_come_back(data: DataFile, kind: type) -> None:
    """Any kind of buffer is taken; the rest reads as zeros."""
    data.write(5, kind(b"0123456789"))

    assert data.read(Extent(3, 17)) == b"\0\0" + b"0123456789" + b"\0\0"


def test_a_hole_to_the_end_takes_the_last_block_with_it(place: Place) -> None:
    """Which the content fills only in part: what is discarded whole takes no room, and is not in doubt later."""
    file = DataFile(place, SIZE + 5)
    try:
        file.resize()
        file.write(SIZE - 4096, bytes([1]) * 4101)
        file.punch(Extent(SIZE - 4096, SIZE + 5))

        assert (file.blocks, place.path(DATA).stat().st_size) == (0, SIZE + 5)
        assert not file.allocated()
    finally:
        file.close()


def test_a_punched_hole_gives_its_room_back(data: DataFile) -> None:
    """What is punched is no longer allocated and reads as zeros; its neighbours stay."""
    data.write(0, b"x" * 65536)
    before = data.blocks
    data.punch(Extent(8192, 40960))
    allocated = data.allocated()

    assert data.blocks < before
    assert allocated is not None
    assert not any(allocated.overlap(Extent(8192, 40960)))
    assert data.read(Extent(8191, 8193)) == b"x\0"
    data.punch(Extent(3, 3))


def test_reading_beyond_a_file_cut_short_is_damage(place: Place, data: DataFile) -> None:
    """A data file that somebody truncated while it is open is noticed by reader and hasher."""
    data.write(0, b"x" * 100)
    os.truncate(place.path(DATA), 50)

    with pytest.raises(StoreDamaged):
        data.read(Extent(0, 100))
    with pytest.raises(StoreDamaged):
        data.hash(Extent(0, 100), hashlib.sha256())


def test_a_deleted_file_serves_on_and_knows_it(place: Place, data: DataFile) -> None:
    """The bytes live as long as the file is open; its name is gone."""
    data.write(0, b"x")
    assert data.linked
    place.path(DATA).unlink()

    assert not data.linked
    assert data.read(Extent(0, 1)) == b"x"
    place.path(DATA).write_bytes(b"another")
    assert not data.linked


def test_hashing_is_that_of_the_bytes(data: DataFile) -> None:
    """Steps of the reused buffer join without gaps."""
    content = os.urandom(700_000)
    data.write(1, content)
    hasher = hashlib.sha256()
    data.hash(Extent(1, 700_001), hasher)

    assert hashlib.sha256(content).digest() == hasher.digest()


def test_closing_waits_for_the_thread_that_hashes(place: Place, data: DataFile) -> None:
    """A file closed under a hashing thread is read to the end, its lock is free at once, later hashing is refused."""
    data.write(0, b"x" * SIZE)
    started, go, seen = threading.Event(), threading.Event(), []

    class Slow:
        def update(self, part: object) -> None:
            started.set()
            assert go.wait(60)
            seen.append(len(part))  # type: ignore[arg-type]

        def digest(self) -> bytes:
            return b""

    thread = threading.Thread(target=data.hash, args=(Extent(0, SIZE), Slow()))
    thread.start()
    assert started.wait(60)
    data.close()
    DataFile(place, SIZE).close()
    go.set()
    thread.join()

    assert sum(seen) == SIZE
    with pytest.raises(StoreError):
        data.hash(Extent(0, 1), hashlib.md5(usedforsecurity=False))


def test_it_is_open_once(place: Place, data: DataFile) -> None:
    """A second opener is told at once; after the close it may."""
    with pytest.raises(StoreBusy):
        DataFile(place, SIZE)
    data.close()
    DataFile(place, SIZE).close()


def test_a_file_that_can_not_grow_is_a_full_disk(data: DataFile) -> None:
    """A limit on file sizes answers as a disk without room does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreFull):
            data.write(8192, b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [-1, 1 << 63, 1 << 62])
def test_a_size_that_no_file_can_have_is_refused(place: Place, size: int) -> None:
    """Whatever a descriptor claims, the answer is an error of ours."""
    with pytest.raises(StoreError):
        DataFile(place, size).resize()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN])
def test_whatever_a_file_system_calls_it_a_disk_without_room_is_full(
    data: DataFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """So that what was not used for longest makes room; btrfs says "try again" now and then."""

    def full(fd: int, part: object, offset: int) -> int:
        raise OSError(number, "no room")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFull):
        data.write(0, b"x")
    with pytest.raises(StoreFull):
        data.put(0, memoryview(b"x"))


@pytest.mark.parametrize("plant", ["link", "dangling", "pipe", "folder", "folder-link"])
def test_what_is_planted_in_the_store_leads_nowhere(place: Place, tmp_path: Path, plant: str) -> None:
    """Links are not followed, pipes not waited for; what they point to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    place.make_folder()
    path = place.path(DATA)
    if plant == "folder":
        path.mkdir()
    elif plant == "pipe":
        os.mkfifo(path)
    elif plant == "folder-link":
        path.parent.rmdir()
        (tmp_path / "elsewhere").mkdir()
        path.parent.symlink_to(tmp_path / "elsewhere")
    else:
        path.symlink_to(victim if plant == "link" else tmp_path / "new")

    with pytest.raises(StoreError):
        DataFile(place, SIZE)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("elsewhere/*"))


@pytest.mark.parametrize("key", ["", "../x", "a/b", "A", ".hidden", "a\0b", "-x", "x" * 201, "a\n"])
def test_a_key_that_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    """No file name is made of it."""
    with pytest.raises(StoreError):
        Place(tmp_path, ContentKey(key))


def test_a_thread_that_forgets_its_bytes_forgets_no_others(data: DataFile) -> None:
    """Two may do so at once; what a third has just put keeps its room."""
    one, two, three = (Extent(start, start + 4096) for start in (0, SIZE // 4, SIZE // 2))
    for extent in (one, two, three):
        data.put(extent.start, memoryview(b"x" * extent.length))
    threads = []

    class Watched(Extent):
        """While it is compared, another thread forgets *one*, if nothing keeps it from that."""

        __hash__ = Extent.__hash__

        def __eq__(self, other: object) -> bool:
            found = isinstance(other, Extent) and other.start == self.start
            if found and not threads:
                threads.append(threading.Thread(target=data.landed, args=(one,)))
                threads[0].start()
                threads[0].join(0.2)
            return found

    data.landed(Watched(two.start, two.stop))
    threads[0].join()

    assert not data.vacate(three, ExtentSet())
    assert data.vacate(two, ExtentSet()) == two
    assert data.vacate(one, ExtentSet()) == one


def test_what_is_put_once_more_is_not_punched_when_the_first_copy_goes(data: DataFile) -> None:
    """A chunk that came, was dropped while a thread had it, and came again: of the second copy no byte may go."""
    whole = Extent(0, 256 * 1024)
    content = os.urandom(whole.length)
    for _ in range(2):
        data.put(0, memoryview(content))
    data.landed(whole)

    assert not data.vacate(whole, ExtentSet())
    assert data.read(whole) == content
    data.landed(whole)
    assert data.vacate(whole, ExtentSet()) == whole
    assert data.read(whole) == bytes(whole.length)


def test_a_disk_that_is_gone_is_asked_in_vain(data: DataFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was pulled out: what the file took is what it took last, and whether its name is there can't be known."""
    data.write(0, b"x" * 65536)
    taken = data.blocks

    def gone(fd: int) -> os.stat_result:
        raise OSError(errno.EIO, "gone")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", gone)
        assert data.blocks == taken > 0
        assert not data.linked
    assert data.linked


def test_a_file_that_nobody_writes_has_one_descriptor(place: Place, data: DataFile) -> None:
    """A stream keeps another for what goes past the page cache: until the next sync, and never beyond the close."""

    def descriptors() -> int:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sum(os.path.lexists(link) and os.readlink(link) == str(place.path(DATA)) for link in links)

    view = aligned(padded(SIZE))
    for _ in range(2):
        data.put(0, view, cached=False)
        assert 1 <= descriptors() <= 2  # where the file system knows O_DIRECT two
        data.sync()
        assert descriptors() == 1
    data.put(0, view, cached=False)
    data.close()
    assert descriptors() == 0
