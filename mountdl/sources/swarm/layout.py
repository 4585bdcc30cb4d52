"""Where the files of a torrent lie in its pieces. Pure.

Law: a piece may hold bytes of several files (version 1) and padding that nobody sees.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping

from mountdl.descriptors.model import Torrent, TorrentFile
from mountdl.extents import Extent, ExtentSet


class Layout:
    """The row of bytes that *torrent* cuts into pieces."""

    def __init__(self, torrent: Torrent) -> None:
        self.length = torrent.piece_length
        self.count = torrent.piece_count
        self.files = tuple(sorted((file for file in torrent.files if file.size), key=lambda file: file.offset))
        self._starts = [file.offset for file in self.files]
        self._stops = [file.offset + file.size for file in self.files]

    def pieces(self, file: TorrentFile, extent: Extent) -> range:
        """Return the pieces that hold bytes of *extent* of *file*."""
        if not extent:
            return range(0)
        return range((file.offset + extent.start) // self.length, (file.offset + extent.stop - 1) // self.length + 1)

    def part(self, file: TorrentFile, piece: int) -> tuple[Extent, int]:
        """Return the extent of *file* that is in *piece*, and where in the piece it begins."""
        start = max(piece * self.length, file.offset)
        stop = max(start, min((piece + 1) * self.length, file.offset + file.size))
        return Extent(start - file.offset, stop - file.offset), start - piece * self.length

    def sharing(self, piece: int) -> tuple[TorrentFile, ...]:
        """Return the files that have bytes in *piece*."""
        first = bisect_right(self._stops, piece * self.length)
        last = bisect_left(self._starts, (piece + 1) * self.length)
        return self.files[first:last]

    def fills(self, file: TorrentFile) -> bool:
        """Say whether *file* has as many pieces to itself as it shares with others, or more."""
        pieces = self.pieces(file, Extent(0, file.size))
        shared = sum(len(self.sharing(piece)) > 1 for piece in {pieces[0], pieces[-1]}) if pieces else 0
        return len(pieces) >= 2 * shared

    def held(self, verified: Mapping[int, ExtentSet]) -> list[bool]:
        """Say of each piece whether it is whole in *verified*, the bytes known to be good by index of file."""
        found = [False] * self.count
        ends: set[int] = set()
        for file in self.files:
            for extent in verified.get(file.index, ()):
                pieces = self.pieces(file, extent)
                # In all but the first and the last there is no other file.
                found[pieces.start + 1 : pieces.stop - 1] = [True] * max(0, len(pieces) - 2)
                ends |= {pieces[0], pieces[-1]}
        nothing = ExtentSet()
        for piece in ends:
            found[piece] = all(
                verified.get(file.index, nothing).covers(self.part(file, piece)[0]) for file in self.sharing(piece)
            )
        return found


def pick(torrent: Torrent, name: str | None, size: int) -> TorrentFile | None:
    """Return the file of *torrent* that has *size* bytes and is called *name*; by its size alone if that is unique."""
    fitting = [file for file in torrent.files if file.size == size]
    for file in fitting:
        # A torrent's paths begin with its own name, which some metalinks leave out.
        if name is not None and name in {str(file.path), "/".join(file.path.parts[1:])}:
            return file
    return fitting[0] if len(fitting) == 1 else None
