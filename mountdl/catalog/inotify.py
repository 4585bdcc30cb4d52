"""The kernel's reports of changes in folders (inotify(7)), as plain values.

Knows nothing of descriptors. ctypes because the standard library has no inotify.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
QUEUE_OVERFLOW = 0x4000
IGNORED = 0x8000
IS_FOLDER = 0x40000000

_ONLY_FOLDERS = 0x1000000
_WATCHED = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | _ONLY_FOLDERS
)
_HEAD = struct.Struct("iIII")
_BUFFER = 1 << 16

NO_ROOM = frozenset({errno.ENOSPC, errno.ENOMEM})
"""Errors of `add` that say: no more watches for this user (fs.inotify.max_user_watches)."""

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """Something happened to *name* in the folder of *watch*; to the folder itself when *name* is empty."""

    watch: int
    mask: int
    name: str


class _Queue:
    """Owns the kernel's queue: closed when nobody holds it, so a thread left behind can't hit a reused number."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.number < 0:
            raise _last_error()

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class Inotify:
    """A queue of events. Raises OSError when the kernel has none to give."""

    def __init__(self) -> None:
        self._queue = _Queue()

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable with an event."""
        return self._queue.number

    def adder(self) -> Callable[[str], int]:
        """Return what adds a watch on a folder's path and returns its number; safe in any thread.

        It raises OSError. A folder that is watched already keeps its number.
        """
        queue = self._queue

        def add(path: str) -> int:
            number: int = _libc.inotify_add_watch(queue.number, os.fsencode(path), _WATCHED)
            if number < 0:
                raise _last_error()
            return number

        return add

    def remove(self, watch: int) -> None:
        """Stop reports of *watch*; no matter if the kernel did already."""
        _libc.inotify_rm_watch(self._queue.number, watch)

    def read(self) -> list[Event]:
        """Return the events that wait, without waiting for any."""
        try:
            data = os.read(self._queue.number, _BUFFER)
        except BlockingIOError:
            return []
        return parse(data)


def parse(data: bytes) -> list[Event]:
    """Return the events packed in *data* (inotify(7), struct inotify_event)."""
    events: list[Event] = []
    offset = 0
    while offset + _HEAD.size <= len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        name = data[offset : offset + length].rstrip(b"\0")
        events.append(Event(watch, mask, os.fsdecode(name)))
        offset += length
    return events


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Adder:
    """Adds watches during a walk, until there is no room for more; *problem* says that this came to pass."""

    def __init__(self, inotify: "Inotify") -> None:
        self._add = inotify.adder()
        self.problem: OSError | None = None

    def __call__(self, path: str) -> int | None:
        """Watch *path*; return the watch, or None where that can't be done."""
        if self.problem is not None:
            return None
        try:
            return self._add(path)
        except OSError as error:
            if error.errno in NO_ROOM:
                self.problem = error
            return None
