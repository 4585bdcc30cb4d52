"""One extent of one file on its way: parts sent ahead, handed over in order.

Law: what was fetched and not taken is bounded by what may be on its way, so that a store that is slow slows
the server. Parts that nobody wants any more still count on their line. Runs on the island.
"""

import asyncio
from collections import deque

from mountdl.extents import Extent
from mountdl.sources.sftp.line import Handle, Line

BATCH = 1 << 20
"""Bytes handed over at once at most: each hand-over costs the trip between the loops."""

SLACK = 2 << 20
"""Bytes that may lie here untaken, beyond those on their way."""


class Reading:
    """The bytes of *extent* of *handle* over *line*."""

    def __init__(self, line: Line, handle: Handle, extent: Extent) -> None:
        self._line = line
        self._handle = handle
        self._extent = extent
        self._taken = extent.start
        self._parts: deque[asyncio.Task[bytes]] = deque()
        self._moved = asyncio.Event()
        self._open = True
        handle.readers += 1
        self._feeder = asyncio.create_task(self._feed())

    async def next(self) -> list[bytes]:
        """Return the next bytes, as many as are here, at least one part; nothing at the end.

        Raises what the line raises.
        """
        while not self._parts and not self._feeder.done():
            self._moved.clear()
            await self._moved.wait()
        if not self._parts:
            self._feeder.result()
            return []
        parts = [await asyncio.shield(self._parts[0])]
        self._parts.popleft()
        length = len(parts[0])
        while self._parts and length < BATCH and _good(self._parts[0]):
            parts.append(self._parts.popleft().result())
            length += len(parts[-1])
        self._taken += length
        self._moved.set()
        return parts

    def close(self) -> None:
        """Send no more."""
        self._feeder.cancel()
        if self._open:
            self._open = False
            self._handle.readers -= 1
            self._line.tidy(self._handle)

    async def _feed(self) -> None:
        try:
            offset, line = self._extent.start, self._line
            while offset < self._extent.stop:
                while offset - self._taken >= line.pace.window + SLACK:
                    self._moved.clear()
                    await self._moved.wait()
                ticket = await line.admitted(min(line.longest, self._extent.stop - offset))
                self._parts.append(line.begin(self._handle, offset, ticket))
                offset += ticket.sent.length
                self._moved.set()
        finally:
            self._moved.set()


def _good(task: "asyncio.Task[bytes]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
