"""What the store has of the files of a torrent: what is not fetched, and what is given to others."""

from dataclasses import dataclass
from pathlib import Path

from mountdl.descriptors.model import TorrentFile
from mountdl.extents import Extent, ExtentSet
from mountdl.sources.base import Audience, Holdings
from mountdl.sources.swarm.layout import Layout


@dataclass(frozen=True, slots=True)
class Part:
    """A *file* of a torrent and where the store keeps it, verified as far as *verified* says."""

    file: TorrentFile
    key: str
    path: Path
    verified: ExtentSet

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return self.verified.total == self.file.size


@dataclass(eq=False, slots=True)
class Member:
    """A content that is a *file* of the torrent and in use; *mirrored*: it has other sources."""

    file: TorrentFile
    holdings: Holdings
    audience: Audience
    mirrored: bool
    eager: bool = False


def part_of(file: TorrentFile, holdings: Holdings) -> Part:
    """Return what *holdings* are now."""
    return Part(file, holdings.key, holdings.path, holdings.verified.copy())


def missing(layout: Layout, file: TorrentFile, verified: ExtentSet) -> list[int]:
    """Return the pieces of *file* that are not *verified*."""
    found: dict[int, None] = {}
    for gap in verified.missing(Extent(0, file.size)):
        for piece in layout.pieces(file, gap):
            found[piece] = None
    return list(found)
