"""What the store has of the files of a torrent: what is not fetched, and what is given to others.

Law: while somebody may want more, something is wanted that is not here: a torrent that has all it wants says so to
its peers, they part, and the next read waits for new connections. What mirrors bring is not wanted of a swarm, nor
is what an earlier run left, as long as it is not known to be wrong.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mountdl.descriptors.model import TorrentFile
from mountdl.extents import Extent, ExtentSet
from mountdl.sources.base import Audience, Holdings
from mountdl.sources.swarm.layout import Layout

log = logging.getLogger(__name__)

AHEAD = ((2 << 20, 6), (8 << 20, 5), (32 << 20, 4))
"""Priorities of what lies, in bytes, behind what a reader is asked for: flights follow one another with gaps, in which
a swarm brings what is asked for next."""
FEWEST = 4
"""Pieces wanted of a file that mirrors may bring sooner: the last ones, where they come last."""


@dataclass(frozen=True, slots=True)
class Part:
    """A *file* of a torrent and where the store keeps it, verified and on the disk as far as *verified* says."""

    file: TorrentFile
    key: str
    path: Path
    verified: ExtentSet


@dataclass(eq=False, slots=True)
class Member:
    """A content that is a *file* of the torrent and in use, by the source named *source*; *mirrored*: it has others.

    *ahead*: the piece behind those that were last asked for by a reader, or for one. *placed*: libtorrent writes it
    where the store keeps it.
    """

    file: TorrentFile
    holdings: Holdings
    audience: Audience
    source: str
    mirrored: bool
    ahead: int | None = None
    placed: bool = False


def part_of(file: TorrentFile, holdings: Holdings) -> Part:
    """Return what *holdings* are now."""
    return Part(file, holdings.key, holdings.path, holdings.filed.copy())


def whole(member: Member) -> bool:
    """Say whether all of *member* is here."""
    return member.holdings.verified.covers(Extent(0, member.file.size))


def held(layout: Layout, parts: Iterable[Part]) -> list[bool]:
    """Say of each piece whether all of it is in *parts*."""
    return layout.held({part.file.index: part.verified for part in parts})


class Inventory:
    """The files of a torrent that are or were in use, and what the store has of each."""

    def __init__(self, layout: Layout) -> None:
        self.members: list[Member] = []
        self._layout = layout
        self._brought, self._remarked = 0, ""
        self._parts: dict[int, Part] = {}
        self._changes = 0
        self._counted: tuple[tuple[int, ...], int] = (), 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    def leave(self, member: Member) -> bool:
        """Take in that *member* is in use no more; say whether it was."""
        if member not in self.members:
            return False
        self.members.remove(member)
        self._parts[member.file.index] = part_of(member.file, member.holdings)
        self._changes += 1
        return True

    def forget(self, key: str) -> bool:
        """Take in that the bytes of content *key* go; say whether it is one of these."""
        gone = [index for index, part in self._parts.items() if part.key == key]
        for index in gone:
            del self._parts[index]
        self._changes += 1
        return bool(gone) or any(member.holdings.key == key for member in self.members)

    def closed(self) -> list[Part]:
        """Return what there was when they were left of files that nobody uses now; of empty ones peers get nothing."""
        used = {member.file.index for member in self.members}
        return [part for index, part in self._parts.items() if index not in used and part.file.size]

    def growing(self) -> bool:
        """Say whether mirrors have brought something since the last call of what is not here as a whole yet."""
        totals = [(each.holdings.verified.total, each.file.size) for each in self.members if each.mirrored]
        before, self._brought = self._brought, sum(total for total, size in totals if total < size)
        return self._brought > before

    def parts(self) -> list[Part]:
        """Return what there is now, of files that are not empty: those are in no piece."""
        for member in self.members:
            self._parts[member.file.index] = part_of(member.file, member.holdings)
        return [part for part in self._parts.values() if part.file.size and part.path.exists()]

    def whole(self) -> list[Part]:
        """Return those of which all is here."""
        return [part for part in self.parts() if part.verified.covers(Extent(0, part.file.size))]

    def poke(self) -> None:
        """Tell all in use that the limits of their source changed."""
        for member in self.members:
            member.audience.poke()

    def make_room(self) -> None:
        """Tell all in use that the disk was full."""
        for member in self.members:
            member.audience.crowded()

    def remark(self, source: str, what: str, level: int = logging.WARNING) -> None:
        """Tell all in use that *source* saw *what*, and the log, once in a row."""
        log.log(logging.DEBUG if what == self._remarked else level, "%s: %s", source, what)
        self._remarked = what
        for member in self.members:
            member.audience.remark(source, what)

    def held(self) -> list[bool]:
        """Say of each piece whether all of it is here."""
        return held(self._layout, self.parts())

    @property
    def count(self) -> int:
        """How many pieces are here, all of each. It is asked for at each tick, and mostly nothing has changed."""
        stamp = (self._changes, *(member.holdings.filed.total for member in self.members))
        if stamp != self._counted[0]:
            self._counted = stamp, sum(self.held())
        return self._counted[1]


def missing(layout: Layout, file: TorrentFile, there: ExtentSet, pieces: range | None = None) -> Iterator[int]:
    """Yield the pieces of *file*, or those of them among *pieces*, that are not *there*."""
    row = Extent(0, file.size)
    if pieces is not None:
        start, stop = pieces.start * layout.length - file.offset, pieces.stop * layout.length - file.offset
        row = row.intersection(Extent(max(0, start), max(0, start, stop)))
    last = -1
    for gap in there.missing(row):
        for piece in layout.pieces(file, gap):
            if piece > last:
                last = piece
                yield piece


def last_missing(layout: Layout, file: TorrentFile, there: ExtentSet) -> Iterator[int]:
    """Yield the pieces of *file* that are not *there*, the last first."""
    last = layout.count
    for gap in reversed(list(there.missing(Extent(0, file.size)))):
        for piece in reversed(layout.pieces(file, gap)):
            if piece < last:
                last = piece
                yield piece


def unasked(layout: Layout, member: Member, here: Sequence[int]) -> Iterable[int]:
    """Return the pieces of *member* that are wanted, and not *here*, whether anybody asks for them or not.

    All of them: while nobody waits hardly anything is fetched, and a few would all be here within 0.1 s of a fast
    peer. They have one priority, so that libtorrent takes the rarest first.
    """
    lacking = (piece for piece in last_missing(layout, member.file, member.holdings.there) if not here[piece])
    return islice(lacking, FEWEST) if member.mirrored else lacking


def window(layout: Layout, member: Member, here: Sequence[int]) -> Mapping[int, int]:
    """Return the priorities of those pieces of *member* that come before others, for readers will come there next.

    The nearer the higher: what a peer was asked for comes, up to a second of its rate, before anything asked later.
    """
    if member.mirrored or member.ahead is None:
        return {}
    found: dict[int, int] = {}
    for bytes_off, priority in AHEAD:
        pieces = range(member.ahead, member.ahead + max(1, bytes_off // layout.length))
        for piece in missing(layout, member.file, member.holdings.there, pieces):
            if not here[piece]:
                found.setdefault(piece, priority)
    return found
