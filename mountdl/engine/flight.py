"""A flight: one assignment being carried out, and the sink that its source writes to.

It knows where it is and how long the rest may take; what the bytes mean is the download's business.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from mountdl.descriptors.model import MirrorRef, SwarmRef
from mountdl.engine.scoreboard import OVERLAP, HostScore, SourceScore
from mountdl.engine.views import FlightView
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.sources.base import Source

SILENCE = 0.3
"""Seconds without a byte in the middle of an answer that are still no sign of trouble."""
LATER = 1.5
"""Times as long as its host's silences usually are, a flight's is a sign of trouble too."""
PAUSE = 0.05
"""Seconds without a byte that do not count against a flight's rate."""
LIMITED = 0.5
"""Part of its time for which a flight is held back by the user's limits that makes these its pace."""
CONFIDENCE = 0.05
"""Seconds of receiving for which a flight's own rate counts as much as what its host did before."""
DOUBT = 0.5
"""Seconds of receiving after which what its host did before counts ever less: 20 MB/s, as is expected of one that is
not known, would make 0.2 MB/s of a stream that trickles still after five seconds."""


class SourceState:
    """The source that *ref* is for one content, with its scores; *rank*: its place in the descriptor's order."""

    def __init__(
        self,
        ref: MirrorRef | SwarmRef,
        source: Source,
        host: HostScore,
        rank: int,
        hosts: Callable[[str], HostScore] | None = None,
    ) -> None:
        self.ref, self.source, self.host, self.rank = ref, source, host, rank
        self.score = SourceScore()
        self.flights = 0
        self._hosts, self._at = hosts, source.limits.host

    def delivered(self, length: int) -> None:
        """Count *length* bytes as its own."""
        self.score.delivered += length
        self.host.delivered += length

    def follow(self, name: str) -> None:
        """Count it as one of the host *name*'s, where redirects led by now, with all its flights."""
        if name == self._at or self._hosts is None:
            return
        self._at, host = name, self._hosts(name)
        mine = {flight for flight in self.host.flying if isinstance(flight, Flight) and flight.state is self}
        self.host.flying -= mine
        host.flying |= mine
        self.host = host


class Intake(Protocol):
    """Where what a flight brings goes."""

    def room(self, flight: "Flight", offset: int) -> memoryview | None:
        """See `Sink.room`."""

    def pause(self, flight: "Flight", now: float) -> float:
        """Return the seconds until *flight* may receive more."""

    def take(self, flight: "Flight", offset: int, data: memoryview) -> None:
        """Take what *flight* brought from *offset* on."""

    def progressed(self, flight: "Flight") -> None:
        """Take in that *flight* is further than it was."""

    def certify(self, extent: Extent) -> None:
        """See `Certified`."""


