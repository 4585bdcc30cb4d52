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
READ_ON = 192 << 10
"""Bytes read in sequence that let a stream from the head go on: more than one kernel request."""
EVIDENCE = 1 << 20
"""Bytes read in sequence before anything is fetched ahead. The kernel asks for up to so many before anybody reads them,
and they come with the first chunk: a copy is not slower for it, while who looks at a place (`bsdtar -t`, a player that
seeks) costs 3 MiB less."""
HEAD = 64 << 10
"""Bytes from a content's start in which a first read that misses starts a stream on trial: most programs that
look there read on, and the stream then saves them a round trip (`isoinfo` over 40 ms needs 4 MiB in a row)."""
HEAD_WINDOW = 4 << 20
"""Bytes from the start that such a stream brings; shorter files are read as any other place."""
BEYOND_HEAD = 1 << 20
"""Bytes behind these that are fetched at most before half of them was read in a row: directories and indexes end there,
and the kernel asks for so much behind their end. A copy has read that much before the head is here."""
TRIAL = 0.05
"""Seconds after the first read was answered in which the second must come, or the stream ends."""
GROWTH = 1.5
"""The window is this many times what was read in sequence."""
SMALLEST_WINDOW = 3 << 20
"""Bytes: less would not outlast the round trip that it costs."""
LANE = 2 << 20
"""Bytes of a window for each connection that pays, so that all have something to bring and something to go on with."""
LANE_TIME = 0.2
"""Seconds that it should last where there are several, if they are fast, and up to `SMALLEST_CAP`: one is late by its
round trip, and what it is to bring keeps the reader, the window with him and the others."""
LARGEST_WINDOW = 32 << 20
SMALLEST_CAP = 16 << 20
MOST_CURSORS = 8
LIFE = 60.0
"""Seconds that a cursor outlives its last read."""


@dataclass(slots=True)
class Cursor:
    """A place where reading goes on: *position* is next, *run* bytes before it were read in sequence, more or less.

    *trial_until*: when a stream from the head ends if nothing more is read; None: there is none. *came*: bytes that it
    has come since the first read, what was skipped included; what was read twice must not count for more.
    """

    position: int
    run: int
    used_at: float
    window: Extent
    trial_until: float | None = None
    came: int = 0

    def near(self, extent: Extent) -> bool:
        """Say whether *extent* goes on from here."""
        return self.position - TOLERANCE <= extent.start <= self.position + TOLERANCE


class Readahead:
    """The cursors of one content."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.cursors: list[Cursor] = []

    def advance(self, extent: Extent, now: float, rate: float, lanes: int = 1, *, missing: bool = False) -> Cursor:
        """Take a read in and return its cursor, whose window is what is worth fetching ahead.

        *rate* is what all sources together bring, in bytes a second: a window need not be longer than
        two seconds of it, nor less than `SMALLEST_CAP`. *lanes*: connections that pay. *missing*: the read has to
        wait for bytes.
        """
        cursor = self._find(extent)
        if cursor is None:
            self._end_trials(inf)
            cursor = self._new(extent, now)
            at_head = extent.start < HEAD and self._size > HEAD_WINDOW
            cursor.trial_until = inf if missing and at_head else None
        else:
            self._go_on(cursor, extent)
        if cursor.run >= READ_ON:
            cursor.trial_until = None
        cursor.used_at = now
        cursor.window = self._window(cursor, rate, lanes)
        return cursor

    @staticmethod
    def _go_on(cursor: Cursor, extent: Extent) -> None:
        """Count *extent*: what was skipped on the way was not read, what came out of order was."""
        cursor.came += max(0, extent.stop - cursor.position)
        cursor.position = max(cursor.position, extent.stop)
        cursor.run = min(cursor.run + extent.length, cursor.came)

    def widen(self, rate: float, lanes: int) -> None:
        """Take in that *lanes* connections pay: windows that are open may have become longer."""
        for cursor in self.cursors:
            if cursor.window:
                cursor.window = self._window(cursor, rate, lanes)

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
        cursor = Cursor(extent.stop, extent.length, now, Extent(extent.stop, extent.stop), came=extent.length)
        self.cursors.append(cursor)
        return cursor

    def _window(self, cursor: Cursor, rate: float, lanes: int) -> Extent:
        start = stop = min(cursor.position, self._size)
        if cursor.trial_until is not None or cursor.run >= READ_ON:
            stop = max(start, HEAD_WINDOW)
        if cursor.run >= EVIDENCE:
            cap = min(max(SMALLEST_CAP, int(rate * 2)), LARGEST_WINDOW)
            together = lanes * LANE if lanes == 1 else max(lanes * LANE, min(int(rate * LANE_TIME), SMALLEST_CAP))
            stop = start + min(max(int(cursor.run * GROWTH), SMALLEST_WINDOW, together), cap)
        if start < HEAD_WINDOW and cursor.run < HEAD_WINDOW // 2:
            stop = min(stop, HEAD_WINDOW + BEYOND_HEAD * lanes)
        return Extent(start, stop).clip(self._size)
