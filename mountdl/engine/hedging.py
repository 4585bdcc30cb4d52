"""Whom else to ask for what is late, and which flights to end. Pure.

Laws (tests/unit/test_planner.py): who is late is not asked to help himself, unless silent; what is wanted is ended only
once it is here, or for another that is to bring the same; who is silent fails by that, for a reader only, and by who
did not fail.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from mountdl.engine.demand import Want
from mountdl.engine.lateness import SEVERAL, late
from mountdl.engine.table import Table
from mountdl.engine.views import FlightView, SourceView
from mountdl.extents import Extent
from mountdl.priorities import Priority

MOST_ASKED = 16
"""Sources that are asked for the same bytes at most, when one after the other falls silent."""
ASKED_AGAIN = 1.0
"""Seconds until a silent flight is expected to go on, twice its silence, that let its own source be asked again."""
GIVEN_UP = 4.0
"""Seconds until a silent flight is expected to go on, twice its silence, that are too many for a reader who waits."""


class Hedging:
    """What is done in one planning about flights that are late; *silent*: those that end for their silence."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._sound = frozenset(source for source, view in table.views.items() if not view.strikes)
        self._displaced: set[int] = set()
        self.silent: set[int] = set()

    def hedge(self, want: Want) -> None:
        """Ask a second source for what a late flight owes to *want*; the same again only when the flight is silent.

        One that delivers is not made faster by a second connection that shares its way.
        """
        for flight in self._table.flights:
            part = self._owed(flight, want)
            if part is None or self._answered_for(part):
                continue
            owing = self._owing(part)
            asked = frozenset(other.source for other in owing)
            view = self._table.quickest(part, want.priority, without=asked)
            if view is None and flight.wait >= ASKED_AGAIN and all(other.stalled for other in owing):
                view = self._asked_again(part, want)
            if view is not None and not late(flight, owing, part, view, want.priority):  # but one that failed may do
                view = self._table.quickest(part, want.priority, without=asked | self._sound) or view
            if view is not None and late(flight, owing, part, view, want.priority):
                self._table.assign(view, view.reach(part), want.priority, hedge=True)
            elif view is None and self._table.lanes == (-2 if want.priority is Priority.READ else 0):
                self._displace(owing, part, want.priority)

    def _displace(self, owing: list[FlightView], part: Extent, priority: Priority) -> None:
        """Give the lane of the latest that owes *part* to one who is expected to bring it sooner.

        One that is silent gives it for a reader only: else it may well fail by itself, in its source's time.
        """
        for flight in sorted(owing, key=lambda other: -other.due(part.stop)):
            if flight.stalled and priority is not Priority.READ:
                continue
            self._table.lanes += 1
            view = self._instead(flight, owing, part, priority)
            self._table.lanes -= 1
            if view is not None:
                (self.silent if flight.stalled else self._displaced).add(flight.flight)
                self._table.assign(view, view.reach(part), priority, hedge=True)
                return

    def _instead(
        self, flight: FlightView, owing: list[FlightView], part: Extent, priority: Priority
    ) -> SourceView | None:
        """Return who is to be asked for *part* in the place of *flight*, if that is late enough.

        Only one that is known, where the flight delivers: for one that is not the next would be as good, and so on.
        Where it is silent one that did not fail: it will have failed by that, or two that are silent would ask for one
        another's lane by turns, and a third stay unasked. Nor one that is silent elsewhere; and one of which nothing
        is known only where those that are take long.
        """
        table = self._table
        unfit = {other.source for other in owing} | {other.source for other in table.flights if other.stalled}
        if flight.stalled:
            unfit |= table.views.keys() - self._sound
        unknown = {view.source for view in table.views.values() if view.unknown}
        view = table.quickest(part, priority, without=frozenset(unfit | unknown))
        if flight.stalled and (view is None or view.eta(part.length) > SEVERAL):
            view = table.quickest(part, priority, without=frozenset(unfit)) or view
        if view is not None and late(flight, owing, part, view, priority, instead=True):
            return view
        return None

    def _asked_again(self, part: Extent, want: Want) -> SourceView | None:
        """Return who is to be asked for *part* a second time, as all who were asked are silent; nobody a third time.

        It may be their connections that are dead: all of them are after a suspend.
        """
        asked = Counter(flight.source for flight in self._owing(part))
        once = {source for source, times in asked.items() if times == 1}
        if not once:
            return None
        view = self._table.quickest(part, want.priority, without=frozenset(asked.keys() - once))
        # Flights that nobody wants any more and that are as silent must not hold the lanes it needs.
        self._table.reader_starved |= view is None and want.priority is Priority.READ
        return view

    def _owed(self, flight: FlightView, want: Want) -> Extent | None:
        """Return the first part of *want* that *flight* is to bring and that is not held."""
        return next(self._table.held.missing(flight.extent.intersection(want.extent)), None)

    def _owing(self, part: Extent) -> list[FlightView]:
        """Return the flights that owe bytes of *part*."""
        return [flight for flight in self._table.flights if flight.extent.overlaps(part)]

    def _answered_for(self, part: Extent) -> bool:
        """Say whether enough was done about *part*: too many owe it, or it was given to another in this plan."""
        if len(self._owing(part)) >= MOST_ASKED:
            return True
        return any((made.hedge or made.split) and made.extent.overlaps(part) for made in self._table.assignments)

    def cancels(self, wants: Sequence[Want]) -> Iterable[int]:
        """Yield flights that bring nothing any more, and unwanted ones that are in a reader's way.

        Also those begun for a reader who went away, if more is left of them than a chunk.
        """
        given_up = {
            flight.flight for want in wants if want.priority is Priority.READ for flight in self._given_up(want)
        }
        for flight in self._table.flights:
            unwanted = not any(want.extent.overlaps(flight.extent) for want in wants)
            long = self._goes_on(flight) and flight.extent.length > self._table.chunk_map.length
            in_the_way = self._table.reader_starved and flight.due(flight.extent.stop) > 0.25
            if (
                flight.filled
                or flight.flight in given_up | self._displaced | self.silent
                or (unwanted and (long or in_the_way))
            ):
                yield flight.flight

    def _given_up(self, want: Want) -> Iterable[FlightView]:
        """Yield the longest silent of several silent flights to one source that owe *want* the same bytes.

        The source was asked twice in vain; without that one it is asked anew, in case it is back. Twice as late each
        time: it may be one that takes long to answer, and would be given up for ever just before it does.
        """
        for flight in self._table.flights:
            part = self._owed(flight, want) if flight.stalled and flight.wait >= GIVEN_UP * 2**flight.given_up else None
            twins = [other for other in self._owing(part) if other.source == flight.source] if part is not None else []
            if len(twins) > 1 and all(other.stalled and other.wait <= flight.wait for other in twins):
                yield flight

    def _goes_on(self, flight: FlightView) -> bool:
        """Say whether *flight* was for a reader and can be taken up again anywhere."""
        view = self._table.views.get(flight.source)
        return flight.priority is Priority.READ and view is not None and not view.sequential
