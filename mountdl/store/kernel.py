"""What Linux offers for files beyond Python's `os`: room set aside, holes, and what passes the page cache by."""

import ctypes
import errno
import os
from collections.abc import Callable

from mountdl.extents import Extent, ExtentSet

# linux/falloc.h
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02

BLOCK = 512
"""stat(2): bytes of the unit of st_blocks, whatever the file system's own."""
DONTCACHE = 0x80
"""linux/fs.h: RWF_DONTCACHE, for preadv2(2) and pwritev2(2) since Linux 6.14: what comes into the page cache only by
this call goes again when it is read or on disk."""
CANT = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What a kernel or a file system says of something that it does not know."""


def _find_fallocate() -> Callable[[int, int, int, int], int]:
    libc = ctypes.CDLL(None, use_errno=True)
    # On 32 bits only the function with 64 in its name takes long offsets.
    function = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    return function


_fallocate = _find_fallocate()


def reserve(fd: int, start: int, length: int) -> None:
    """Have the file system set room aside. One that can't, or is full, will be heard of by what is written there."""
    _fallocate(fd, _KEEP_SIZE, start, length)


def punch_hole(fd: int, start: int, length: int) -> None:
    """Give the disk back what *length* bytes from *start* on take, where that can be done. Raises OSError."""
    if _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, length) == 0:
        return
    number = ctypes.get_errno()
    if number not in {errno.EOPNOTSUPP, errno.ENOSYS}:
        raise OSError(number, os.strerror(number))


def allocated(fd: int) -> ExtentSet:
    """Return what is no hole, in whole blocks (lseek(2), SEEK_DATA). Raises OSError."""
    found = ExtentSet()
    offset = 0
    while True:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no more data
                return found
            raise
        offset = os.lseek(fd, start, os.SEEK_HOLE)
        found.add(Extent(start, offset))
