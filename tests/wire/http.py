"""What the tests of the HTTP transport share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import HttpSettings
from mountdl.sources.base import Source
from mountdl.sources.http import HttpTransport
from mountdl.sources.http.patience import Patience

CONTENT = bytes((i * 7 + i // 251) % 256 for i in range(50_000))
SHORT = Patience(connect=0.5, head=0.2, silence=0.2, rate=1000, window=0.3)


class Collected:
    """A sink that keeps what came, in order, and checks that it came in order."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.parts:
            before, part = self.parts[-1]
            assert before + len(part) == offset
        self.parts.append((offset, bytes(data)))

    def landed(self, extent: Extent) -> None:
        raise AssertionError("only swarms land")

    @property
    def data(self) -> bytes:
        return b"".join(part for _, part in self.parts)


def http(settings: HttpSettings | None = None, patience: Patience = SHORT) -> HttpTransport:
    return HttpTransport(settings or HttpSettings(), patience)


def mirror(transport: HttpTransport, url: str, content: bytes = CONTENT) -> Source:
    return transport.source(MirrorRef(url), Content(ContentKey("k"), len(content), {}, ChunkMap(len(content), 1 << 20)))


async def fetched(source: Source, start: int, stop: int, sink: Collected | None = None) -> bytes:
    sink = sink or Collected()
    await source.fetch(Extent(start, stop), sink, priority=Priority.READ)
    assert sink.parts[0][0] == start
    return sink.data


@asynccontextmanager
async def running(settings: HttpSettings | None = None, patience: Patience = SHORT) -> AsyncIterator[HttpTransport]:
    transport = http(settings, patience)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        yield transport
        nursery.cancel_scope.cancel()
