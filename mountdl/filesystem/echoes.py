"""Failed reads that the kernel is about to ask for again.

Linux asks twice: its readahead fails in silence, then it asks for the page itself. Where a file is mapped it asks for
that page once more. A read that timed out would wait its time-out each time (4 s of 2 measured, 8 s of 4 mapped).
Pure: times are arguments.
"""

from collections import deque

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent

ECHO = 0.5
"""Seconds: the kernel asks again within milliseconds; whoever reads later is to wait anew."""
TIMES = 2
"""How often the kernel asks again: once for a read, twice for a page that is mapped."""
_KEPT = 1000
"""As many as wait at once: hundreds that read one open file fail together."""


class Echoes:
    """The latest failures of one open file. Each answers `TIMES` reads at most."""

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: deque[tuple[Extent, float, ContentUnavailable, int]] = deque(maxlen=_KEPT)

    def add(self, extent: Extent, now: float, error: ContentUnavailable) -> None:
        """Take in that a read of *extent* just ended with *error*."""
        self._failed.append((extent, now, error, TIMES))

    def take(self, extent: Extent, now: float) -> ContentUnavailable | None:
        """Return the error that a read of *extent* is to end with at once, or None."""
        for failed in self._failed:
            covered, since, error, left = failed
            if covered.covers(extent) and now - since < ECHO:
                self._failed.remove(failed)
                if left > 1:
                    self._failed.append((covered, since, error, left - 1))
                return error
        return None
