"""A mirror: one sftp URL as a source of one content.

Knows no chunk, no digest and not who wants the bytes; nothing of asyncio either.
"""

from collections.abc import Callable

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceMismatch, SourceRefused
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Limits, Paced, Sink, hold
from mountdl.sources.sftp.address import parse
from mountdl.sources.sftp.crossing import Crossing, Shared
from mountdl.sources.sftp.lost import Lost

PARALLEL = 4
"""Flights to a host at most: they share one connection, whose pace bounds them together."""


class Mirror:
    """The source that *ref* is for *content*; implements `Source`."""

    def __init__(self, shared: Shared, ref: MirrorRef, content: Content) -> None:
        self._shared = shared
        self._size = content.size
        self._address = parse(ref.url)
        self._parallel = min(PARALLEL, ref.max_connections or PARALLEL)
        self._mtime: int | None = None
        self._alone = ref.max_connections == 1

    @property
    def name(self) -> str:
        """For logs and status: the URL without credentials."""
        return self._address.shown if self._address is not None else "not an sftp address"

    @property
    def limits(self) -> Limits:
        """How it likes to be used."""
        return Limits(self._parallel, f"sftp {self._address.place}" if self._address is not None else "")

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        """Deliver *extent* to *sink* in order, or raise SourceError. A reader's goes beside what is in bulk.

        A connection that was lost before a byte came is made again once.
        """
        urgent = priority is Priority.READ and not self._alone
        offset = extent.start

        def took(length: int) -> None:
            nonlocal offset
            offset += length

        try:
            await self._deliver(extent, sink, took, urgent=urgent)
        except Lost:
            if offset > extent.start:
                raise
            await self._deliver(extent, sink, took, urgent=urgent)

    async def _deliver(self, extent: Extent, sink: Sink, took: Callable[[int], None], *, urgent: bool) -> None:
        if self._address is None:
            raise SourceRefused(self.name, "is no sftp address that can be used")
        offset, crossing = extent.start, await self._shared.begin(self._address, extent, urgent=urgent)
        try:
            self._check(crossing)
            while offset < extent.stop:
                for part in await crossing.next():
                    sink.write(offset, part)
                    offset += len(part)
                    took(len(part))
                    # A part takes 0.1 ms to store; the kernel's requests go in between.
                    await trio.lowlevel.checkpoint()
                    if isinstance(sink, Paced):
                        await hold(sink)
        finally:
            crossing.close()

    def _check(self, crossing: Crossing) -> None:
        if self._size is not None and crossing.size != self._size:
            raise SourceMismatch(self.name, f"it has {crossing.size} bytes there, not {self._size}")
        if self._mtime not in {None, crossing.mtime}:
            raise SourceMismatch(self.name, "the file was changed there meanwhile")
        self._mtime = crossing.mtime
