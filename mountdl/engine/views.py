"""What the planner is told, and what it answers: values, without behaviour but arithmetic."""

from dataclasses import dataclass

from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority

LONGEST_FLIGHT = 16 << 20
"""Bytes. Long enough that a request's own cost (0.3 ms, measured) and a gap between two vanish."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source as the planner sees it. *latency* in seconds, *rate* in bytes a second of one flight.

    *free* lanes for any flight, *urgent* lanes for a reader's; *rank*: lower is preferred where
    nothing else decides; *longest* and *least*: bytes that a flight of its should carry at most and,
    while so many are missing, at least; *strikes*: failures since it last delivered; *sequential*: it
    delivers from offset 0 only; *divides*: several flights of it are several connections; *unknown*: nothing came from
    its host yet; *bad*: never to ask of it.
    """

    source: int
    free: int
    urgent: int
    latency: float
    rate: float
    rank: int = 0
    longest: int = LONGEST_FLIGHT
    least: int = 0
    strikes: int = 0
    sequential: bool = False
    divides: bool = True
    unknown: bool = False
    bad: tuple[Extent, ...] = ()

    def eta(self, length: int) -> float:
        """Return the seconds it is expected to take for *length* bytes asked now."""
        return self.latency + length / self.rate

    def may(self, extent: Extent) -> bool:
        """Say whether all of *extent* may be asked of it."""
        return self.reach(extent) == extent

    def reach(self, extent: Extent) -> Extent:
        """Return how much of *extent*, from its start on, may be asked of it."""
        if self.sequential and extent.start:
            return Extent(extent.start, extent.start)
        stop = min((bad.start for bad in self.bad if bad.overlaps(extent)), default=extent.stop)
        return Extent(extent.start, max(extent.start, stop))

    def barred(self, extent: Extent) -> bool:
        """Say whether it may bring nothing of *extent*."""
        return ExtentSet(self.bad).covers(extent)

    def past(self, offset: int, stop: int) -> int:
        """Return where, at *stop* at the latest, it may go on when it may not bring the byte at *offset*."""
        if self.sequential:
            return stop
        return min((bad.stop for bad in self.bad if bad.start <= offset < bad.stop), default=stop)


@dataclass(frozen=True, slots=True)
class FlightView:
    """A flight as the planner sees it: *extent* is what it has still to deliver, in order.

    *wait*: seconds until its next byte is expected; *rate* in bytes a second from then on. *stalled*: it
    is silent for longer than its host ever is; *filled*: what it has still to deliver is held already;
    *limited*: it is as slow as the user's limits make it; *given_up*: how often that was done with its host's lately.
    """

    flight: int
    source: int
    extent: Extent
    priority: Priority
    wait: float
    rate: float
    stalled: bool = False
    filled: bool = False
    limited: bool = False
    given_up: int = 0

    def due(self, stop: int) -> float:
        """Return the seconds until it is expected to have delivered the bytes up to *stop*."""
        return self.wait + max(0, min(stop, self.extent.stop) - self.extent.start) / self.rate

    def again(self, view: SourceView, length: int) -> float:
        """Return the seconds that *view* is expected to take for *length* bytes of this, asked now.

        Where the user's limits are what makes this slow, another would get no more than it does.
        """
        return view.latency + length / (min(view.rate, self.rate) if self.limited else view.rate)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The decision that *source* shall fly *extent*.

    *hedge*: another flight is late with it; *split*: another would come to it last.
    """

    source: int
    extent: Extent
    priority: Priority
    hedge: bool = False
    split: bool = False
