"""A limit of our own is no fault of the mirror's."""

from __future__ import annotations

import trio

from mountdl.engine.rates import Bucket
from mountdl.sources.http.patience import Patience
from tests.support.httpserver import Request, Stream, partial, serving
from tests.support.machine import patience
from tests.wire.http import CONTENT, Collected, fetched, mirror, running


class Limited(Collected):
    """A sink that takes 20 KB a second, in small portions."""

    def __init__(self) -> None:
        super().__init__()
        self._bucket = Bucket(20_000)
        self._room = memoryview(bytearray(5000))

    def room(self, offset: int) -> memoryview | None:
        return self._room

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        super().write(offset, data)
        self._bucket.take(len(data), trio.current_time())

    def pause(self) -> float:
        return self._bucket.wait(trio.current_time())


async def test_a_limit_is_no_stall() -> None:
    """Bytes come as slowly as they are wanted, from a mirror that else would be called too slow."""

    async def handle(request: Request, stream: Stream) -> bool:
        raw = partial(request, CONTENT)
        for start in range(0, len(raw), 5000):
            await stream.send_all(raw[start : start + 5000])
            await trio.sleep(0.01)
        return True

    strict = Patience(connect=20, head=20, silence=20, rate=100_000, window=1)
    async with serving(handle) as server, running(patience=strict) as transport:
        began = trio.current_time()
        assert await fetched(mirror(transport, server.url), 0, 50_000, Limited()) == CONTENT
        assert 1.5 < trio.current_time() - began < patience(4)
