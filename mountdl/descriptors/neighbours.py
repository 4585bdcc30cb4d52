"""What shares a version 1 piece with a file of a torrent: bytes of the files before and behind it. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from mountdl.descriptors.limits import MAX_NEIGHBOURS, MAX_NEIGHBOURS_TORRENT, MAX_SHARED_PIECE
from mountdl.descriptors.model import Neighbour
from mountdl.descriptors.torrentfiles import RawFile
from mountdl.extents import Extent

_NOWHERE = ("",)


class Neighbourhood:
    """The files of one torrent in a row, padding too; *urls* are the web seeds of each by its index."""

    def __init__(self, rows: Sequence[RawFile], urls: Mapping[int, tuple[str, ...]], length: int) -> None:
        self._rows, self._urls, self._length = rows, urls, length
        self._left = MAX_NEIGHBOURS_TORRENT if length <= MAX_SHARED_PIECE else 0

    def before(self, index: int) -> tuple[Neighbour, ...]:
        """Return what is before file *index* in its first piece; nothing where not all of it can be had."""
        stop = self._rows[index].offset
        span = Extent(stop // self._length * self._length, stop)
        return self._all(span, reversed(range(index)))[::-1]

    def after(self, index: int) -> tuple[Neighbour, ...]:
        """Return what is behind file *index* in its last piece, up to the end of the torrent."""
        start, last = self._rows[index].offset + self._rows[index].size, self._rows[-1]
        span = Extent(start, max(start, min(-(-start // self._length) * self._length, last.offset + last.size)))
        return self._all(span, range(index + 1, len(self._rows)))

    def _all(self, span: Extent, order: Iterable[int]) -> tuple[Neighbour, ...]:
        found: list[Neighbour] = []
        missing = span.length
        for index in order:
            if not missing or not self._left or len(found) == MAX_NEIGHBOURS:
                break
            row = self._rows[index]
            part = Extent(row.offset, row.offset + row.size).intersection(span)
            urls = () if row.padding else self._urls.get(index) or _NOWHERE
            if not part:
                continue
            if urls is _NOWHERE:
                break
            found.append(Neighbour(row.size, Extent(part.start - row.offset, part.stop - row.offset), urls))
            missing -= part.length
            self._left -= 1
        return () if missing else tuple(found)
