"""A file that is on its way, and of which nobody knows how long it will be.

Law: it has no name, and its room goes back to the disk when it is closed. It never takes the room that a copy of
what is here already, in its content's data file, would need.
"""

import os
from collections.abc import Callable
from pathlib import Path

from mountdl.errors import StoreDamaged, StoreFull
from mountdl.extents import Extent
from mountdl.store.place import nameless, store_errors, write_all

STEP = 16 << 20
"""Bytes after which it is asked again whether there is room."""


class Spool:
    """A sink below *folder*. *room* says how many bytes may come beside the *count* that are here. Raises StoreError.

    *told* is called with how many bytes are here after each that came.
    """

    def __init__(self, folder: Path, room: Callable[[int], int], told: Callable[[int], None]) -> None:
        self._room, self._told = room, told
        self._allowed = 0
        with store_errors(f"can't make a file in {folder}"):
            self._fd = nameless(folder)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Take *data*, which begins at *offset*. Raises StoreFull, StoreError."""
        stop = offset + len(data)
        if stop > self._allowed:
            room = self._room(offset)
            if room < len(data):
                raise StoreFull(f"there is no room for more than its first {offset} bytes")
            self._allowed = offset + min(room, len(data) + STEP)
        with store_errors("can't set aside what comes"):
            write_all(self._fd, data, offset)
        self._told(stop)

    def room(self, offset: int) -> memoryview | None:
        """See `Sink`."""
        del offset
        return None

    def landed(self, extent: Extent) -> None:
        """See `Sink`: nothing is lent here."""
        raise NotImplementedError

    def read(self, extent: Extent) -> bytes:
        """Return the bytes of *extent*, which came. Raises StoreError."""
        with store_errors("can't read what came"):
            data = os.pread(self._fd, extent.length, extent.start)
        if len(data) != extent.length:
            raise StoreDamaged("what came is not there any more")
        return data

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)
