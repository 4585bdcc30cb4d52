"""Fetch a descriptor by its URL, into memory, within bounds.

For a SOURCE that is a URL: what is behind it may be a descriptor, or a file that somebody wants to
mount as it is.
"""

import re

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.sources.base import Probe, Transport

LARGEST_DOCUMENT = 128 << 20
"""Bytes of a descriptor at most, as in a folder."""
_SNIFFED = 4096
_MARKS = re.compile(rb"<metalink|magnet:|\Ad\d{1,2}:[a-z]")
"""What a descriptor shows near its start; a torrent is a bencoded dictionary (BEP 3)."""


class _Memory:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.data[offset : offset + len(data)] = data

    def room(self, offset: int) -> memoryview | None:
        del offset  # it comes once, and copying it is nothing
        return None

    def landed(self, extent: Extent) -> None:
        raise NotImplementedError


async def look(transport: Transport, url: str) -> tuple[Probe, bytes | None]:
    """Return what *url* has: its size and digests, and its bytes if they are those of a descriptor.

    Raises SourceError.
    """
    ref = MirrorRef(url)
    probe = await transport.probe(ref)
    if probe.size is None:
        return probe, None
    content = Content(ContentKey("document"), probe.size, {}, ChunkMap(probe.size, max(probe.size, 1)), (ref,))
    source = transport.source(ref, content)
    memory = _Memory()
    await source.fetch(Extent(0, _SNIFFED).clip(probe.size), memory, priority=Priority.READ)
    if _MARKS.search(memory.data) is None:
        return probe, None
    if probe.size > LARGEST_DOCUMENT:
        raise SourceError(source.name, f"has {probe.size} bytes, which is too long for a descriptor")
    await source.fetch(Extent(len(memory.data), probe.size), memory, priority=Priority.READ)
    return probe, bytes(memory.data)
