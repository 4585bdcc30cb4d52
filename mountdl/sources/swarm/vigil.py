"""That what peers get out of files which nobody here has open is still there: other processes make room in them too.

Law: libtorrent reads such a file without knowing of the store's locks, and would give zeros for what is a hole by now.
What has a hole where it should have bytes, or is not there under its name, is lost as a whole: which of the rest is
good only who opens it can tell. A look is one stat(2) a file, and more only where that tells of a change; a few
hundred files at a time, so that it holds nobody up.
"""

import os
from collections.abc import Sequence

from mountdl.sources.swarm.holdings import Part

AT_ONCE = 256
"""Files in one look: 1 us each (measured)."""

Stamp = tuple[int, int, int]


class Vigil:
    """What is known of the files that were looked at."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Part, Stamp]] = {}
        self._next = 0

    def lost(self, parts: Sequence[Part]) -> list[str]:
        """Return the keys of those *parts* of which anything has gone, as far as their turn has come."""
        if self._next >= len(parts):
            self._next = 0
        turn = parts[self._next : self._next + AT_ONCE]
        self._next += AT_ONCE
        return [part.key for part in turn if not self._sound(part)]

    def _sound(self, part: Part) -> bool:
        try:
            stamp = _stamp(part)
            seen = self._seen.get(part.file.index)
            # The part itself too: when it was left anew, other bytes may have to be there.
            if seen is not None and seen[0] is part and seen[1] == stamp:
                return True
            if not _there(part):
                return False
        except OSError:
            return False
        self._seen[part.file.index] = part, stamp
        return True


def _stamp(part: Part) -> Stamp:
    """Return what changes when bytes of a file go; not every file system counts a hole as a change of the bytes."""
    found = part.path.lstat()
    return found.st_ino, found.st_mtime_ns, found.st_blocks


def _there(part: Part) -> bool:
    """Say whether the file system has bytes wherever *part* is verified. Raises OSError."""
    fd = os.open(part.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_size < part.file.size:
            return False
        return all(os.lseek(fd, extent.start, os.SEEK_HOLE) >= extent.stop for extent in part.verified)
    finally:
        os.close(fd)
