"""Values that must survive only this run, set aside in a file without a name, so that memory need not hold them.

Law: what is on the shelf reads back as it was put there, whatever becomes of what it was made from. The file is
ours alone: it has no name and goes with the process. Room that was given back is used again for what has the
same length to within `_STEP`, so that the file is bounded by the most that it ever held, and not by time.

Blocking: what was put lately is in the page cache, where it is found in 2 us. It knows bytes, not what they mean.
"""

import os
from collections import deque
from pathlib import Path
from threading import Lock

from mountdl.errors import StoreDamaged
from mountdl.store.place import nameless, store_errors, write_all

_STEP = 64
"""Bytes that lengths are rounded up to: a descriptor that is written anew mostly fits where it was."""


class Shelf:
    """A file below *folder* without a name. May be used in any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None
        self._end = 0
        self._free: dict[int, deque[int]] = {}
        self._lock = Lock()

    def put(self, data: bytes) -> int:
        """Set *data* aside and return where. Raises StoreError when the disk can't take it."""
        room = _room(len(data))
        with store_errors("can't set aside what descriptors say"):
            with self._lock:
                if self._fd is None:
                    self._fd = nameless(self._folder)
                if waiting := self._free.get(room):
                    place = waiting.popleft()
                else:
                    place, self._end = self._end, self._end + room
            try:
                write_all(self._fd, data, place)
            except OSError:
                self.free(place, len(data))
                raise
        return place

    def get(self, place: int, length: int) -> bytes:
        """Return the *length* bytes at *place*. Raises StoreError when the disk does not give them back."""
        with store_errors("can't read what descriptors say"):
            data = b"" if self._fd is None else os.pread(self._fd, length, place)
        if len(data) != length:
            raise StoreDamaged("what descriptors say was set aside and is gone: mount anew")
        return data

    def free(self, place: int, length: int) -> None:
        """Give the room of *length* bytes at *place* back."""
        # Without the lock: this comes out of a destructor, which may interrupt who holds it. These two are atomic.
        self._free.setdefault(_room(length), deque()).append(place)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._end

    def close(self) -> None:
        """Let the file go; what was put there is gone."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _room(length: int) -> int:
    return -(-length // _STEP) * _STEP
