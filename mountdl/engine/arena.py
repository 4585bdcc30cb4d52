"""Memory for chunks that other processes see as well.

Law: a slot is nobody else's for as long as it, or a view of it, is in use. What was never touched takes no memory.
"""

import ctypes
import fcntl
import mmap
import os
from collections import deque
from weakref import finalize

from mountdl.extents import Extent, ExtentSet
from mountdl.pages import Slot, whole_pages


class Arena:
    """*size* bytes that others map by *fd*. Raises OSError where the kernel has no such thing (memfd_create(2))."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("mountdl-chunks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        finalize(self, os.close, self.fd)
        os.ftruncate(self.fd, size)
        # Whoever cut it would end us: what is behind the end of a file can't be touched (SIGBUS).
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._map = mmap.mmap(self.fd, size)  # once: each mapping has a descriptor of its own
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._used = ExtentSet()
        # Slots go in any thread, and in the midst of what is done here: what goes is noted, in one step.
        self._gone: deque[Extent] = deque()

    def cut(self, length: int) -> Slot | None:
        """Return memory for *length* bytes, its pages touched; None: there is no room, or the kernel has no memory."""
        while self._gone:
            self._used.remove(self._gone.popleft())
        whole = whole_pages(length)
        gap = next((gap for gap in self._used.missing(Extent(0, self.size)) if gap.length >= whole), None)
        if gap is None:
            return None
        try:
            os.posix_fallocate(self.fd, gap.start, whole)  # where memory is short a touch would end us, too
        except OSError:
            return None
        slot = (ctypes.c_char * length).from_buffer(self._map, gap.start)
        ctypes.memset(slot, 0, length)
        used = Extent(gap.start, gap.start + whole)
        self._used.add(used)
        finalize(slot, self._gone.append, used)
        return slot

    def offset(self, view: memoryview) -> int | None:
        """Return where in it the slot begins that *view* is of; None: it is of none."""
        if not isinstance(view.obj, ctypes.Array):
            return None
        return ctypes.addressof(view.obj) - self._start
