"""Failed reads that the kernel is about to ask for once more.

Linux asks twice: its readahead fails in silence, then it asks for the page itself. A read that timed out would
wait its time-out again (4 s of 2 measured). Pure: times are arguments.
"""

from collections import deque

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent

ECHO = 0.5
"""Seconds: the kernel asks again within milliseconds; whoever reads later is to wait anew."""
_KEPT = 16


class Echoes:
    """The latest failures of one open file. Each answers one read only."""

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: deque[tuple[Extent, float, ContentUnavailable]] = deque(maxlen=_KEPT)

    def add(self, extent: Extent, now: float, error: ContentUnavailable) -> None:
        """Take in that a read of *extent* just ended with *error*."""
        self._failed.append((extent, now, error))

    def take(self, extent: Extent, now: float) -> ContentUnavailable | None:
        """Return the error that a read of *extent* is to end with at once, or None."""
        for failed in self._failed:
            if failed[0].covers(extent) and now - failed[1] < ECHO:
                self._failed.remove(failed)
                return failed[2]
        return None
