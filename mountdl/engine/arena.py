"""Memory for chunks that other processes see as well.

Law: a slot is nobody else's for as long as it, or a view of it, is in use. What was never touched takes no memory.
"""

import fcntl
import mmap
import os
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
        self._used = ExtentSet()

    def cut(self, length: int) -> Slot | None:
        """Return memory for *length* bytes, its pages touched; None: no room is left, or the kernel has none."""
        whole = whole_pages(length)
        gap = next((gap for gap in self._used.missing(Extent(0, self.size)) if gap.length >= whole), None)
        if gap is None:
            return None
        try:
            os.posix_fallocate(self.fd, gap.start, whole)  # where memory is short a touch would end us, too
            slot = Slot(self.fd, whole, offset=gap.start, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except (OSError, ValueError):
            return None
        slot.offset, slot.length = gap.start, length
        used = Extent(gap.start, gap.start + whole)
        self._used.add(used)
        finalize(slot, self._used.remove, used)
        return slot
