"""Where to cut a flight whose end idle lanes could bring sooner. Pure.

Law: the parts lie in what the flight has still to deliver, none overlaps another, none is shorter than *least* but at
the very end; and all, the flight's own rest too, are expected to be there sooner by `GAIN` seconds or more.
"""

from collections.abc import Callable
from itertools import pairwise

from mountdl.engine.views import FlightView, SourceView
from mountdl.extents import Extent

GAIN = 0.1
"""Seconds by which the last byte must come sooner: less is not worth a connection that is closed and opened again."""


def parts(
    flight: FlightView, rest: Extent, view: SourceView, lanes: int, least: int, floor: Callable[[int], int]
) -> list[Extent]:
    """Return what at most *lanes* lanes of *view* should bring of *rest*, which is *flight*'s; none if that is no gain.

    *least*: bytes that a part is worth; *floor* returns where at or before an offset it is best cut.
    """
    lanes = min(lanes, rest.length // least - 1)
    if lanes < 1:
        return []
    one = min(view.rate, flight.rate) if view.source == flight.source else view.rate
    # All end together: flight.rate * (end - flight.wait) + lanes * one * (end - view.latency) = rest.length
    rate = flight.rate + lanes * one
    end = (rest.length + flight.rate * flight.wait + lanes * one * view.latency) / rate
    if flight.due(rest.stop) - end < max(GAIN, view.latency):
        return []
    kept = int(max(0.0, end - flight.wait) * flight.rate)
    each = max(least, (rest.length - kept) // lanes)
    cuts: list[int] = []
    for number in range(lanes):
        offset = min(rest.start + kept + number * each, rest.stop - (lanes - number) * least)
        best = floor(offset)
        begins = cuts[-1] + least if cuts else rest.start
        cuts.append(best if best >= begins and offset - best < least else offset)
    return [Extent(start, stop) for start, stop in pairwise([*cuts, rest.stop])]
