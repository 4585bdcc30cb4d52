"""Decide which source flies which extent next.

Everything that chooses lives here; nothing that waits does. The planner does not know clocks,
sockets or files: give it the same arguments and it answers the same. It is total: it re-decides
everything at each call, and what it does not assign stays wanted.

Laws (tests/unit/test_planner.py): it never assigns bytes that are held or flying, but as a hedge or a split;
never more flights than lanes; no background byte while a reader's want has a gap and a lane.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mountdl.engine.demand import Want
from mountdl.engine.hedging import Hedging
from mountdl.engine.splitting import parts
from mountdl.engine.table import Table
from mountdl.engine.views import LONGEST_FLIGHT, Assignment, FlightView, SourceView
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

MIB = 1 << 20
LONG = 0.6
"""Seconds until a flight is expected to have ended that make it worth splitting before anything else is begun: as it
was cut when little was known of its source. Those that are cut by what is known take half a second."""
TOP_UP = 4 * MIB
"""Bytes by which a window that is more than half full is topped up at least."""
TOP_UP_TIME = 0.05
"""Seconds that such a flight should last at least: a request and the gap behind it take 1 ms of a busy machine."""
SHORTEST_URGENT = 128 << 10
"""Bytes. An urgent extent is not cut finer than a kernel read request."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start and what to cancel; *silent*: those that are cancelled for their silence, and failed by it.

    *starved*: something wanted found no lane.
    """

    assignments: tuple[Assignment, ...]
    cancels: tuple[int, ...]
    silent: frozenset[int]
    starved: bool


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
    wants = list(wants)
    table = _Planning(held, flights, sources, chunk_map, lanes)
    table.ahead = [want for want in wants if want.priority is Priority.READAHEAD]
    for want in wants:
        if want.priority is Priority.READ:
            table.serve_read(want)
        else:
            table.split(want, LONG)
            table.serve_window(want)
            if want.extent.stop == chunk_map.size:
                table.split(want)
    hedging = Hedging(table)
    for want in wants:
        hedging.hedge(want)
    return Plan(tuple(table.assignments), tuple(hedging.cancels(wants)), frozenset(hedging.silent), table.starved)


class _Planning(Table):
    """What is given to whom of what nobody brings yet, and of what comes last."""

    def __init__(
        self,
        held: ExtentSet,
        flights: Sequence[FlightView],
        sources: Sequence[SourceView],
        chunk_map: ChunkMap,
        lanes: int,
    ) -> None:
        super().__init__(held, flights, sources, chunk_map, lanes)
        self.known = any(not view.unknown for view in sources)
        self.total_rate = sum(view.rate * max(1, view.free) for view in sources)
        self.ahead: list[Want] = []

    # -- a reader waits -----------------------------------------------------------------------------------

    def serve_read(self, want: Want) -> None:
        offset, stop = want.extent.start, want.extent.stop
        while offset < stop and (gap := self.first_gap(Extent(offset, stop))):
            view = self.quickest(gap, Priority.READ)
            if view is None:
                self.starved = self.reader_starved = True
                self.serve_sequentially(gap, Priority.READ)
                able = [each for each in self.views.values() if self.has_lane(each, Priority.READ)]
                offset = min((each.past(gap.start, stop) for each in able), default=stop)
                continue
            part = self.urgent_part(view, view.reach(gap))
            part = self.going_on(view, part) if part.stop == stop and view.divides else part
            self.assign(view, self.at_least(view, part), Priority.READ)
            offset = part.stop

    def going_on(self, view: SourceView, part: Extent) -> Extent:
        """Return *part* and what is wanted ahead right behind it: one request of a mirror, no round trip between."""
        for want in self.ahead if self.has_lane(view, Priority.READAHEAD) else ():
            if want.extent.start <= part.stop < want.extent.stop:
                gap = self.first_gap(Extent(part.stop, want.extent.stop))
                if gap is not None and gap.start == part.stop and (reach := view.reach(gap)):
                    return Extent(part.start, self.flight_part(view, reach, want).stop)
        return part

    def at_least(self, view: SourceView, part: Extent) -> Extent:
        """Return *part*, longer where *view* wants to be asked for more and nobody brings what follows."""
        if part.length >= view.least:
            return part
        gap = self.first_gap(Extent(part.start, min(part.start + view.least, self.chunk_map.size)))
        return view.reach(gap) if gap is not None and gap.start == part.start else part

    def urgent_part(self, view: SourceView, gap: Extent) -> Extent:
        """Cut *gap* so that its parts, flown side by side, take about one latency each."""
        length = max(SHORTEST_URGENT, int(view.rate * max(view.latency, 0.02)))
        if gap.length <= length * 3 // 2 or sum(max(0, n) for n in self.urgent.values()) < 2:
            return Extent(gap.start, min(gap.stop, gap.start + max(LONGEST_FLIGHT, length)))
        return Extent(gap.start, gap.start + min(length, LONGEST_FLIGHT))

    def serve_sequentially(self, gap: Extent, priority: Priority) -> None:
        """Where no source with ranges may bring *gap*, stream one without from its start to its end.

        It can't be asked for anything else, so all wants are served by it as it goes on; but one that lied about *gap*.
        """
        if any(not view.sequential and view.reach(gap) for view in self.views.values()):
            return
        streaming = {flight.source for flight in self.flights} | {made.source for made in self.assignments}
        able = [v for v in self.views.values() if v.sequential and self.has_lane(v, priority) and not v.barred(gap)]
        if able and not any(self.views[source].sequential for source in streaming & self.views.keys()):
            self.assign(able[0], Extent(0, self.chunk_map.size), priority)

    # -- nobody waits yet ---------------------------------------------------------------------------------

    def serve_window(self, want: Want) -> None:
        """Give the lanes that are free the gaps of a window: the soonest source the first gap.

        A source that is later by d seconds gets a gap that the reader reaches about d seconds later,
        so that a slow mirror helps without ever being waited for.
        """
        while gap := self.first_gap(want.extent):
            able = [view for view in self.views.values() if self.has_lane(view, want.priority)]
            if not able or not self.assign_window(want, gap, able):
                self.starved = True
                self.serve_sequentially(gap, want.priority)
                return

    def assign_window(self, want: Want, gap: Extent, able: list[SourceView]) -> bool:
        best = min(view.eta(MIB) for view in self.views.values())
        for view in sorted(able, key=lambda view: (view.eta(MIB), view.rank)):
            lead = 0
            if want.priority is Priority.READAHEAD:
                lead = int((view.eta(MIB) - best) * self.total_rate)
                if view.unknown and self.known:  # the end of the window, where nobody waits for it soon
                    lead = max(lead, want.extent.length - MIB)
            chance = self.chance(view, self.from_chunk(max(gap.start, want.extent.start + lead), want))
            if chance is not None:
                part = self.flight_part(view, chance, want)
                if self.worthwhile(view, part, want):
                    self.assign(view, self.at_least(view, part), want.priority)
                    return True
        return False

    def chance(self, view: SourceView, extent: Extent) -> Extent | None:
        """Return the first part of *extent* that is wanted and that *view* may bring."""
        while extent and (gap := self.first_gap(extent)):
            if reach := view.reach(gap):
                return reach
            extent = Extent(min(view.past(gap.start, extent.stop), extent.stop), extent.stop)
        return None

    def from_chunk(self, start: int, want: Want) -> Extent:
        """Return the part of *want* from the chunk that holds *start* on."""
        start = min(start, want.extent.stop)
        return Extent(self.chunk_map.floor(start), want.extent.stop)

    def worthwhile(self, view: SourceView, part: Extent, want: Want) -> bool:
        """Say whether *view* should fly *part* now: a short one at the far end of a window waits until it has grown.

        But not for one of which nothing is known: what it is good for should show early.
        """
        if (
            view.unknown
            or want.priority is not Priority.READAHEAD
            or part.stop < want.extent.stop
            or part.stop == self.chunk_map.size
        ):
            return True
        half = want.extent.length // 2
        least = max(TOP_UP, min(int(view.rate * TOP_UP_TIME), half))
        return part.length >= min(least, view.longest) or part.start - want.extent.start < half

    def flight_part(self, view: SourceView, gap: Extent, want: Want) -> Extent:
        """Cut *gap* to what one flight should carry: about half a second, each lane having a share.

        Where there are several, each has two parts of a window: it ends when the flight of its first bytes does, and
        with one part each the others would wait for that.
        """
        lanes = self.spare + len(self.flights) + len(self.assignments)
        share = want.extent.length // max(1, self.spare)
        if lanes > 2:
            share = min(share, max(want.extent.length // (2 * lanes), 2 * MIB))
        length = min(int(view.rate / 2), view.longest, max(share, MIB))
        stop = self.chunk_map.floor(gap.start + max(length, MIB))
        if stop <= gap.start:  # a chunk longer than a flight
            stop = gap.start + max(length, MIB)
        return Extent(gap.start, min(gap.stop, stop))

    # -- a flight is long ---------------------------------------------------------------------------------

    def split(self, want: Want, least: float = 0.0) -> None:
        """Give lanes that are idle the end of the flight that would be last with *want*, if not for *least* seconds.

        It finds that held when it comes there, and ends.
        """
        able = [view for view in self.views.values() if self.helps(view)]
        if not able:
            return
        late = [(flight.due(rest.stop), flight, rest) for flight in self.flights if (rest := self.alone(flight, want))]
        seconds, flight, rest = max(late, key=lambda each: each[0], default=(0.0, None, None))
        if flight is None or rest is None or seconds < least:
            return
        view = min(able, key=lambda view: (view.eta(MIB), view.rank))
        lanes, shortest = min(self.lanes, self.free[view.source]), min(MIB, want.extent.length)
        for part in parts(flight, rest, view, lanes, shortest, self.chunk_map.floor):
            if view.may(part):
                self.assign(view, part, want.priority, split=True)

    def helps(self, view: SourceView) -> bool:
        """Say whether *view* is idle and a connection more to it may bring more."""
        return self.has_lane(view, Priority.READAHEAD) and view.divides and not view.strikes and not view.sequential

    def alone(self, flight: FlightView, want: Want) -> Extent | None:
        """Return what *flight* alone is to bring of *want*, if that is what it brings next."""
        view = self.views.get(flight.source)
        rest = next(self.held.missing(flight.extent), None)
        if rest is None or view is None or flight.limited or rest.start != flight.extent.start:
            return None
        if view.sequential or not view.divides:
            return None  # the one can't be asked for less, the other brings it in no order
        others = [other.extent for other in self.flights if other is not flight and other.extent.overlaps(rest)]
        others += [made.extent for made in self.assignments if made.extent.overlaps(rest)]
        alone = Extent(rest.start, max(rest.start, min((other.start for other in others), default=rest.stop)))
        return alone.intersection(want.extent) or None
