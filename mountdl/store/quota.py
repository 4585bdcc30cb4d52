"""Which chunks go when room is wanted. Pure: values in, values out.

Law: what is least recently used goes first, but for what is kept longer whatever its age: the first and last chunks
of files in use, what readers are about to read, and pins. What is locked is not offered at all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from heapq import heapify, heappop
from typing import NamedTuple

from mountdl.extents import Extent, ExtentSet
from mountdl.store.uses import Uses

GAP = 128
"""A hundred-and-twenty-eighth of the quota is freed at once, so that looking for what to free is rare."""
LEAST_GAP = 8 << 20


class Keep(IntEnum):
    """How long something is kept; the least goes first."""

    NORMAL = 0
    EDGE = 1
    """The first or last chunk of a file in use: players and file managers come back to these."""
    PINNED = 2
    AHEAD = 3
    """What a reader will want in a moment: to evict that is to fetch it twice."""


@dataclass(frozen=True, slots=True)
class Spared:
    """What somebody needs of an open content: *locked* must stay, *ahead* should; *used*: a download has it.

    *awaited*, part of *locked*, is what readers wait for: on a full disk memory holds it.
    """

    locked: tuple[Extent, ...] = ()
    ahead: tuple[Extent, ...] = ()
    used: bool = False
    awaited: tuple[Extent, ...] = ()


class Candidate(NamedTuple):
    """A unit of some content that may go: *owner* is the caller's number for the content. Sorted, first goes first."""

    keep: Keep
    used_at: float
    owner: int
    start: int
    stop: int
    length: int
    """How many bytes of it are stored."""


def gap(limit: int) -> int:
    """Return how many bytes below *limit* are made free at once."""
    return max(limit // GAP, min(limit // 8, LEAST_GAP))


def choose(candidates: Iterable[Candidate], wanted: int) -> Iterator[Candidate]:
    """Yield what goes, in order, until *wanted* bytes are found or nothing is left."""
    heap = list(candidates)
    heapify(heap)
    while heap and wanted > 0:
        chosen = heappop(heap)
        wanted -= chosen.length
        yield chosen


def candidates(owner: int, there: ExtentSet, uses: Uses, spared: Spared, size: int, *, pinned: bool) -> list[Candidate]:
    """Return the units of a content of *size* bytes, of which *there* is stored, that may go."""
    locked, ahead = ExtentSet(spared.locked), ExtentSet(spared.ahead)
    last = (size - 1) // uses.unit
    found = []
    for index, unit in uses.units(there):
        if locked and any(locked.overlap(unit)):
            continue
        keep = Keep.PINNED if pinned else Keep.NORMAL
        if ahead and any(ahead.overlap(unit)):
            keep = Keep.AHEAD
        elif spared.used and not pinned and index in (0, last):
            keep = Keep.EDGE
        length = unit.length if there.covers(unit) else sum(part.length for part in there.overlap(unit))
        found.append(Candidate(keep, uses.at(index), owner, unit.start, min(unit.stop, size), length))
    return found
