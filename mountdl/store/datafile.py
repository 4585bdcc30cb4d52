"""The data file of one content: sparse, as long as the content, locked for as long as it is open.

Law: it moves bytes and knows what the disk has allocated; what the bytes are worth is not its matter.
`pread` and `pwrite` run where they are called, the loop's thread, on purpose: 128 KiB from the page
cache take some 15 us, a thread hop takes 60. What may take long (`sync`, `hash`) is for worker threads
and keeps the descriptor alive while it runs.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from mountdl.content import LARGEST
from mountdl.errors import StoreDamaged, StoreError, StoreFrozen
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import Hasher
from mountdl.store.bypass import Bypass
from mountdl.store.kernel import BLOCK, CANT, allocated, punch_hole, reserve
from mountdl.store.place import DATA, Place, open_frozen, open_locked, store_errors, write_sliced
from mountdl.store.recovery import whole_blocks
from mountdl.store.sums import Leaves

_HASH_STEP = 256 * 1024
_RESERVE = 1 << 20
"""Bytes asked of the file system at once before bulk is written there: filling a hole in ext4 costs 0.5 s
of processor time a GB, filling what is reserved 0.09 s, reserving a MiB 8 us (measured)."""
_BULK = 64 * 1024


class DataFile:
    """An open data file of *size* bytes."""

    __slots__ = (
        "_blocks",
        "_bypass",
        "_cant_write",
        "_closed",
        "_fd",
        "_glances",
        "_guard",
        "_landing",
        "_place",
        "_reserved",
        "_users",
        "created",
        "found_size",
        "frozen",
        "grain",
        "size",
    )

    def __init__(self, place: Place, size: int, *, frozen: bool = False) -> None:
        """Open or create the file and lock it. Its length is put right by `resize`, after a look at it.

        *frozen*: on a disk that takes nothing: it is as it is found, empty if there is none, and stays so.
        Raises StoreBusy, StoreFull, StoreFrozen, StoreDamaged or StoreError.
        """
        if not 0 <= size <= LARGEST:
            raise StoreError(f"no file can have {size} bytes")
        self.size, self.frozen = size, frozen
        self._place = place
        self._guard = threading.Lock()
        self._cant_write = f"can't write {place.path(DATA)}"
        self._users = 0
        self._bypass = Bypass()
        self._glances = True  # as far as is known of its file system
        self._reserved = ExtentSet()
        self._landing: list[Extent] = []  # put by threads, not told to the loop; what goes, goes guarded
        self._closed: bool = False
        with store_errors(f"can't open {place.path(DATA)}"):
            self._fd = open_frozen(place) if frozen else open_locked(place)
            found = os.fstat(self._fd)
            self.found_size, self._blocks = found.st_size, found.st_blocks
            self.grain = max(found.st_blksize, BLOCK)
            """The unit in bytes in which the file system allocates."""
        self.created = self.found_size == 0

    def resize(self, allocated: ExtentSet | None = None) -> None:
        """Make the file exactly as long as the content; what is added is a hole.

        What an earlier run reserved and never filled is given back: it takes room but is none of the *allocated*.
        """
        if self.frozen:
            return
        with store_errors(f"can't make room for {self.size} bytes in {self._place.path(DATA)}"):
            os.ftruncate(self._fd, self.size)
        if allocated is not None and self.blocks * BLOCK >= allocated.total + _RESERVE:
            for gap in list(allocated.missing(Extent(0, self.size))):
                self.punch(gap)

    def clear(self) -> None:
        """Drop every byte."""
        with store_errors(f"can't empty {self._place.path(DATA)}"):
            os.ftruncate(self._fd, 0)
            self.found_size = 0
            self.created = True

    @property
    def blocks(self) -> int:
        """How many blocks of 512 bytes the file takes, or took when the disk last told; 0 once it is closed."""
        if self._closed:
            return 0
        with suppress(OSError):  # EIO of a disk that was pulled out, ESTALE of a server that forgot
            self._blocks = os.fstat(self._fd).st_blocks
        return self._blocks

    @property
    def linked(self) -> bool:
        """Say whether the file still has its name: it may be deleted or replaced while it is open."""
        try:
            return os.path.samestat(self._place.path(DATA).lstat(), os.fstat(self._fd))
        except OSError:
            return False

    def read(self, extent: Extent) -> bytes:
        """Return the bytes of *extent*. StoreDamaged when the disk can't give all of them."""
        try:
            data = os.pread(self._fd, extent.length, extent.start)
        except OSError as error:
            raise self._unreadable(extent) from error
        if len(data) != extent.length:
            raise self._unreadable(extent)
        return data

    def glance(self, extent: Extent) -> bytes | bytearray | None:
        """Like `read`, but None when the disk would have to be waited for, or does not give all of it."""
        if not self._glances:
            return self.read(extent)
        buffer = bytearray(extent.length)
        try:
            count = os.preadv(self._fd, [buffer], extent.start, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in CANT:
                return None
            self._glances = False
            return self.read(extent)
        return buffer if count == extent.length else None

    def load(self, extent: Extent, *, cached: bool = True) -> memoryview:
        """Like `read`, for a worker thread. Not *cached*: the page cache keeps nothing that it did not have.

        Raises StoreDamaged, and StoreError when the file was closed meanwhile.
        """
        try:
            with self._borrowed() as fd:
                found = None if cached else self._bypass.read(fd, extent)
                return found if found is not None else self._load(fd, extent)
        except OSError as error:
            raise self._unreadable(extent) from error

    def _load(self, fd: int, extent: Extent) -> memoryview:
        view, done = memoryview(bytearray(extent.length)), 0
        while done < extent.length:
            count = os.preadv(fd, [view[done:]], extent.start + done)
            if not count:
                raise self._unreadable(extent)
            done += count
        return view

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put *data* at *offset*. StoreFull when there is no room, StoreFrozen or StoreError when the disk fails."""
        self._melted()
        if len(data) >= _BULK:
            self._reserve(Extent(offset, offset + len(data)))
        with store_errors(self._cant_write):
            write_sliced(self._fd, memoryview(data), offset)

    def put(self, offset: int, data: memoryview, *, cached: bool = True, awaited: bool = False) -> None:
        """Like `write`, for a worker thread. StoreError also when the file was closed meanwhile.

        Not *cached*: the page cache keeps the bytes until they are on disk at most, where that can be had; for what
        is *awaited* without waiting for the disk.
        """
        self._melted()
        extent = Extent(offset, offset + len(data))
        self.landing(extent)
        try:
            with self._borrowed() as fd, store_errors(self._cant_write):
                rest = 0 if cached else self._bypass.write(fd, data, offset, awaited=awaited)
                if rest < len(data):
                    reserve(fd, offset + rest, len(data) - rest)
                    write_sliced(fd, data[rest:], offset + rest)
        except StoreError:
            self.landed(extent)
            raise

    def hand_out(self, extent: Extent, give: Callable[[int], bool], *, cached: bool) -> bool:
        """Have *give* pass on a descriptor by which another process puts *extent*, as `put`; say if that can be had."""
        with suppress(StoreError), self._borrowed() as own:
            self._melted()
            # Not our own, by which the file would stay locked for as long as the process has it.
            with self._bypass.lent(own, extent, cached=cached) as fd:
                if fd is not None and give(fd):
                    self.landing(extent)
                    return True
        return False

    def handed_back(self, extent: Extent, seconds: float | None) -> None:
        """Take in that the other process wrote *extent*, past the page cache in so many *seconds*, or into it."""
        if seconds is not None:
            self._bypass.weigh(seconds / extent.length)

    def _melted(self) -> None:
        if self.frozen:
            raise StoreFrozen(f"{self._cant_write}: {os.strerror(errno.EROFS)} when it was opened")

    def landing(self, extent: Extent) -> None:
        """Take in that *extent* is put, or was put, where the loop does not know of it yet."""
        self._landing.append(extent)

    @property
    def quiet(self) -> bool:
        """Whether all that was put is known of."""
        return not self._landing

    @property
    def free(self) -> int:
        """How many bytes the disk has room for; 0 when it does not tell."""
        try:
            found = os.fstatvfs(self._fd)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def landed(self, extent: Extent) -> None:
        """Take in that the loop knows of *extent*, which `put` brought: it is not kept any longer."""
        with self._guard, suppress(ValueError):  # `remove` compares in Python, where threads take turns
            self._landing.remove(extent)

    def cost(self, extent: Extent) -> int:
        """Return how many bytes of disk a `write` of *extent* takes at most, what it reserves included."""
        if extent.length < _BULK:
            return extent.length
        return sum(part.length for part in self._reserved.missing(self._around(extent)))

    def _around(self, extent: Extent) -> Extent:
        return Extent(extent.start // _RESERVE * _RESERVE, min(-(-extent.stop // _RESERVE) * _RESERVE, self.size))

    def _reserve(self, extent: Extent) -> None:
        """Have the file system set room aside. One that can't, or is full, will be heard of by `write`."""
        for part in list(self._reserved.missing(self._around(extent))):
            reserve(self._fd, part.start, part.length)
            self._reserved.add(part)

    def punch(self, extent: Extent) -> None:
        """Give the disk back what *extent* takes; it reads as zeros then, where the file system can do that."""
        if not extent or self._closed:
            return
        self._melted()
        self._reserved.remove(extent)
        # Behind the end is nothing, and of a block that is not punched whole the room stays.
        stop = extent.stop if extent.stop < self.size else min(-(-extent.stop // self.grain) * self.grain, LARGEST)
        with store_errors(f"can't free room in {self._place.path(DATA)}"):
            punch_hole(self._fd, extent.start, stop - extent.start)

    def ask_for_room(self) -> None:
        """Return if the disk would give room back now, as far as it tells: StoreFrozen or StoreError where it won't."""
        self._melted()
        with store_errors(f"can't free room in {self._place.path(DATA)}"):
            punch_hole(self._fd, min(self.size, LARGEST - self.grain), self.grain)  # behind the end, where nothing is

    def drop(self, extent: Extent, there: ExtentSet) -> None:
        """Make zeros of *extent*, which holds no byte of *there*, and give back its room. StoreError: it can't."""
        self.punch(extent)
        self.relinquish(extent, there)

    def vacate(self, extent: Extent, there: ExtentSet) -> Extent:
        """Give back the blocks of *extent* that hold no byte of *there* nor any just being put; return them."""
        kept = self._kept(extent, there)
        if any(kept.overlap(extent)):
            return Extent(extent.start, extent.start)  # it is put once more, and counted when it has landed
        hole = whole_blocks(extent, kept, self.grain, self.size)
        self.punch(hole)
        self.relinquish(extent, there)
        return hole

    def relinquish(self, extent: Extent, there: ExtentSet) -> None:
        """Give back what was reserved around *extent* and holds no byte of *there*, which may never come."""
        for part in [] if self._closed else list(self._reserved.overlap(self._around(extent))):
            for gap in list(self._kept(part, there).missing(part)):
                start = -(-gap.start // self.grain) * self.grain
                stop = gap.stop if gap.stop == self.size else gap.stop // self.grain * self.grain
                with suppress(StoreError):
                    self.punch(Extent(start, max(start, stop)))

    def _kept(self, near: Extent, there: ExtentSet) -> ExtentSet:
        """Return what must stay in the blocks of *near*: of *there*, and of what threads are putting."""
        wide = Extent(max(0, near.start - self.grain), near.stop + self.grain)
        kept = ExtentSet(there.overlap(wide))
        for extent in tuple(self._landing):
            kept.add(extent.intersection(wide))
        return kept

    def hollow(self, extent: Extent) -> bool:
        """Say whether the file system tells that *extent* is a hole."""
        try:
            return os.lseek(self._fd, extent.start, os.SEEK_DATA) >= extent.stop
        except OSError as error:
            return error.errno == errno.ENXIO  # lseek(2): no data from there on

    @property
    def used_at(self) -> float:
        """When it was last used, in seconds since 1970, as far as the file system knows."""
        return os.fstat(self._fd).st_atime

    def stamp(self, used_at: float) -> None:
        """Have the file system remember *used_at*; one that can't, doesn't."""
        if self._closed or self.frozen:
            return
        with suppress(OSError):
            os.utime(self._fd, ns=(int(used_at * 1e9), os.fstat(self._fd).st_mtime_ns))

    def allocated(self) -> ExtentSet | None:
        """Return what the file has on disk, in whole blocks, or None when the file system can't tell."""
        try:
            found = allocated(self._fd)
        except OSError:
            return None
        # A file system without holes to report calls all of it data; then far fewer blocks are in use.
        if found.total == self.found_size and self.blocks * BLOCK < self.found_size // 2:
            return None
        return found

    def sync(self) -> None:
        """Return once all that was written before the call survives a power loss. For a worker thread.

        Raises OSError; the bytes written since the last success are then of unknown worth.
        """
        with self._borrowed() as fd:
            with self._guard:
                if self._users == 1:
                    self._bypass.close()  # of a file that nobody writes one descriptor is enough
            os.fdatasync(fd)

    def hash(self, extent: Extent, hasher: Hasher | None = None) -> dict[int, int]:
        """Feed *extent* to *hasher*, if any; return the sums of the whole leaves in it. For a worker thread.

        Raises StoreDamaged when the disk can't give all of it, StoreError once the file is closed.
        """
        leaves = Leaves(extent, self.size)
        buffer = memoryview(bytearray(min(_HASH_STEP, extent.length)))
        offset = extent.start
        with self._borrowed() as fd:
            while offset < extent.stop:
                wanted = buffer[: min(len(buffer), extent.stop - offset)]
                try:
                    count = os.preadv(fd, [wanted], offset)
                except OSError as error:
                    raise self._unreadable(extent) from error
                if not count:
                    raise self._unreadable(extent)
                if hasher is not None:
                    hasher.update(wanted[:count])
                leaves.update(wanted[:count])
                offset += count
        return leaves.found

    def let_go(self, extents: Iterable[Extent]) -> None:
        """Have the page cache put *extents* on the disk and drop what is there already. For a worker thread."""
        with suppress(OSError, StoreError), self._borrowed() as fd:
            for extent in extents:
                os.posix_fadvise(fd, extent.start, extent.length, os.POSIX_FADV_DONTNEED)

    def close(self, *, unlock: bool = True) -> None:
        """Close, or leave that to the thread that still uses it. With *unlock*, others may open it at once."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            if unlock:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._close_unused()

    @contextmanager
    def _borrowed(self) -> Iterator[int]:
        with self._guard:
            if self._closed:
                raise StoreError(f"{self._place.key} is closed")
            self._users += 1
        try:
            yield self._fd
        finally:
            with self._guard:
                self._users -= 1
                self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and self._users == 0:
            self._bypass.close()
            os.close(self._fd)

    def _unreadable(self, extent: Extent) -> StoreDamaged:
        return StoreDamaged(f"{self._place.path(DATA)} does not give back bytes {extent}")
