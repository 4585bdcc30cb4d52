"""Guess from the past reads of a content what will be read next. Pure.

A cursor belongs to a place in a content, not to a handle: a player that closes and opens again, or
two handles that read alternately, keep theirs. The kernel's requests arrive up to half a mebibyte out
of order, so nearness counts as sequence.
"""

from dataclasses import dataclass

from mountdl.extents import Extent

TOLERANCE = 512 << 10
"""Bytes before or after a cursor's position that still count as going on."""
EVIDENCE = 192 << 10
"""Bytes read in sequence before anything is fetched ahead: more than one kernel request."""
GROWTH = 1.5
"""The window is this many times what was read in sequence."""
SMALLEST_WINDOW = 3 << 20
"""Bytes: less would not outlast the round trip that it costs."""
LARGEST_WINDOW = 64 << 20
SMALLEST_CAP = 16 << 20
MOST_CURSORS = 8
LIFE = 60.0
"""Seconds that a cursor outlives its last read."""


@dataclass(slots=True)
class Cursor:
    """A place where reading goes on: *position* is next, *run* bytes came in sequence before it."""

    position: int
    run: int
    used_at: float
    window: Extent

    def near(self, extent: Extent) -> bool:
        """Say whether *extent* goes on from here."""
        return self.position - TOLERANCE <= extent.start <= self.position + TOLERANCE


class Readahead:
    """The cursors of one content."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.cursors: list[Cursor] = []

    def advance(self, extent: Extent, now: float, rate: float) -> Cursor:
        """Take a read in and return its cursor, whose window is what is worth fetching ahead.

        *rate* is what all sources together bring, in bytes a second: a window need not be longer than
        two seconds of it, nor less than `SMALLEST_CAP`.
        """
        cursor = self._find(extent)
        if cursor is None:
            cursor = self._new(extent, now)
        elif extent.stop > cursor.position:
            cursor.run += extent.stop - cursor.position
            cursor.position = extent.stop
        cursor.used_at = now
        cursor.window = self._window(cursor, rate)
        return cursor

    def expire(self, now: float) -> list[Cursor]:
        """Forget cursors that were not used for `LIFE` seconds and return them."""
        old = [cursor for cursor in self.cursors if now - cursor.used_at > LIFE]
        self.cursors = [cursor for cursor in self.cursors if now - cursor.used_at <= LIFE]
        return old

    def _find(self, extent: Extent) -> Cursor | None:
        near = [cursor for cursor in self.cursors if cursor.near(extent)]
        return min(near, key=lambda cursor: abs(cursor.position - extent.start), default=None)

    def _new(self, extent: Extent, now: float) -> Cursor:
        if len(self.cursors) >= MOST_CURSORS:
            self.cursors.remove(min(self.cursors, key=lambda cursor: cursor.used_at))
        cursor = Cursor(extent.stop, extent.length, now, Extent(extent.stop, extent.stop))
        self.cursors.append(cursor)
        return cursor

    def _window(self, cursor: Cursor, rate: float) -> Extent:
        start = min(cursor.position, self._size)
        if cursor.run < EVIDENCE:
            return Extent(start, start)
        cap = min(max(SMALLEST_CAP, int(rate * 2)), LARGEST_WINDOW)
        return Extent(start, start + min(max(int(cursor.run * GROWTH), SMALLEST_WINDOW), cap)).clip(self._size)
