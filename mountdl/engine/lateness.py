"""When a flight is so late that somebody else had better be asked too. Pure.

Law: what is only a little late costs no second request, and one that trickles keeps no reader from a mirror that is
idle.
"""

from collections.abc import Sequence

from mountdl.engine.views import FlightView, SourceView
from mountdl.extents import Extent
from mountdl.priorities import Priority

# By priority: a flight is hedged when it is expected to take this many times longer, plus these seconds,
# than the same bytes asked elsewhere now. A reader waits for a READ; nobody does for BACKGROUND.
PATIENCE = {
    Priority.READ: (2.0, 0.05),
    Priority.READAHEAD: (3.0, 0.5),
    Priority.BACKGROUND: (4.0, 2.0),
}
SEVERAL = 2.0
"""Seconds more that those have which were asked for the same bytes, one of which delivers, before another is."""


def late(
    flight: FlightView,
    owing: Sequence[FlightView],
    part: Extent,
    view: SourceView,
    priority: Priority,
    *,
    instead: bool = False,
) -> bool:
    """Say whether *flight* is so late with *part* that *view* had better be asked; *instead*: in place of one of them.

    Of several that are *owing* it one may deliver: then all must be later still, or each that is a little slow would
    cost a request. So it must where a connection would be given up for it; but of several that are silent none is
    likely to.
    """
    factor, extra = PATIENCE[priority]
    soon, silent = flight.again(view, part.length) * factor + extra, all(other.stalled for other in owing)
    if not instead and (len(owing) == 1 or silent):
        return soon < flight.due(part.stop)
    times = 1 if silent else len(owing) + instead
    return all(soon * times + SEVERAL < other.due(part.stop) for other in owing)
