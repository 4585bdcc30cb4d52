"""Bytes between memory and a file without a copy in the page cache, by the best way that kernel and disk offer.

Law: it may do less than it was asked, never anything else: what it did not do is the page cache's. It does not know
what the bytes are. For worker threads: what it does may take as long as the disk does.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
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

    __slots__ = ("_clock", "_direct", "_dontcache", "_slow_until", "_slowness", "_trial", "_tried")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._direct = self._dontcache = True
        self._slowness = 0.0  # seconds a byte
        self._slow_until = -inf
        self._tried = False
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
        done = self._directly(fd, os.O_RDWR, lambda direct: os.pwrite(direct, data, offset))
        if done:
            self._weigh((self._clock() - begun) / done)
        return done // PAGE * PAGE

    def _weigh(self, slowness: float) -> None:
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
            done = self._directly(fd, os.O_RDONLY, lambda direct: os.preadv(direct, [view], first))
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

    def _directly(self, fd: int, flags: int, act: Callable[[int], int]) -> int:
        """Return what *act* does with a descriptor of the same file that is opened for it alone; 0: it can't."""
        if not self._direct:
            return 0
        try:
            direct = os.open(f"/proc/self/fd/{fd}", flags | os.O_DIRECT)
        except OSError as error:  # no /proc, no leave, no such thing here: what is open already may do
            self._direct = error.errno in _LATER
            return 0
        try:
            return act(direct)
        except OSError as error:
            if error.errno not in CANT | _LATER:
                raise
            self._direct = error.errno in _LATER
            return 0
        finally:
            os.close(direct)
