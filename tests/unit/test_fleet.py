"""Flights that are too many for a host."""

import trio
from trio.testing import MockClock

from mountdl.descriptors.model import MirrorRef
from mountdl.engine.fleet import ASKED, Fleet
from mountdl.engine.flight import Flight, SourceState
from mountdl.engine.incidents import Incidents
from mountdl.engine.scoreboard import HostScore
from mountdl.engine.views import Assignment
from mountdl.errors import SourceError, StoreError
from mountdl.extents import Extent
from mountdl.priorities import Priority
from tests.support.fakes import FakeSource


class Landings:
    """Keeps which flights are over."""

    def __init__(self) -> None:
        self.over: list[Extent] = []

    def room(self, flight: Flight, offset: int) -> memoryview | None:
        return None

    def pause(self, flight: Flight, now: float) -> float:
        return 0.0

    def take(self, flight: Flight, offset: int, data: memoryview) -> None:
        pass

    def certify(self, extent: Extent) -> None:
        pass

    def source_failed(self, flight: Flight, error: SourceError) -> None:
        raise AssertionError(error)

    def store_failed(self, error: StoreError) -> None:
        raise AssertionError(error)

    def landed(self, flight: Flight) -> None:
        self.over.append(flight.extent)


async def test_what_is_farthest_ahead_ends_when_connections_did_not_pay() -> None:
    """A reader's flight stays, and the nearest beside it; another host's are not concerned."""
    tower = Landings()
    fleet, host = Fleet(tower, Incidents()), HostScore(8)
    state = SourceState(MirrorRef("fake://a"), FakeSource(b"", latency=60.0), host, 0)
    other = SourceState(MirrorRef("fake://b"), FakeSource(b"", latency=60.0), HostScore(8), 1)
    async with trio.open_nursery() as nursery:
        for number, priority in enumerate([Priority.READAHEAD] * 3 + [Priority.READ]):
            fleet.launch(Assignment(0, Extent(number, number + 1), priority), state, nursery)
        fleet.launch(Assignment(1, Extent(9, 10), Priority.READAHEAD), other, nursery)
        await trio.testing.wait_all_tasks_blocked()
        host.lanes.allowed = 2
        fleet.trim(host)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(tower.over, key=lambda extent: extent.start) == [Extent(1, 2), Extent(2, 3)]
        nursery.cancel_scope.cancel()


async def test_it_waits_once_all_have_asked_and_none_delivers(clock: MockClock) -> None:
    """Before that the loop is needed to ask, and after it to take the bytes."""
    fleet = Fleet(Landings(), Incidents())
    fast, slow = FakeSource(b"x" * 100, latency=1.0, pause=60.0), FakeSource(b"", latency=60.0)
    states = [SourceState(MirrorRef(f"fake://{n}"), each, HostScore(8), n) for n, each in enumerate([fast, slow])]
    async with trio.open_nursery() as nursery:
        assert not fleet.waits(trio.current_time())
        for number, state in enumerate(states):
            fleet.launch(Assignment(number, Extent(number, number + 1), Priority.READ), state, nursery)
        assert not fleet.waits(trio.current_time())
        await trio.sleep(2 * ASKED)
        assert fleet.waits(trio.current_time())
        await trio.sleep(1.0)
        assert not fleet.waits(trio.current_time())
        nursery.cancel_scope.cancel()
