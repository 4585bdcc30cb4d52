"""Decide which source flies which extent next.

Everything that chooses lives here; nothing that waits does. The planner does not know clocks,
sockets or files: give it the same arguments and it answers the same. It is total: it re-decides
everything at each call, and what it does not assign stays wanted.

Laws (tests/unit/test_planner.py): it never assigns bytes that are held or flying, but as a hedge;
never more flights than lanes; no background byte while a reader's want has a gap and a lane.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mountdl.engine.demand import Want
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

MIB = 1 << 20
LONGEST_FLIGHT = 16 * MIB
"""Bytes. Long enough that a request's own cost (0.3 ms, measured) and a gap between two vanish."""
TOP_UP = 4 * MIB
"""Bytes by which a window that is more than half full is topped up at least."""
SHORTEST_URGENT = 128 << 10
"""Bytes. An urgent extent is not cut finer than a kernel read request."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source as the planner sees it. *latency* in seconds, *rate* in bytes a second of one flight.

    *free* lanes for any flight, *urgent* lanes for a reader's; *rank*: lower is preferred where
    nothing else decides; *longest*: bytes that a flight of its should carry at most; *sequential*: it
    delivers from offset 0 only; *bad*: extents never to ask of it.
    """

    source: int
    free: int
    urgent: int
    latency: float
    rate: float
    rank: int = 0
    longest: int = LONGEST_FLIGHT
    sequential: bool = False
    bad: tuple[Extent, ...] = ()

    def eta(self, length: int) -> float:
        """Return the seconds it is expected to take for *length* bytes asked now."""
        return self.latency + length / self.rate

    def may(self, extent: Extent) -> bool:
        """Say whether *extent* may be asked of it."""
        if self.sequential and extent.start:
            return False
        return not any(extent.overlaps(bad) for bad in self.bad)


@dataclass(frozen=True, slots=True)
class FlightView:
    """A flight as the planner sees it: *extent* is what it has still to deliver, in order.

    *wait*: seconds until its next byte is expected; *rate* in bytes a second from then on. *stalled*: it
    is silent for longer than its host ever is; *filled*: what it has still to deliver is held already.
    """

    flight: int
    source: int
    extent: Extent
    priority: Priority
    wait: float
    rate: float
    stalled: bool = False
    filled: bool = False

    def due(self, stop: int) -> float:
        """Return the seconds until it is expected to have delivered the bytes up to *stop*."""
        return self.wait + max(0, min(stop, self.extent.stop) - self.extent.start) / self.rate


