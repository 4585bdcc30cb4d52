"""Spans of bytes and sets of them.

Law: an extent is half-open, `[start, stop)`, in bytes of one content. Everything here is plain
arithmetic; this module imports nothing of the project.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """The bytes from *start* up to, not including, *stop*."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not an extent: {self.start}..{self.stop}")

    def __bool__(self) -> bool:
        return self.stop > self.start

    def __str__(self) -> str:
        return f"{self.start}-{self.stop}"

    @property
    def length(self) -> int:
        """How many bytes it spans."""
        return self.stop - self.start

    def clip(self, size: int) -> "Extent":
        """Return the part below *size*; empty when it lies wholly beyond."""
        return Extent(min(self.start, size), min(self.stop, size))

    def covers(self, other: "Extent") -> bool:
        """Say whether every byte of *other* is in this extent."""
        return not other or (self.start <= other.start and other.stop <= self.stop)

    def overlaps(self, other: "Extent") -> bool:
        """Say whether at least one byte is in both."""
        return max(self.start, other.start) < min(self.stop, other.stop)

    def intersection(self, other: "Extent") -> "Extent":
        """Return the bytes in both; an empty extent when there are none."""
        start = max(self.start, other.start)
        return Extent(start, max(start, min(self.stop, other.stop)))


class ExtentSet:
    """A set of bytes, kept as sorted disjoint extents."""

    # Invariant: _starts and _stops are sorted, _starts[i] < _stops[i] < _starts[i + 1]: extents that
    # touch are joined, so bisect on _stops finds the first one that may hold an offset.
    __slots__ = ("_starts", "_stops", "_total")

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._total = 0
        for extent in extents:
            self.add(extent)

    def __iter__(self) -> Iterator[Extent]:
        return (Extent(a, b) for a, b in zip(self._starts, self._stops, strict=True))

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtentSet) and self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        return f"ExtentSet({', '.join(map(str, self))})"

    @property
    def total(self) -> int:
        """How many bytes the set holds."""
        return self._total

    def copy(self) -> "ExtentSet":
        """Return an independent set of the same bytes."""
        twin = ExtentSet()
        twin._starts, twin._stops, twin._total = self._starts[:], self._stops[:], self._total
        return twin

    def add(self, extent: Extent) -> None:
        """Put every byte of *extent* in."""
        if not extent:
            return
        first = bisect_left(self._stops, extent.start)
        last = bisect_right(self._starts, extent.stop)
        start, stop = extent.start, extent.stop
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._replace(first, last, [(start, stop)])

    def remove(self, extent: Extent) -> None:
        """Take every byte of *extent* out."""
        if not extent:
            return
        first = bisect_right(self._stops, extent.start)
        last = bisect_left(self._starts, extent.stop)
        if first >= last:
            return
        head = (self._starts[first], extent.start)
        tail = (extent.stop, self._stops[last - 1])
        self._replace(first, last, [part for part in (head, tail) if part[0] < part[1]])

    def _replace(self, first: int, last: int, parts: list[tuple[int, int]]) -> None:
        self._total -= sum(self._stops[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start for start, _ in parts]
        self._stops[first:last] = [stop for _, stop in parts]
        self._total += sum(stop - start for start, stop in parts)

    def covers(self, extent: Extent) -> bool:
        """Say whether every byte of *extent* is in the set."""
        if not extent:
            return True
        i = bisect_right(self._stops, extent.start)
        return i < len(self._starts) and self._starts[i] <= extent.start and extent.stop <= self._stops[i]

    def missing(self, extent: Extent) -> Iterator[Extent]:
        """Yield the parts of *extent* that are not in the set, in order.

        Lazy: a caller that stops early pays only for what it took. Don't change the set meanwhile.
        """
        offset = extent.start
        i = bisect_right(self._stops, offset)
        while offset < extent.stop:
            start = self._starts[i] if i < len(self._starts) else extent.stop
            if offset < start:
                yield Extent(offset, min(start, extent.stop))
            if start >= extent.stop:
                return
            offset = self._stops[i]
            i += 1

    def overlap(self, extent: Extent) -> Iterator[Extent]:
        """Yield the parts of *extent* that are in the set, in order. Lazy like `missing`."""
        if not extent:
            return
        i = bisect_right(self._stops, extent.start)
        while i < len(self._starts) and self._starts[i] < extent.stop:
            yield Extent(max(self._starts[i], extent.start), min(self._stops[i], extent.stop))
            i += 1
