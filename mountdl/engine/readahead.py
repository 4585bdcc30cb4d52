"""Guess from the past reads of a content what will be read next. Pure.

A cursor belongs to a place in a content, not to a handle: a player that closes and opens again, or
two handles that read alternately, keep theirs. The kernel's requests arrive up to half a mebibyte out
of order, so nearness counts as sequence.
"""

from dataclasses import dataclass
from math import inf

from mountdl.extents import Extent

TOLERANCE = 512 << 10
"""Bytes before or after a cursor's position that still count as going on."""
EVIDENCE = 192 << 10
"""Bytes read in sequence before anything is fetched ahead: more than one kernel request."""
HEAD = 64 << 10
"""Bytes from a content's start in which a first read that misses starts a stream on trial: most programs that
look there read on, and the stream then saves them a round trip (`isoinfo` over 40 ms needs 4 MiB in a row)."""
HEAD_WINDOW = 4 << 20
"""Bytes from the start that such a stream brings; shorter files are read as any other place."""
TRIAL = 0.05
"""Seconds after the first read was answered in which the second must come, or the stream ends."""
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
    """A place where reading goes on: *position* is next, *run* bytes came in sequence before it.

    *trial_until*: when a stream from the head ends if nothing more is read; None: there is none.
    """

    position: int
    run: int
    used_at: float
    window: Extent
    trial_until: float | None = None

    def near(self, extent: Extent) -> bool:
        """Say whether *extent* goes on from here."""
        return self.position - TOLERANCE <= extent.start <= self.position + TOLERANCE


class Readahead:
    """The cursors of one content."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.cursors: list[Cursor] = []

    def advance(self, extent: Extent, now: float, rate: float, *, missing: bool = False) -> Cursor:
        """Take a read in and return its cursor, whose window is what is worth fetching ahead.

        *rate* is what all sources together bring, in bytes a second: a window need not be longer than
        two seconds of it, nor less than `SMALLEST_CAP`. *missing*: the read has to wait for bytes.
        """
        cursor = self._find(extent)
        if cursor is None:
            self._end_trials(inf)
            cursor = self._new(extent, now)
            at_head = extent.start < HEAD and self._size > HEAD_WINDOW
            cursor.trial_until = inf if missing and at_head else None
        elif extent.stop > cursor.position:
            cursor.run += extent.stop - cursor.position
            cursor.position = extent.stop
        if cursor.run >= EVIDENCE:
            cursor.trial_until = None
        cursor.used_at = now
        cursor.window = self._window(cursor, rate)
        return cursor

    def answered(self, extent: Extent, now: float) -> None:
        """Take in that a read of *extent* got its bytes: a stream on trial there goes on for a moment only."""
        for cursor in self.cursors:
            if cursor.trial_until == inf and cursor.near(extent):
                cursor.trial_until = now + TRIAL

    @property
    def on_trial(self) -> bool:
        """Whether a stream will end soon if nothing more is read."""
        return any(cursor.trial_until is not None for cursor in self.cursors)

    def _end_trials(self, now: float) -> None:
        for cursor in self.cursors:
            if cursor.trial_until is not None and cursor.trial_until <= now:
                cursor.trial_until = None
                cursor.window = Extent(cursor.position, cursor.position)

    def expire(self, now: float) -> list[Cursor]:
        """Forget cursors that were not used for `LIFE` seconds and return them; end trials that are over."""
        self._end_trials(now)
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
            stop = start if cursor.trial_until is None else max(start, HEAD_WINDOW)
            return Extent(start, stop).clip(self._size)
        cap = min(max(SMALLEST_CAP, int(rate * 2)), LARGEST_WINDOW)
        return Extent(start, start + min(max(int(cursor.run * GROWTH), SMALLEST_WINDOW), cap)).clip(self._size)
