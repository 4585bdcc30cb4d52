"""Fakes for the three protocols of mountdl.sources.base, scripted by tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from mountdl.content import Content
from mountdl.descriptors.model import MirrorRef
from mountdl.errors import SourceError, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority
from mountdl.sources.base import Limits, Paced, Probe, Sink, hold


@dataclass
class FakeSource:
    """Delivers *data* in steps of *step* bytes, after *latency* seconds, *pause* seconds between steps.

    *fault* is called before each step with the source and the offset; it may raise, change attributes or
    return other bytes to send instead.
    """

    data: bytes
    name: str = "fake"
    latency: float = 0.01
    pause: float = 0.001
    step: int = 16
    parallel: int = 8
    sequential: bool = False
    fault: Callable[[FakeSource, int], bytes | None] = lambda source, offset: None
    fetched: list[tuple[Extent, Priority]] = field(default_factory=list)
    flying: int = 0
    most_flying: int = 0

    @property
    def limits(self) -> Limits:
        return Limits(self.parallel, f"host-of-{self.name}", self.sequential)

    async def fetch(self, extent: Extent, sink: Sink, *, priority: Priority) -> None:
        self.fetched.append((extent, priority))
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            await trio.sleep(self.latency)
            for offset in range(extent.start, extent.stop, self.step):
                stop = min(offset + self.step, extent.stop)
                if isinstance(sink, Paced):
                    await hold(sink)
                sent = self.fault(self, offset)
                _deliver(sink, offset, self.data[offset:stop] if sent is None else sent[: stop - offset])
                await trio.sleep(self.pause)
        finally:
            self.flying -= 1

    @property
    def bytes_asked(self) -> int:
        """How many bytes were asked of it in all."""
        return sum(extent.length for extent, _ in self.fetched)


class FakeTransport:
    """Sources by URL. One that is not scripted refuses the connection."""

    schemes = frozenset({"fake"})

    def __init__(self, sources: dict[str, FakeSource]) -> None:
        self.sources = sources
        self.warmed: list[str] = []

    def source(self, ref: MirrorRef, content: Content) -> FakeSource:
        return self.sources[ref.url]

    async def probe(self, ref: MirrorRef) -> Probe:
        source = self.sources.get(ref.url)
        if source is None:
            raise SourceUnavailable(ref.url, "connection refused")
        return Probe(size=len(source.data), ranges=not source.sequential)

    def warm(self, ref: MirrorRef) -> None:
        self.warmed.append(ref.url)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()


def _deliver(sink: Sink, offset: int, data: bytes) -> None:
    """Receive *data* where the sink has room for it, as a connection does."""
    room = sink.room(offset)
    if room is None or len(room) < len(data):
        sink.write(offset, data)
    else:
        room[: len(data)] = data
        sink.write(offset, room[: len(data)])


class MemorySink:
    """A sink that keeps what it gets."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.extents: list[Extent] = []

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.data[offset : offset + len(data)] = data
        self.extents.append(Extent(offset, offset + len(data)))

    def room(self, offset: int) -> memoryview | None:
        return None

    def landed(self, extent: Extent) -> None:
        raise AssertionError(f"{extent} landed")


def failing(error: SourceError) -> Callable[[FakeSource, int], bytes | None]:
    """Return a fault that raises *error* at once."""

    def fault(source: FakeSource, offset: int) -> bytes | None:
        raise error

    return fault
