"""Bytes that the disk had no room for, held in memory for who waits for them.

Law: a byte is here or in the data file, never in both; what is here is on no record, so that a crash leaves no claim to
it. Scraps are never altered and their tuple is replaced whole, so that a worker thread may read while the loop changes
it. It knows neither the disk nor who waits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from mountdl.extents import Extent, ExtentSet

MEMORY = 32 << 20
"""Bytes that all contents of a store may hold together: some chunks, for readers on a disk that is full."""

_order = count()


@dataclass(frozen=True, slots=True)
class Scrap:
    """*data* is the bytes of *extent*. A lower *number* came earlier."""

    extent: Extent
    data: memoryview
    number: int

    def part(self, extent: Extent) -> "Scrap":
        """Return its bytes in *extent*, which must be part of it."""
        start = extent.start - self.extent.start
        return Scrap(extent, self.data[start : start + extent.length], self.number)


class Overflow:
    """What one content has in memory.

    *begun* is told why when the first byte comes, *forgotten* what goes without getting to the disk.
    """

    __slots__ = ("begun", "forgotten", "scraps")

    def __init__(self) -> None:
        self.scraps: tuple[Scrap, ...] = ()
        self.begun: Callable[[str], None] = _ignored
        self.forgotten: Callable[[Extent], None] = _ignored

    def unheard(self) -> None:
        """Tell nobody any more."""
        self.begun = self.forgotten = _ignored

    def __bool__(self) -> bool:
        return bool(self.scraps)

    @property
    def total(self) -> int:
        """How many bytes of memory it takes."""
        return sum(scrap.extent.length for scrap in self.scraps)

    @property
    def extents(self) -> ExtentSet:
        """Which bytes are here."""
        return ExtentSet(scrap.extent for scrap in self.scraps)

    def beside(self, extents: ExtentSet) -> ExtentSet:
        """Return a copy of *extents* without what is here."""
        rest = extents.copy()
        for scrap in self.scraps:
            rest.remove(scrap.extent)
        return rest

    def add(self, extent: Extent, data: bytes | bytearray | memoryview) -> None:
        """Hold a copy of *data* as the bytes of *extent*; they replace others."""
        self.remove(extent)
        self.scraps = _sorted([*self.scraps, Scrap(extent, memoryview(bytes(data)), next(_order))])

    def remove(self, extent: Extent) -> None:
        """Let the bytes of *extent* go. A scrap of which some stays is copied, so that the memory is free."""
        if not any(scrap.extent.overlaps(extent) for scrap in self.scraps):
            return
        gone, kept = ExtentSet([extent]), []
        for scrap in self.scraps:
            if not scrap.extent.overlaps(extent):
                kept.append(scrap)
                continue
            for part in gone.missing(scrap.extent):
                left = scrap.part(part)
                kept.append(Scrap(part, memoryview(bytes(left.data)), scrap.number))
        self.scraps = _sorted(kept)

    def split(self, extent: Extent) -> Iterator[tuple[Extent, memoryview | None]]:
        """Yield the parts of *extent* in order, each with its bytes, or None where they are not here.

        Safe in a worker thread.
        """
        offset = extent.start
        for scrap in self.scraps:
            here = scrap.extent.intersection(extent)
            if not here:
                continue
            if offset < here.start:
                yield Extent(offset, here.start), None
            yield here, scrap.part(here).data
            offset = here.stop
        if offset < extent.stop:
            yield Extent(offset, extent.stop), None


def _ignored(told: object) -> None:
    """Nobody minds *told*."""


def _sorted(scraps: list[Scrap]) -> tuple[Scrap, ...]:
    return tuple(sorted(scraps, key=lambda scrap: scrap.extent.start))
