"""Failed reads that the kernel is about to ask for again.

Linux asks twice: its readahead fails in silence, then it asks for the page itself. Where a file is mapped it asks for
that page once more. A read that timed out would wait its time-out each time (4 s of 2 measured, 8 s of 4 mapped).
Who reads a page that another reads has the kernel wait for that one, and only then ask: six readers of one page that
nobody had took seven time-outs. So all who have a file open share what failed.
Pure: times are arguments.
"""

from collections import deque
from dataclasses import dataclass, field

from mountdl.errors import ContentUnavailable
from mountdl.extents import Extent

ECHO = 0.5
"""Seconds: the kernel asks again within milliseconds; whoever reads later is to wait anew."""
TIMES = 2
"""How often the kernel asks again: once for a read, twice for a page that is mapped."""
_KEPT = 1000
"""As many as wait at once: hundreds that read one open file fail together."""


@dataclass(eq=False, slots=True)
class _Failed:
    """A read of *extent* that ended at *since*, when *latest* was the youngest handle.

    *answered*: how many reads of each handle ended like it.
    """

    extent: Extent
    since: float
    error: ContentUnavailable
    latest: int
    answered: dict[int, int] = field(default_factory=dict)


class Echoes:
    """The latest failures of one file. Each answers `TIMES` reads at most of each who had it open then.

    Handles are numbers that ascend.
    """

    __slots__ = ("__weakref__", "_failed")

    def __init__(self) -> None:
        self._failed: deque[_Failed] = deque(maxlen=_KEPT)

    def add(self, extent: Extent, now: float, error: ContentUnavailable, latest: int) -> None:
        """Take in that a read of *extent* just ended with *error*; handles after *latest* are not open yet."""
        self._failed.append(_Failed(extent, now, error, latest))

    def take(self, extent: Extent, now: float, who: int) -> ContentUnavailable | None:
        """Return the error that a read of *extent* by the handle *who* is to end with at once, or None."""
        while self._failed and now - self._failed[0].since >= ECHO:
            self._failed.popleft()
        for failed in self._failed:
            times = failed.answered.get(who, 0)
            if failed.extent.covers(extent) and who <= failed.latest and times < TIMES:
                failed.answered[who] = times + 1
                return failed.error
        return None
