"""What the tests of the HTTP transport share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import StoreFull
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import CredentialSettings, HttpSettings, ProxySettings
from mountdl.sources.base import Source
from mountdl.sources.http import HttpTransport
from mountdl.sources.http.patience import Patience
from tests.support import nginx
from tests.support.httpserver import Handler, computing, partial, serving

CONTENT = bytes((i * 7 + i // 251) % 256 for i in range(50_000))
CALM = Patience(connect=20, head=20, silence=20)
"""What servers get that are to be waited for: the machine may stand still for a second."""
SHORT = Patience(connect=1.5, head=2, silence=2, rate=1000, window=1)
"""What those get that are to be given up."""
GOOD = computing(lambda request: partial(request, CONTENT))
needs_nginx = pytest.mark.skipif(not nginx.available(), reason="nginx or openssl is not installed")


class Collected:
    """A sink that keeps what came, in order, and checks that it came in order."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.parts:
            before, part = self.parts[-1]
            assert before + len(part) == offset
        self.parts.append((offset, bytes(data)))

    def room(self, offset: int) -> memoryview | None:
        return None

    def landed(self, extent: Extent) -> None:
        raise AssertionError("only swarms land")

    @property
    def data(self) -> bytes:
        return b"".join(part for _, part in self.parts)


def http(
    settings: HttpSettings | None = None,
    patience: Patience = CALM,
    proxies: ProxySettings | None = None,
    credentials: CredentialSettings | None = None,
) -> HttpTransport:
    return HttpTransport(settings or HttpSettings(), patience, proxies, credentials)


def mirror(transport: HttpTransport, url: str, content: bytes = CONTENT) -> Source:
    return transport.source(MirrorRef(url), Content(ContentKey("k"), len(content), {}, ChunkMap(len(content), 1 << 20)))


async def fetched(source: Source, start: int, stop: int, sink: Collected | None = None) -> bytes:
    sink = sink or Collected()
    await source.fetch(Extent(start, stop), sink, priority=Priority.READ)
    assert sink.parts[0][0] == start
    return sink.data


@asynccontextmanager
async def running(
    settings: HttpSettings | None = None,
    patience: Patience = CALM,
    proxies: ProxySettings | None = None,
    credentials: CredentialSettings | None = None,
) -> AsyncIterator[HttpTransport]:
    transport = http(settings, patience, proxies, credentials)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        yield transport
        nursery.cancel_scope.cancel()


class Full(Collected):
    """A sink without room for a second part."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        super().write(offset, data)
        if offset + len(data) > 30_000:
            raise StoreFull("no room")


async def success(handler: Handler, start: int = 1000, stop: int = 2000) -> int:
    """Fetch twice from *handler*, rightly; return how many connections that took."""
    async with serving(handler) as server, running() as transport:
        source = mirror(transport, f"{server.url}/a.iso")
        assert await fetched(source, start, stop) == CONTENT[start:stop]
        assert await fetched(source, start, stop) == CONTENT[start:stop]
        return server.connections
