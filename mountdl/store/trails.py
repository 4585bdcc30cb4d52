"""What streams leave behind in the page cache of data files that a swarm writes there.

The kernel keeps the mount's pages of what was read; those of the data file are there for nobody, push out what other
programs need, and on machines that give free memory back to a host each costs 2-9 us at its first touch (decision 18).
Law: it only advises, by what was read; what is not on the disk stays, and a read that comes again waits for the disk.
"""

from collections import deque

import trio

from mountdl.extents import Extent, ExtentSet
from mountdl.store.datafile import DataFile

STREAM = 128 << 10
"""Bytes: reads of so many are a stream, of which the kernel keeps the mount's pages; shorter ones look around, and may
come back."""
LENGTH = 32 << 20
"""Bytes of a trail that are let go together: so many reach a slow disk in one sweep."""


class Trails:
    """Those that are long enough to go; `run` sees to it."""

    def __init__(self) -> None:
        self._long: deque[Trail] = deque()
        self._more = trio.Event()

    def add(self, trail: "Trail") -> None:
        """Take in that *trail* is long enough."""
        self._long.append(trail)
        self._more.set()

    async def run(self) -> None:
        """Let them go until cancelled, in a thread: the disk may be slow to take what is not there yet."""
        while True:
            await self._more.wait()
            while self._long:
                trail = self._long.popleft()
                await trio.to_thread.run_sync(trail.data.let_go, trail.due(), abandon_on_cancel=True)
            self._more = trio.Event()


class Trail:
    """That of the readers of *data*; once it is long *trails* hears of it."""

    __slots__ = ("_before", "_length", "_read", "_trails", "data")

    def __init__(self, data: DataFile, trails: Trails) -> None:
        self.data, self._trails = data, trails
        self._read, self._before = ExtentSet(), ExtentSet()
        self._length = 0

    def follow(self, extent: Extent) -> None:
        """Take in that a reader has *extent*, out of the page cache."""
        if extent.length < STREAM:
            return
        self._read.add(extent)
        self._length += extent.length
        if self._length >= LENGTH:
            self._length = 0
            self._trails.add(self)

    def due(self) -> list[Extent]:
        """Return what is to go: what was read since the last time, and once more what was then.

        The first time its way to the disk begins, the second time it is there.
        """
        due = [*self._before, *self._read]
        self._before, self._read = self._read, ExtentSet()
        return due
