"""Read the data file of one content, and compare what an earlier run left there with its sums, once.

Law: the loop waits for no disk where the kernel can tell that it would have to: `glance` gives what the page cache
has, and what it has not is loaded by a thread, which counts only if nothing of the content went meanwhile. It does
not know what the bytes are worth.
"""

from collections.abc import Callable

from mountdl.extents import Extent, ExtentSet
from mountdl.store.datafile import DataFile
from mountdl.store.overflow import Overflow
from mountdl.store.sums import Sums, leaf, leaves, sums_of
from mountdl.store.trails import STREAM


class Load:
    """Bytes *extent* to be read from the disk: `run` is for a worker thread, all else is the loop's."""

    __slots__ = ("_data", "_unchecked", "extent", "found", "losses", "sums", "wide")

    def __init__(self, data: DataFile, extent: Extent, wide: Extent, losses: int, *, unchecked: bool) -> None:
        self.extent, self.wide, self.losses = extent, wide, losses
        self._data, self._unchecked = data, unchecked
        self.found = memoryview(b"")
        self.sums: dict[int, int] = {}

    def run(self) -> None:
        """Read. Raises StoreDamaged when the disk can't give all of it, StoreError once the file is closed."""
        self.found = self._data.load(self.wide, cached=self.extent.length < STREAM)
        if self._unchecked:
            self.sums = sums_of(self.found, self.wide.start, self._data.size)


class Reading:
    """Reads of *data* and, where the disk was full, of *overflow*; *there* tells what is stored.

    *rotten* is called with each leaf of what an earlier run left, *unchecked*, that is not what it was.
    """

    def __init__(
        self,
        data: DataFile,
        overflow: Overflow,
        sums: Sums,
        there: Callable[[], ExtentSet],
        rotten: Callable[[Extent], None],
    ) -> None:
        self._data, self._overflow, self._sums = data, overflow, sums
        self._there, self._rotten = there, rotten
        self.unchecked = ExtentSet()
        self.losses = 0
        """How often anything went: what was being loaded then may be what a hole reads as."""

    def read(self, extent: Extent) -> bytes | memoryview:
        """Return the bytes of *extent*. Raises StoreDamaged, or what `rotten` raises."""
        if not self._overflow:
            return self._read(extent)
        return b"".join(held or self._read(part) for part, held in self._overflow.split(extent))

    def _read(self, extent: Extent) -> memoryview:
        wide = self._wide(extent)
        return self._judged(extent, wide, memoryview(self._data.read(wide)))

    def glance(self, extent: Extent) -> bytes | memoryview | None:
        """Like `read` if that needs no wait for the disk, else None: `begin` then."""
        if self._overflow:
            return self.read(extent)
        wide = self._wide(extent)
        found = self._data.glance(wide)
        return self._judged(extent, wide, memoryview(found)) if found is not None else None

    def begin(self, extent: Extent) -> Load:
        """Return the load of *extent*, for a thread to `run`; `end` must follow."""
        unchecked = bool(self.unchecked) and any(self.unchecked.overlap(extent))
        return Load(self._data, extent, self._wide(extent), self.losses, unchecked=unchecked)

    def end(self, load: Load) -> memoryview | None:
        """Return what *load* found; None if anything went meanwhile. Raises what `rotten` raises."""
        if load.losses != self.losses:
            return None
        return self._judged(load.extent, load.wide, load.found, load.sums)

    def _wide(self, extent: Extent) -> Extent:
        """Return *extent*, longer by what else must be read to compare what it touches."""
        start, stop = extent.start, extent.stop
        for part in self.unchecked.overlap(extent) if self.unchecked else ():
            numbers = leaves(part)
            start = min(start, leaf(numbers[0], self._data.size).start)
            stop = max(stop, leaf(numbers[-1], self._data.size).stop)
        return Extent(start, stop)

    def _judged(
        self, extent: Extent, wide: Extent, found: memoryview, sums: dict[int, int] | None = None
    ) -> memoryview:
        """Return *extent* of *found*, the bytes *wide*, whose *sums* may be known, if its leaves are what they were."""
        suspects = list(self.unchecked.overlap(extent)) if self.unchecked else []
        if suspects and sums is None:
            sums = sums_of(found, wide.start, self._data.size)
        for part in suspects:
            for number in leaves(part):
                whole, told = leaf(number, self._data.size), self._sums.recall(number)
                self.unchecked.remove(whole)
                if told is not None and self._there().covers(whole) and (sums or {}).get(number) != told:
                    self._rotten(whole)
        return found[extent.start - wide.start : extent.stop - wide.start]
