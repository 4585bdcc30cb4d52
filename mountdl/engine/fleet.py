"""The flights of one content: launched, carried out, ended.

It knows whom to tell and that a flight always lands, cancelled or failed; what its bytes mean is the download's
business.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

import trio

from mountdl.engine.flight import Flight, Intake, SourceState
from mountdl.engine.incidents import Incidents
from mountdl.engine.scoreboard import HostScore
from mountdl.engine.views import Assignment, FlightView
from mountdl.errors import SourceError, SourceRefused, SourceUnavailable, StoreError
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from mountdl.sources.base import Joined

log = logging.getLogger(__name__)

GONE = -1
"""The place of a source that is none of the content's any more."""

ASKED = 0.01
"""Seconds after which a flight's request is on its way, if it has a connection."""
FIRST_LOOK = 0.015
"""Seconds from a read's wait to the next look at most: what it asked for can be prepared for then. Before anything came
the one after it is 0.05 s later: a look takes up to 1 ms, which every 0.02 s fell on the answer of a server 40 ms away.
"""


class Tower(Intake, Protocol):
    """Who is told of flights."""

    def source_failed(self, flight: Flight, error: SourceError) -> None:
        """Take in that *flight*'s source failed."""

    def store_failed(self, error: StoreError) -> None:
        """Take in that the store could not take what a flight brought."""

    def landed(self, flight: Flight) -> None:
        """Take in that *flight* is over. Said once of each, after all else."""


class Fleet:
    """The flights that are under way; *tower* is told what becomes of them, *incidents* which were late."""

    def __init__(self, tower: Tower, incidents: Incidents) -> None:
        self._tower, self._incidents = tower, incidents
        self._flights: dict[int, Flight] = {}
        self._launched = 0

    def __bool__(self) -> bool:
        return bool(self._flights)

    def waits(self, now: float) -> bool:
        """Say whether all flights have asked, and the first byte of none came."""
        flights = self._flights.values()
        return bool(flights) and all(not each.delivers and now - each.started_at >= ASKED for each in flights)

    def overlapping(self, extent: Extent) -> Iterator[Flight]:
        """Yield the flights that were to bring a byte of *extent*."""
        return (flight for flight in tuple(self._flights.values()) if flight.extent.overlaps(extent))

    def views(self, now: float, held: ExtentSet, states: list[SourceState]) -> list[FlightView]:
        """Return them as the planner sees them; a source is its place in *states*."""
        places = {state: place for place, state in enumerate(states)}
        return [flight.view(now, held, places.get(flight.state, GONE)) for flight in self._flights.values()]

    def hasten(self, extent: Extent) -> None:
        """Let sources that schedule for themselves know that a reader waits for *extent*."""
        for flight in self.overlapping(extent):
            if flight.priority is not Priority.READ and isinstance(flight.state.source, Joined):
                flight.state.source.hasten(flight.extent.intersection(extent))

    def cancel(self, number: int, *, silent: bool = False) -> None:
        """End flight *number* before its time; *silent*: for its silence, and its source failed by that."""
        self._flights[number].silent |= silent
        self._flights[number].scope.cancel()

    def cancel_all(self, *, but_awaited: bool) -> None:
        """End every flight before its time; *but_awaited*: not those that bring what a reader waits for."""
        for flight in self._flights.values():
            if not (but_awaited and flight.priority is Priority.READ):
                flight.scope.cancel()

    def trim(self, host: HostScore) -> None:
        """End flights to *host* that nobody waits for, the farthest ahead first, as far as it has too many.

        More connections than pay were tried: what they bring would keep readers waiting for what comes first.
        """
        many = [flight for flight in self._flights.values() if flight.state.host is host]
        ahead = sorted(
            (each for each in many if each.priority is not Priority.READ), key=lambda each: -each.extent.start
        )
        for flight in ahead[: max(0, len(many) - host.lanes.allowed)]:
            flight.scope.cancel()

    def launch(self, assignment: Assignment, state: SourceState, nursery: trio.Nursery) -> None:
        """Begin to carry out *assignment*, which is for *state*."""
        for late in self.overlapping(assignment.extent) if assignment.hedge else ():
            what = "was late; its bytes were asked for once more"
            self._incidents.add(late.state.source.name, what, assignment.extent)
        self._launched += 1
        flight = Flight(self._launched, state, assignment.extent, assignment.priority, self._tower)
        self._flights[flight.number] = flight
        state.flights += 1
        state.host.flying.add(flight)
        log.debug("%s: %s %s", state.source.name, assignment.priority.name, flight.extent)
        nursery.start_soon(self._fly, flight)

    async def _fly(self, flight: Flight) -> None:
        source = flight.state.source
        try:
            with flight.scope:
                await source.fetch(flight.extent, flight, priority=flight.priority)
                if flight.rest:
                    raise SourceUnavailable(source.name, f"sent {flight.delivered} of {flight.extent.length} bytes")
                flight.state.score.succeeded()
            if flight.silent and flight.scope.cancelled_caught:
                raise SourceUnavailable(source.name, "was silent while a reader waited; another was asked instead")
        except SourceError as error:
            self._tower.source_failed(flight, error)
        except StoreError as error:
            self._tower.store_failed(error)
        except Exception:
            log.exception("%s: a defect of mountdl", source.name)
            self._tower.source_failed(flight, SourceRefused(source.name, "a defect of mountdl, see the log"))
        finally:
            self._land(flight)

    def _land(self, flight: Flight) -> None:
        state, host = flight.state, flight.state.host
        del self._flights[flight.number]
        state.flights -= 1
        host.flying.discard(flight)
        flight.flown()
        self._tower.landed(flight)
