"""What is wanted of one content in idle bandwidth, and whether it is used enough to want all of it. Pure."""

from collections.abc import Callable, Iterator

from mountdl.engine.demand import Demand, Want
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

USED = 16 << 20
"""Bytes read before a content counts as used, or half of a shorter one.

More than who only looks takes: file(1), which file managers call, reads 7 MiB at each end.
"""


class Background:
    """The BACKGROUND wants of one content, kept in step with *demand*."""

    def __init__(self, demand: Demand, chunk_map: ChunkMap) -> None:
        self._demand, self._chunk_map = demand, chunk_map
        self._wants: list[Want] = []
        self._unread = min(USED, -(-chunk_map.size // 2))

    def __bool__(self) -> bool:
        return bool(self._wants)

    def __iter__(self) -> Iterator[Want]:
        return iter(tuple(self._wants))

    def used(self, length: int) -> bool:
        """Take in that *length* bytes were read; say, once, that the content is really used."""
        before, self._unread = self._unread, self._unread - length
        return before > 0 >= self._unread

    def add(self, extent: Extent) -> Want:
        """Want *extent*, in whole chunks."""
        want = self._demand.add(self._chunk_map.cover(extent), Priority.BACKGROUND)
        self._wants.append(want)
        return want

    def remove(self, want: Want) -> None:
        """Withdraw *want*; one that is fulfilled already is no error."""
        self._demand.remove(want)
        if want in self._wants:
            self._wants.remove(want)

    def withdraw(self, extent: Extent) -> None:
        """Withdraw every want of a byte of *extent*."""
        for want in self:
            if want.extent.overlaps(extent):
                self.remove(want)

    def fulfil(self, readable: Callable[[Extent], bool]) -> None:
        """Withdraw what is readable."""
        for want in self:
            if readable(want.extent):
                self.remove(want)
