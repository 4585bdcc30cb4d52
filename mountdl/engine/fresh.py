"""Chunks that came a moment ago, in memory until the reader who is about to come to them has read them.

Law: what is here is verified, and in the data file too or on its way there in a thread's hands, so that losing it costs
a read of the disk and nothing else. Only what lies ahead of a reader is kept, and only in memory that no chunk on its
way needs. It knows neither store nor windows. (Such a chunk need not stay in the page cache, which then holds a file
once, as the mount's, not twice: 512 MiB over loopback into memory that was never touched took half the time, measured.)
"""

from collections.abc import Callable

from mountdl.engine.assembly import Memory
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap

SHORTEST_KEPT = 512 << 10
"""Bytes: shorter chunks share the units that the store sums with others, and would be read back for their sums."""


class _Chunk:
    """A chunk in *view*, of which *left* bytes have still to be read."""

    __slots__ = ("extent", "left", "view")

    def __init__(self, extent: Extent, view: memoryview) -> None:
        self.extent, self.view, self.left = extent, view, extent.length

    def give(self, wanted: Extent) -> memoryview:
        """Return the bytes of *wanted* that are here, and count them as read."""
        part = wanted.intersection(self.extent)
        self.left -= part.length
        return self.view[part.start - self.extent.start : part.stop - self.extent.start]


class Fresh:
    """The chunks of one content that are kept. *ahead* says whether a reader is about to come to an extent."""

    def __init__(self, chunk_map: ChunkMap, memory: Memory) -> None:
        self._chunk_map, self._memory = chunk_map, memory
        self._promised: set[int] = set()
        self._chunks: dict[int, _Chunk] = {}
        self._landing: dict[int, _Chunk] = {}  # not in the data file yet; the thread that writes them has the memory
        self.ahead: Callable[[Extent], bool] = lambda _: False

    def promise(self, index: int) -> bool:
        """Say whether chunk *index* will be kept if it is good; `keep` or `renounce` must follow then."""
        if self._chunk_map.length < SHORTEST_KEPT or not self.ahead(self._chunk_map.extent(index)):
            return False
        if index in self._promised or index in self._chunks or not self._memory.retain(self._chunk_map.length):
            return False
        self._promised.add(index)
        return True

    def show(self, index: int, view: memoryview) -> None:
        """Give the bytes of chunk *index* from *view*, where they wait for the disk, until `landed`."""
        self._landing[index] = _Chunk(self._chunk_map.extent(index), view)

    @property
    def begun(self) -> list[Extent]:
        """The chunks that are not in the data file yet and of which readers were given bytes."""
        return [each.extent for each in self._landing.values() if each.left < each.extent.length]

    def shows(self, extent: Extent) -> bool:
        """Say whether all of *extent* is here, some of it not in the data file yet."""
        if not self._landing or not extent:
            return False
        indexes = self._chunk_map.touching(extent)
        return all(index in self._landing or index in self._chunks for index in indexes)

    def keep(self, index: int, view: memoryview) -> bool:
        """Keep *view* as chunk *index*, now in the data file, if that was promised and it is still to be read."""
        chunk = self.landed(index) or _Chunk(self._chunk_map.extent(index), view)
        if index not in self._promised or chunk.left <= 0:
            return False
        self._promised.discard(index)
        self._chunks[index] = chunk
        return True

    def landed(self, index: int) -> _Chunk | None:
        """Show chunk *index* no longer, for its memory goes to others, and return it."""
        return self._landing.pop(index, None)

    def renounce(self, index: int) -> None:
        """Break the promise to keep chunk *index*, if there is one."""
        if index in self._promised:
            self._promised.discard(index)
            self._memory.unretain(self._chunk_map.length)

    def read(self, extent: Extent) -> bytes | memoryview | None:
        """Return the bytes of *extent* if all are kept. A view is good until the caller's next checkpoint."""
        if not (self._chunks or self._landing) or not extent:
            return None
        indexes = self._chunk_map.touching(extent)
        found = [self._chunks.get(index) or self._landing.get(index) for index in indexes]
        chunks = [chunk for chunk in found if chunk is not None]
        if len(chunks) < len(indexes):
            return None
        parts = [chunk.give(extent) for chunk in chunks]
        for index, chunk in zip(indexes, chunks, strict=True):
            if chunk.left <= 0 and index in self._chunks:
                self._drop(index)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def forget(self, extent: Extent) -> None:
        """Drop what is kept of *extent*."""
        for index in [index for index, chunk in self._chunks.items() if chunk.extent.overlaps(extent)]:
            self._drop(index)
        for index in [index for index, chunk in self._landing.items() if chunk.extent.overlaps(extent)]:
            self.landed(index)

    def trim(self) -> None:
        """Drop what no reader is about to come to any more."""
        for index in [index for index, chunk in self._chunks.items() if not self.ahead(chunk.extent)]:
            self._drop(index)

    def _drop(self, index: int) -> None:
        view = self._chunks.pop(index).view
        self._memory.unretain(self._chunk_map.length)
        self._memory.give_view(view)
