"""Bytes of one URL into memory: for what is read whole, used at once and never stored. Knows no store and no want."""

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.sources.base import Transport


class _Memory:
    """A sink for *extent*."""

    def __init__(self, extent: Extent) -> None:
        self.data, self._start = bytearray(extent.length), extent.start

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.data[offset - self._start : offset - self._start + len(data)] = data

    def room(self, offset: int) -> memoryview | None:
        del offset  # it comes once, and copying it is nothing
        return None

    def landed(self, extent: Extent) -> None:
        raise NotImplementedError


class Remote:
    """The *size* bytes at *url*, asked for by *transport*."""

    def __init__(self, transport: Transport, url: str, size: int) -> None:
        ref = MirrorRef(url)
        content = Content(ContentKey("remote"), size, {}, ChunkMap(size, max(size, 1)), (ref,))
        self._source = transport.source(ref, content)

    @property
    def name(self) -> str:
        """See `Source.name`."""
        return self._source.name

    async def read(self, extent: Extent) -> bytes:
        """Return the bytes of *extent*. Raises SourceError."""
        memory = _Memory(extent)
        await self._source.fetch(extent, memory, priority=Priority.READ)
        return bytes(memory.data)
