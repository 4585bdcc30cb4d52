"""What went wrong or was noteworthy with one content: what `mountdl why` tells."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mountdl.extents import Extent

KEPT = 200


@dataclass(frozen=True, slots=True)
class Incident:
    """At *at* (Unix time) *source* did *what*; *extent* is the bytes concerned, if any; *times* in a row."""

    at: float
    source: str | None
    what: str
    extent: Extent | None = None
    times: int = 1


class Incidents:
    """The last `KEPT` incidents; repetitions of the newest are counted, not kept twice."""

    def __init__(self) -> None:
        self._kept: deque[Incident] = deque(maxlen=KEPT)

    def __iter__(self) -> Iterator[Incident]:
        return iter(tuple(self._kept))

    def add(self, source: str | None, what: str, extent: Extent | None = None) -> None:
        """Note that *source* did *what* now."""
        times = 1
        if self._kept and (self._kept[-1].source, self._kept[-1].what) == (source, what):
            times = self._kept.pop().times + 1
        self._kept.append(Incident(time.time(), source, what, extent, times))
