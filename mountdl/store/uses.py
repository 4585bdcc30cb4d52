"""When the bytes of one content were last used, coarsely. Pure.

Law: noting a use costs a division and an assignment, for it stands on the path of every read that hits; and what is
kept does not grow with the content: a unit is a chunk, or as many as make `LEAST_UNIT` bytes and at most `MOST_UNITS`
of them. Chunks are known here as a length only.
"""

from collections.abc import Iterator

from mountdl.extents import Extent, ExtentSet

LEAST_UNIT = 1 << 20
MOST_UNITS = 65536


DAY = 86400.0


class Clock:
    """The time that uses are stamped with, in seconds since 1970; whoever owns it has it `follow` now and then.

    It never goes back: what is used after the system's clock was put right would else be older than all before.
    Once it was told to `stop`, uses are stamped as older than all others, which leaves no trace.
    """

    __slots__ = ("_latest", "_ticks", "now")

    def __init__(self, now: float = 0.0, ticks: float = 0.0) -> None:
        self.now = self._latest = now
        self._ticks = ticks

    def stop(self) -> None:
        """Have uses from now on count as none."""
        self.now = 0.0

    def follow(self, wall: float, ticks: float) -> None:
        """Go on: *wall* is what the system's clock says, *ticks* seconds of one that nobody sets."""
        self.now = self._latest = max(self.now + max(0.0, ticks - self._ticks), wall)
        self._ticks = ticks

    def plausible(self, used_at: float) -> float:
        """Return *used_at*, or 0 if that is far in the future: a clock that was wrong must keep nothing for years."""
        return used_at if used_at <= max(self.now, self._latest) + DAY else 0.0


class Uses:
    """The uses of a content of *size* bytes in chunks of *chunk*; all of it was last used at *since*."""

    __slots__ = ("_clock", "_stamps", "since", "unit")

    def __init__(self, size: int, chunk: int, clock: Clock, since: float) -> None:
        least = max(LEAST_UNIT, -(-size // MOST_UNITS))
        self.unit = max(1, -(-least // chunk)) * chunk
        self.since = since
        self._clock = clock
        self._stamps: dict[int, float] = {}

    def touch(self, offset: int) -> None:
        """Note that the unit that holds the byte at *offset* is used now."""
        self._stamps[offset // self.unit] = self._clock.now

    def cover(self, extent: Extent) -> None:
        """Note that all of *extent* is used now."""
        for index in range(extent.start // self.unit, -(-extent.stop // self.unit)):
            self._stamps[index] = self._clock.now

    def at(self, index: int) -> float:
        """Return when unit *index* was last used."""
        return self._stamps.get(index, self.since)

    @property
    def latest(self) -> float:
        """When any of it was last used."""
        return max(self._stamps.values(), default=self.since)

    def units(self, there: ExtentSet) -> Iterator[tuple[int, Extent]]:
        """Yield each unit that has a byte of *there*: its index and its extent."""
        done = -1
        for extent in there:
            for index in range(max(done + 1, extent.start // self.unit), -(-extent.stop // self.unit)):
                yield index, Extent(index * self.unit, (index + 1) * self.unit)
                done = index