@dataclass(frozen=True, slots=True)
class Assignment:
    """The decision that *source* shall fly *extent*; *hedge*: another flight is late with it."""

    source: int
    extent: Extent
    priority: Priority
    hedge: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start and what to cancel; *starved*: something wanted found no lane."""

    assignments: tuple[Assignment, ...]
    cancels: tuple[int, ...]
    starved: bool


# By priority: a flight is hedged when it is expected to take this many times longer, plus these seconds,
# than the same bytes asked elsewhere now. A reader waits for a READ; nobody does for BACKGROUND.
_PATIENCE = {
    Priority.READ: (2.0, 0.05),
    Priority.READAHEAD: (3.0, 0.5),
    Priority.BACKGROUND: (4.0, 2.0),
}


def plan(
    wants: Iterable[Want],
    held: ExtentSet,
    flights: Sequence[FlightView],
    sources: Sequence[SourceView],
    chunk_map: ChunkMap,
    lanes: int = 16,
) -> Plan:
    """Return which flights to start and which to cancel.

    Args:
        wants: what is wanted, most urgent first.
        held: bytes that need not be fetched: in the store, or waiting there for their verdict.
        flights: what flies now.
        sources: the sources that may be used now.
        chunk_map: where a flight is best cut.
        lanes: flights that this content may have at once; a reader's may exceed it by two.
    """
    table = _Table(held, flights, sources, chunk_map, lanes)
    wants = list(wants)
    for want in wants:
        if want.priority is Priority.READ:
            table.serve_read(want)
        else:
            table.serve_window(want)
    for want in wants:
        table.hedge(want)
    return Plan(tuple(table.assignments), tuple(table.cancels(wants)), table.starved)


class _Table:
    """The state of one planning: what is taken, what lanes are left."""

    def __init__(
        self,
        held: ExtentSet,
        flights: Sequence[FlightView],
        sources: Sequence[SourceView],
        chunk_map: ChunkMap,
        lanes: int,
    ) -> None:
        self.held, self.flights, self.chunk_map = held, flights, chunk_map
        self.flying = ExtentSet(flight.extent for flight in flights)
        self.views = {view.source: view for view in sources}
        self.free = {view.source: view.free for view in sources}
        self.urgent = {view.source: view.urgent for view in sources}
        self.lanes = lanes - len(flights)
        self.total_rate = sum(view.rate * max(1, view.free) for view in sources)
        self.assignments: list[Assignment] = []
        self.starved = False

    def first_gap(self, extent: Extent) -> Extent | None:
        """Return the first part of *extent* that is neither held nor flying."""
        for hole in self.held.missing(extent):
            for gap in self.flying.missing(hole):
                return gap
        return None

    def assign(self, view: SourceView, extent: Extent, priority: Priority, *, hedge: bool = False) -> None:
        self.assignments.append(Assignment(view.source, extent, priority, hedge))
        self.flying.add(extent)
        self.free[view.source] -= 1
        self.urgent[view.source] -= 1
        self.lanes -= 1

    # -- a reader waits -----------------------------------------------------------------------------------

    def serve_read(self, want: Want) -> None:
        offset = want.extent.start
        while gap := self.first_gap(Extent(offset, want.extent.stop)):
            view = self.quickest(gap)
            if view is None:
                self.starved = True
                self.serve_sequentially(Priority.READ)
                return
            part = self.urgent_part(view, gap)
            self.assign(view, part, Priority.READ)
            offset = part.stop

    def quickest(self, extent: Extent, without: int | None = None) -> SourceView | None:
        """Return the source expected to deliver *extent* first, of those with an urgent lane."""
        if self.lanes <= -2:
            return None
        able = [
            view
            for view in self.views.values()
            if self.urgent[view.source] > 0 and view.source != without and view.may(extent)
        ]
        return min(able, key=lambda view: (view.eta(extent.length), view.rank), default=None)

    def urgent_part(self, view: SourceView, gap: Extent) -> Extent:
        """Cut *gap* so that its parts, flown side by side, take about one latency each."""
        length = max(SHORTEST_URGENT, int(view.rate * max(view.latency, 0.02)))
        if gap.length <= length * 3 // 2 or sum(max(0, n) for n in self.urgent.values()) < 2:
            return Extent(gap.start, min(gap.stop, gap.start + max(LONGEST_FLIGHT, length)))
        return Extent(gap.start, gap.start + min(length, LONGEST_FLIGHT))

    def serve_sequentially(self, priority: Priority) -> None:
        """Where only sources without ranges are left, stream one of them from its start to its end.

        They can't be asked for anything else, so all wants are served by it as it goes on.
        """
        if any(not view.sequential for view in self.views.values()):
            return
        busy = {flight.source for flight in self.flights} | {made.source for made in self.assignments}
        lanes = self.urgent if priority is Priority.READ else self.free
        for view in self.views.values():
            if not busy and lanes[view.source] > 0:
                self.assign(view, Extent(0, self.chunk_map.size), priority)
                return

    # -- nobody waits yet ---------------------------------------------------------------------------------

    def serve_window(self, want: Want) -> None:
        """Give the lanes that are free the gaps of a window: the soonest source the first gap.

        A source that is later by d seconds gets a gap that the reader reaches about d seconds later,
        so that a slow mirror helps without ever being waited for.
        """
        while self.lanes > 0:
            gap = self.first_gap(want.extent)
            if gap is None:
                return
            able = [view for view in self.views.values() if self.free[view.source] > 0 and view.may(gap)]
            if not able:
                self.starved = True
                self.serve_sequentially(want.priority)
                return
            if not self.assign_window(want, gap, able):
                return
        self.starved = self.starved or self.first_gap(want.extent) is not None

    def assign_window(self, want: Want, gap: Extent, able: list[SourceView]) -> bool:
        best = min(view.eta(MIB) for view in self.views.values())
        for view in sorted(able, key=lambda view: (view.eta(MIB), view.rank)):
            lead = 0
            if want.priority is Priority.READAHEAD:
                lead = int((view.eta(MIB) - best) * self.total_rate)
            later = self.first_gap(self.from_chunk(max(gap.start, want.extent.start + lead), want))
            if later is not None and view.may(later):
                part = self.flight_part(view, later, want)
                if self.worthwhile(part, want):
                    self.assign(view, part, want.priority)
                    return True
        return False

    def from_chunk(self, start: int, want: Want) -> Extent:
        """Return the part of *want* from the chunk that holds *start* on."""
        start = min(start, want.extent.stop)
        return Extent(start // self.chunk_map.length * self.chunk_map.length, want.extent.stop)

    def worthwhile(self, part: Extent, want: Want) -> bool:
        """Say whether to fly *part* now: a short one at the far end of a window waits until it has grown."""
        if want.priority is not Priority.READAHEAD or part.stop < want.extent.stop or part.stop == self.chunk_map.size:
            return True
        return part.length >= TOP_UP or part.start - want.extent.start < want.extent.length // 2

    def flight_part(self, view: SourceView, gap: Extent, want: Want) -> Extent:
        """Cut *gap* to what one flight should carry: about half a second, all lanes having a share."""
        chunk = self.chunk_map.length
        share = want.extent.length // max(1, sum(max(0, n) for n in self.free.values()))
        length = min(int(view.rate / 2), view.longest, max(share, MIB))
        stop = (gap.start + max(length, MIB)) // chunk * chunk
        if stop <= gap.start:  # a chunk longer than a flight
            stop = gap.start + max(length, MIB)
        return Extent(gap.start, min(gap.stop, stop))

    # -- what flies is late -------------------------------------------------------------------------------

    def hedge(self, want: Want) -> None:
        """Ask a second source for what a late flight owes to *want*.

        The same source is asked again only when the flight is silent: one that delivers is not made
        faster by a second connection that shares its way.
        """
        factor, extra = _PATIENCE[want.priority]
        for flight in self.flights:
            part = flight.extent.intersection(want.extent)
            if not part or self.asked_twice(flight, part) or self.held.covers(part):
                continue
            view = self.quickest(part, without=flight.source)
            if view is None and flight.stalled:
                view = self.quickest(part)
            if view is not None and view.eta(part.length) * factor + extra < flight.due(part.stop):
                self.assign(view, part, want.priority, hedge=True)

    def asked_twice(self, flight: FlightView, part: Extent) -> bool:
        if any(other.flight != flight.flight and other.extent.overlaps(part) for other in self.flights):
            return True
        return any(made.hedge and made.extent.overlaps(part) for made in self.assignments)

    def cancels(self, wants: Sequence[Want]) -> Iterable[int]:
        """Yield flights that bring nothing any more, and unwanted ones that are in a reader's way."""
        crowded = self.starved and any(want.priority is Priority.READ for want in wants)
        for flight in self.flights:
            unwanted = not any(want.extent.overlaps(flight.extent) for want in wants)
            if flight.filled or (crowded and unwanted and flight.due(flight.extent.stop) > 0.25):
                yield flight.flight