class Flight:
    """Bytes *extent* on their way from *state*'s source to *intake*."""

    def __init__(
        self,
        number: int,
        state: SourceState,
        extent: Extent,
        priority: Priority,
        intake: Intake,
    ) -> None:
        self.number, self.state, self.extent, self.priority = number, state, extent, priority
        self._intake = intake
        self.scope = trio.CancelScope()
        self.silent = False
        """Whether it was ended for its silence."""
        self.position = extent.start
        self._ahead = ExtentSet()
        self._ended = False
        self.delivered = 0
        self.started_at = trio.current_time()
        self.first_at: float | None = None
        self.last_at = self.started_at
        self._held = self._held_at_first = 0.0
        self._held_since: float | None = None

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Sink: take *data* from *offset* on."""
        self._progress(offset, len(data))
        self._intake.take(self, offset, memoryview(data))

    def _progress(self, offset: int, length: int) -> None:
        now = trio.current_time()
        self._let_go(now)
        if self.first_at is None:
            self.first_at = now
            self.state.host.began(now - self.started_at - self._held)
            self._held_at_first = self._held
        elif not isinstance(self.state.ref, SwarmRef):
            self.state.host.went_on(self.last_at, now)
        self.last_at = now
        self.delivered += length
        self._advance(offset, min(offset + length, self.extent.stop))

    def _advance(self, start: int, stop: int) -> None:
        if start > self.position:  # a swarm brings what a reader came to need before what is in front of it
            self._ahead.add(Extent(start, stop))
            return
        self.position = max(self.position, stop)
        if self._ahead:
            gap = next(self._ahead.missing(self.rest), None)
            self.position = gap.start if gap is not None else self.extent.stop

    def room(self, offset: int) -> memoryview | None:
        """Sink: where to receive what comes from *offset* on."""
        return self._intake.room(self, offset)

    def pause(self) -> float:
        """Sink: see `Paced`. What it is told to wait is no silence of its source."""
        now = trio.current_time()
        seconds = self._intake.pause(self, now)
        if seconds:
            self.last_at = now + seconds
            self._held_since = now if self._held_since is None else self._held_since
        else:
            self._let_go(now)
        return seconds

    def _let_go(self, now: float) -> None:
        if self._held_since is not None:
            self._held += now - self._held_since
            self._held_since = None

    def landed(self, extent: Extent) -> None:
        """Sink: *extent* is on disk and known of there."""
        self._progress(extent.start, extent.length)
        self._intake.progressed(self)

    def certify(self, extent: Extent) -> None:
        """Sink: *extent*, written before, matched a digest of the source's own."""
        self._intake.certify(extent)

    @property
    def rest(self) -> Extent:
        """What it has still to deliver."""
        return Extent(self.position, self.extent.stop)

    @property
    def delivers(self) -> bool:
        """Whether its first byte came."""
        return self.first_at is not None

    def ending(self, now: float) -> bool:
        """Say whether it delivers and the rest will be here sooner than another flight's first byte."""
        if not self.delivers:
            return False
        return self.rest.length <= self._rate(now) * self.state.host.round_trip * OVERLAP

    def ends(self, now: float) -> bool:
        """Say, once, that it is ending."""
        if not self._ended:
            self._ended = self.ending(now)
            return self._ended
        return False

    def view(self, now: float, held: ExtentSet, index: int) -> FlightView:
        """Return this flight as the planner sees it."""
        rest = self.rest
        return FlightView(
            flight=self.number,
            source=index,
            extent=rest,
            priority=self.priority,
            wait=self._wait(now),
            rate=self._rate(now),
            stalled=self.stalled(now),
            filled=bool(rest) and held.covers(rest),
            limited=self._limited(now),
            given_up=self.state.host.given_up,
        )

    def stalled(self, now: float) -> bool:
        """Say whether it is silent for longer than its host ever is."""
        host = self.state.host
        usual = max(SILENCE, host.latency.bound, host.lull(now) * LATER) if self.delivers else host.latency.bound
        return now - self.last_at > usual

    def flown(self) -> None:
        """Let the host know what it brought, and in what time: not in that for which it was told to wait."""
        self._let_go(self.last_at)
        if self.first_at is not None:
            self.state.host.flown(self.delivered, self.last_at - self.first_at - (self._held - self._held_at_first))
        elif self.stalled(trio.current_time()):
            self.state.host.was_silent()

    def _limited(self, now: float) -> bool:
        """Say whether it delivers, and is as slow as it is because it was told to wait."""
        held = self._held + (now - self._held_since if self._held_since is not None else 0.0)
        return held > 0 and held >= (now - self.started_at) * LIMITED and not self.stalled(now)

    def _wait(self, now: float) -> float:
        """Return the seconds until the next byte is expected."""
        silence = now - self.last_at
        if self.stalled(now):
            return 2 * silence  # late beyond what this host usually takes: expect as long again, and more
        return 0.0 if self.delivers else max(self.state.host.latency.mean - silence, 0.0)

    def _rate(self, now: float) -> float:
        usual = self.state.host.rate
        if self.first_at is None:
            return usual
        received = max(self.last_at, now - PAUSE) - self.first_at
        weight = CONFIDENCE * min(1.0, DOUBT / received) ** 2 if received > 0 else CONFIDENCE
        return (self.delivered + usual * weight) / (received + weight)
