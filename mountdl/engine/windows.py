"""What is wanted ahead of readers: one READAHEAD want for each cursor. Pure."""

from collections.abc import Callable

from mountdl.engine.demand import Demand, Want
from mountdl.engine.readahead import TOLERANCE, Cursor, Readahead
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

STEP = 16
"""A window that is open moves on by this part of its length at once, divided by the connections that pay, for one that
is idle finds nothing until then: what the planner gives to flights is more, and of 1024 reads of a copy over loopback
944 had it plan for nothing (4 % of the processor time)."""


class Windows:
    """Keeps *demand* in step with where readers of one content are.

    *pace* tells what is to be expected, in bytes a second, and of how many connections.
    """

    def __init__(self, demand: Demand, chunk_map: ChunkMap, pace: Callable[[], tuple[float, int]]) -> None:
        self._demand, self._chunk_map, self._pace = demand, chunk_map, pace
        self._readahead = Readahead(chunk_map.size)
        self._wants: dict[int, Want] = {}
        self._lanes = 1

    def advance(self, extent: Extent, now: float, held: ExtentSet) -> Extent | None:
        """Take a read of *extent* in; return the window that is wanted now if it changed and misses bytes."""
        rate, lanes = self._pace()
        cursor = self._readahead.advance(extent, now, rate, lanes, missing=not held.covers(extent))
        self._withdraw()
        return self._want(cursor, held, lanes)

    def widen(self, held: ExtentSet) -> None:
        """Want more ahead of readers where more connections pay now; who waits for one thing asks for no other."""
        rate, lanes = self._pace()
        before, self._lanes = self._lanes, lanes
        if lanes <= before:
            return
        self._readahead.widen(rate, lanes)
        for cursor in self._readahead.cursors:
            if id(cursor) in self._wants:
                self._want(cursor, held, lanes)

    def _want(self, cursor: Cursor, held: ExtentSet, lanes: int) -> Extent | None:
        old = self._wants.get(id(cursor))
        window = self._chunk_map.cover(cursor.window)
        if old is not None:
            if self._reaches(old.extent, window, lanes):
                return None
            self._demand.remove(old)
            del self._wants[id(cursor)]
        if not window or held.covers(window):
            return None
        self._wants[id(cursor)] = self._demand.add(window, Priority.READAHEAD)
        return window

    def _reaches(self, wanted: Extent, window: Extent, lanes: int) -> bool:
        """Say whether *wanted* holds nearly all of *window*, and nothing behind its end."""
        rest = window.stop - wanted.stop
        step = window.length // (STEP * lanes)
        enough = rest == 0 or (0 < rest < step and window.stop < self._chunk_map.size)
        return enough and wanted.start <= window.start

    def ahead(self, extent: Extent) -> bool:
        """Say whether some of *extent* is what a reader is expected to read next."""
        return any(
            extent.stop > cursor.position - TOLERANCE and extent.start < cursor.window.stop
            for cursor in self._readahead.cursors
        )

    def answered(self, extent: Extent, now: float) -> None:
        """Take in that a read of *extent* got its bytes."""
        self._readahead.answered(extent, now)

    @property
    def on_trial(self) -> bool:
        """Whether something is wanted only for a moment, unless reading goes on."""
        return self._readahead.on_trial

    def expire(self, now: float) -> None:
        """Withdraw what was wanted ahead of readers who went away."""
        self._readahead.expire(now)
        self._withdraw()

    def _withdraw(self) -> None:
        if not self._wants:
            return
        ahead = {id(cursor) for cursor in self._readahead.cursors if cursor.window}
        for gone in self._wants.keys() - ahead:
            self._demand.remove(self._wants.pop(gone))

    def clear(self) -> None:
        """Withdraw all of them until readers go on."""
        self.evicted(Extent(0, self._chunk_map.size))

    def evicted(self, extent: Extent) -> None:
        """Withdraw those that want of *extent*, which made room for others, until their readers go on.

        What is fetched for them would make room for itself: 1 GB in 20 s for four readers who rest, under a quota that
        holds what is ahead of two.
        """
        for number, want in list(self._wants.items()):
            if want.extent.overlaps(extent):
                self._demand.remove(want)
                del self._wants[number]
