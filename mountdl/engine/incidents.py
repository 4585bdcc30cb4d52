"""What went wrong or was noteworthy with one content: what `mountdl why` tells."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mountdl.errors import MountdlError, StoreError
from mountdl.extents import Extent

log = logging.getLogger(__name__)

KEPT = 200
LOGGED_EVERY = 600.0
"""Seconds between two lines in the log about failed reads of one content: a player tries again and again."""


@dataclass(frozen=True, slots=True)
class Incident:
    """At *at* (Unix time) *source* did *what*; *extent* is the bytes concerned, if any; *times* in a row."""

    at: float
    source: str | None
    what: str
    extent: Extent | None
    times: int


class Incidents:
    """The last `KEPT` incidents; repetitions of the newest are counted, not kept twice."""

    def __init__(self) -> None:
        self._kept: deque[Incident] = deque(maxlen=KEPT)
        self._logged_at = -math.inf

    def __iter__(self) -> Iterator[Incident]:
        return iter(tuple(self._kept))

    def add(self, source: str | None, what: str, extent: Extent | None = None) -> None:
        """Note that *source* did *what* now."""
        times = 1
        if self._kept and (self._kept[-1].source, self._kept[-1].what) == (source, what):
            times = self._kept.pop().times + 1
        self._kept.append(Incident(time.time(), source, what, extent, times))

    def read_failed(self, what: str, extent: Extent, why: str | MountdlError, now: float) -> None:
        """Note that a read of *extent* failed by *what*. The log says *why*, not too often; the store told it."""
        self.add(None, what, extent)
        if now - self._logged_at >= LOGGED_EVERY and not isinstance(why, StoreError):
            self._logged_at = now
            log.warning("a read failed: %s", why)
