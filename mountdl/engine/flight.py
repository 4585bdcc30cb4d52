"""A flight: one assignment being carried out, and the sink that its source writes to.

It knows where it is and how long the rest may take; what the bytes mean is the download's business.
"""

from collections.abc import Callable

import trio

from mountdl.descriptors.model import MirrorRef
from mountdl.engine.planner import FlightView
from mountdl.engine.scoreboard import HostScore, SourceScore
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.sources.base import Source

SILENCE = 0.25
"""Seconds without a byte that are still no sign of trouble."""
CONFIDENCE = 0.1
"""Seconds of receiving for which a flight's own rate counts as much as what its host did before."""


class SourceState:
    """The source that *ref* is for one content, with its scores; *rank*: its place in the descriptor's order."""

    def __init__(self, ref: MirrorRef, source: Source, host: HostScore, rank: int) -> None:
        self.ref, self.source, self.host, self.rank = ref, source, host, rank
        self.score = SourceScore()
        self.flights = 0


class Flight:
    """Bytes *extent* on their way from *state*'s source. *take* gets each buffer that arrives."""

    def __init__(
        self,
        number: int,
        state: SourceState,
        extent: Extent,
        priority: Priority,
        take: Callable[["Flight", int, bytes | bytearray | memoryview], None],
    ) -> None:
        self.number, self.state, self.extent, self.priority = number, state, extent, priority
        self._take = take
        self.scope = trio.CancelScope()
        self.position = extent.start
        self.delivered = 0
        self.started_at = trio.current_time()
        self.first_at: float | None = None
        self.last_at = self.started_at

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Sink: take *data* from *offset* on."""
        now = trio.current_time()
        if self.first_at is None:
            self.first_at = now
            self.state.host.latency.add(now - self.started_at)
        self.last_at = now
        self.delivered += len(data)
        self.position = max(self.position, min(offset + len(data), self.extent.stop))
        self._take(self, offset, data)

    def landed(self, extent: Extent) -> None:
        """Sink: only sources that write the data file themselves call this; mirrors don't."""
        raise NotImplementedError(f"{self.state.source.name} claims to have written {extent} itself")

    @property
    def rest(self) -> Extent:
        """What it has still to deliver."""
        return Extent(self.position, self.extent.stop)

    def remaining(self, now: float) -> float:
        """Return the seconds that the rest is expected to take, by its own past and its host's."""
        host = self.state.host
        if self.first_at is None:
            waited = now - self.started_at
            body = self.rest.length / host.rate.mean
            # Late beyond what this host usually takes: expect as long again as it was waited for.
            return max(host.latency.mean - waited, 0.0) + body if waited <= host.latency.bound else waited + body
        received = max(self.last_at - self.first_at, 0.0)
        rate = (self.delivered + host.rate.mean * CONFIDENCE) / (received + CONFIDENCE)
        silence = now - self.last_at
        return self.rest.length / rate + (2 * silence if silence > SILENCE else 0.0)

    def view(self, now: float, held: ExtentSet, index: int) -> FlightView:
        """Return this flight as the planner sees it."""
        rest = self.rest
        return FlightView(
            flight=self.number,
            source=index,
            extent=rest,
            priority=self.priority,
            remaining=self.remaining(now),
            filled=bool(rest) and held.covers(rest),
        )
