"""What one planning works on: what is held and what flies, who may be asked, what lanes are left. Pure.

It knows how much of each there is, not what had better be done with it.
"""

from collections.abc import Sequence

from mountdl.engine.views import Assignment, FlightView, SourceView
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority


class Table:
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
        self.spare = sum(self.free.values())  # kept, because it is asked for once for each source
        self.lanes = lanes - len(flights)
        self.assignments: list[Assignment] = []
        self.starved = self.reader_starved = False

    def first_gap(self, extent: Extent) -> Extent | None:
        """Return the first part of *extent* that is neither held nor flying."""
        for hole in self.held.missing(extent):
            for gap in self.flying.missing(hole):
                return gap
        return None

    def assign(
        self, view: SourceView, extent: Extent, priority: Priority, *, hedge: bool = False, split: bool = False
    ) -> None:
        """Give *extent* to *view*, and take a lane for that."""
        self.assignments.append(Assignment(view.source, extent, priority, hedge, split))
        self.flying.add(extent)
        self.spare -= self.free[view.source] > 0
        self.free[view.source] -= 1
        self.urgent[view.source] -= 1
        self.lanes -= 1

    def has_lane(self, view: SourceView, priority: Priority) -> bool:
        """Say whether a flight of *priority* may be given to *view*."""
        if priority is Priority.READ:
            return self.urgent[view.source] > 0 and self.lanes > -2
        return self.free[view.source] > 0 and self.lanes > 0

    def quickest(self, gap: Extent, priority: Priority, without: frozenset[int] = frozenset()) -> SourceView | None:
        """Return the source with a lane that is expected to deliver first what it may of *gap*."""
        able = [
            view
            for view in self.views.values()
            if view.source not in without and self.has_lane(view, priority) and view.reach(gap)
        ]
        return min(able, key=lambda v: (v.strikes > 0, v.eta(v.reach(gap).length), v.rank), default=None)
