"""Bytes between memory and a file without a copy in the page cache, by the best way that kernel and disk offer.

Law: it may do less than it was asked, never anything else: what it did not do is the page cache's. It does not know
what the bytes are. For worker threads: what it does may take as long as the disk does. What it opens for writing it
keeps until `close`, which is for when nobody writes.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Final

from mountdl.extents import Extent
from mountdl.pages import PAGE, aligned, padded, starts_page
from mountdl.store.kernel import CANT, DONTCACHE

SLOW: Final = 25e6
"""Bytes a second of one write, in the mean, below which the disk is left to the kernel, which need not wait for it."""
REST: Final = 30.0
"""Seconds until such a disk is tried again."""
_WEIGHT = 1 / 8
_LATER = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})  # the last from btrfs where room is short


class Bypass:
    """The ways past the page cache of one file system, as far as is known. *clock* counts seconds.

    O_DIRECT, which copies nothing (512 MiB took 0.06 s of processor time, with RWF_DONTCACHE 0.3-0.5 s, measured),
    else RWF_DONTCACHE.
    """

    __slots__ = ("_clock", "_direct", "_dontcache", "_kept", "_opening", "_slow_until", "_slowness", "_trial", "_tried")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._direct = self._dontcache = True
        self._slowness = 0.0  # seconds a byte
        self._slow_until = -inf
        self._tried = False
        self._kept: int | None = None  # opened for O_DIRECT, by one thread for all
        self._opening = threading.Lock()
        self._trial = threading.Lock()  # so that of a disk that may be slow only one thread finds out

    def write(self, fd: int, data: memoryview, offset: int, *, awaited: bool = False) -> int:
        """Write the beginning of *data* at *offset* and return how much. Raises OSError when the disk fails.

        *awaited*: somebody waits for the bytes to be written, and had better not wait for the disk as well.
        """
        done = 0 if awaited else self._write_direct(fd, data, offset)
        while self._dontcache and done < len(data):
            try:
                done += os.pwritev(fd, [data[done:]], offset + done, DONTCACHE)
            except OSError as error:
                if error.errno in _LATER:
                    break
                if error.errno not in CANT:
                    raise
                self._dontcache = False
        return done

    def _write_direct(self, fd: int, data: memoryview, offset: int) -> int:
        length = len(data) // PAGE * PAGE
        if offset % PAGE or not length or not starts_page(data) or self._clock() < self._slow_until:
            return 0
        if self._tried:
            return self._write_timed(fd, data[:length], offset)
        if not self._trial.acquire(blocking=False):
            return 0
        try:
            return self._write_timed(fd, data[:length], offset)
        finally:
            self._trial.release()

    def _write_timed(self, fd: int, data: memoryview, offset: int) -> int:
        begun = self._clock()
        direct = self._opened(fd)
        if direct is None:
            return 0
        try:
            done = os.pwrite(direct, data, offset)
        except OSError as error:
            self._note(error)
            return 0
        if done:
            self.weigh((self._clock() - begun) / done)
        return done // PAGE * PAGE

    @contextmanager
    def lent(self, fd: int, extent: Extent, *, cached: bool) -> Iterator[int | None]:
        """Yield a descriptor of the file *fd* for another process to write *extent* by; None: none can be had now.

        It is not *cached* where writes have gone past the page cache, and fast.
        """
        if not cached:
            fits = extent.start % PAGE == 0 and extent.length % PAGE == 0
            yield self._kept if fits and self._direct and self._tried and self._clock() >= self._slow_until else None
            return
        own = None
        with suppress(OSError):
            own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        try:
            yield own
        finally:
            if own is not None:
                os.close(own)

    def weigh(self, slowness: float) -> None:
        """Take in that a write took *slowness* seconds a byte."""
        self._slowness += (slowness - self._slowness) * _WEIGHT
        now = self._clock()
        if self._slowness * SLOW > 1:
            self._slowness, self._slow_until, self._tried = 0.0, now + REST, False
        elif now >= self._slow_until:
            self._tried = True

    def read(self, fd: int, extent: Extent) -> memoryview | None:
        """Return the bytes of *extent*; None when they have to be read another way, as when the disk fails."""
        first = extent.start // PAGE * PAGE
        shift = extent.start - first
        view = aligned(padded(-(-(shift + extent.length) // PAGE) * PAGE))
        try:
            done = self._read_direct(fd, view, first)
            if not done and self._dontcache:
                done = self._read_dontcache(fd, view, first)
        except OSError:
            return None  # the page cache may have them, where the disk has not
        return view[shift : shift + extent.length] if done >= shift + extent.length else None

    def _read_dontcache(self, fd: int, view: memoryview, first: int) -> int:
        try:
            return os.preadv(fd, [view], first, DONTCACHE)
        except OSError as error:
            if error.errno not in CANT:
                raise
            self._dontcache = False
            return 0

    def _opened(self, fd: int) -> int | None:
        """Return a descriptor of the same file by which to write past the page cache; None: there can't be one now."""
        with self._opening:
            if self._kept is None:
                self._kept = self._open(fd, os.O_RDWR)
            return self._kept if self._direct else None

    def close(self) -> None:
        """Close what is kept open. Nobody may be writing."""
        kept, self._kept = self._kept, None
        if kept is not None:
            os.close(kept)

    def _open(self, fd: int, flags: int) -> int | None:
        if not self._direct:
            return None
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_DIRECT)
        except OSError as error:  # no /proc, no leave, no such thing here: what is open already may do
            self._direct = error.errno in _LATER
            return None

    def _note(self, error: OSError) -> None:
        """Take in that what was opened can't be used; raise *error* where that says something of the disk."""
        if error.errno not in CANT | _LATER:
            raise error
        self._direct = error.errno in _LATER

    def _read_direct(self, fd: int, view: memoryview, first: int) -> int:
        direct = self._open(fd, os.O_RDONLY)
        if direct is None:
            return 0
        try:
            return os.preadv(direct, [view], first)
        except OSError as error:
            self._note(error)
            return 0
        finally:
            os.close(direct)
