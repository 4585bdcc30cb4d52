"""A flight as its source, its host and the planner see it, on a mocked clock."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from mountdl.descriptors.model import MirrorRef
from mountdl.engine.flight import SILENCE, Flight, SourceState
from mountdl.engine.scoreboard import LATENCY_PRIOR, RATE_PRIOR, HostScore
from mountdl.extents import Extent, ExtentSet
from mountdl.priorities import Priority
from tests.support.fakes import FakeSource

NOTHING = ExtentSet()
WHOLE = Extent(100, 200)


def on_clock(function: Callable[[MockClock], None]) -> Callable[[], None]:
    """Run a synchronous test inside trio on a clock that only it moves."""

    def test() -> None:
        clock = MockClock()

        async def body() -> None:
            function(clock)

        trio.run(body, clock=clock)

    test.__name__, test.__doc__ = function.__name__, function.__doc__
    return test


class Kept:
    """Keeps what a flight brings in *kept*, and lets it wait *seconds*."""

    seconds = 0.0

    def __init__(self, kept: list[tuple[int, bytes]]) -> None:
        self.kept = kept

    def room(self, flight: Flight, offset: int) -> memoryview | None:
        return None

    def progressed(self, flight: Flight) -> None:
        pass

    def pause(self, flight: Flight, now: float) -> float:
        return self.seconds

    def take(self, flight: Flight, offset: int, data: memoryview) -> None:
        self.kept.append((offset, bytes(data)))


def flight(extent: Extent = WHOLE, taken: list[tuple[int, bytes]] | None = None) -> Flight:
    state = SourceState(MirrorRef("fake://a"), FakeSource(b""), HostScore(8), 0)
    kept: list[tuple[int, bytes]] = [] if taken is None else taken
    return Flight(1, state, extent, Priority.READ, Kept(kept))


@on_clock
def test_what_arrives_is_handed_on(clock: MockClock) -> None:
    """Bytes go to the download as they come; what is left shrinks with them."""
    taken: list[tuple[int, bytes]] = []
    one = flight(taken=taken)
    one.write(100, b"ab")
    one.write(102, b"c")

    assert taken == [(100, b"ab"), (102, b"c")]
    assert (Extent(103, 200), 3) == (one.rest, one.delivered)


@on_clock
def test_bytes_beyond_the_extent_do_not_move_it_further(clock: MockClock) -> None:
    """A source that sends too much has nothing left to deliver, not less than nothing."""
    one = flight()
    one.write(100, b"x" * 150)

    assert Extent(200, 200) == one.rest


@on_clock
def test_what_a_source_filed_itself_counts_as_brought(clock: MockClock) -> None:
    """It is further then, in whatever order pieces come, and nothing is taken in a second time."""
    taken: list[tuple[int, bytes]] = []
    one = flight(taken=taken)
    one.landed(Extent(150, 200))
    assert (Extent(100, 200), 50) == (one.rest, one.delivered)
    one.landed(Extent(100, 150))

    assert (Extent(200, 200), 100) == (one.rest, one.delivered)
    assert one.delivers
    assert [] == taken


@on_clock
def test_before_its_first_byte_it_is_expected_as_its_host_usually_is(clock: MockClock) -> None:
    """The wait shrinks as time goes by."""
    one = flight()
    assert one.view(trio.current_time(), NOTHING, 0).wait == pytest.approx(LATENCY_PRIOR)
    clock.jump(LATENCY_PRIOR / 2)
    view = one.view(trio.current_time(), NOTHING, 0)

    assert view.wait == pytest.approx(LATENCY_PRIOR / 2)
    assert view.rate == pytest.approx(RATE_PRIOR)
    assert not view.stalled


@on_clock
def test_silence_from_the_start_is_a_stall(clock: MockClock) -> None:
    """Silent for longer than its host ever is: late, and the later the longer it will be."""
    one = flight()
    clock.jump(LATENCY_PRIOR * 5 + 0.01)
    view = one.view(trio.current_time(), NOTHING, 0)

    assert view.stalled
    assert view.wait > LATENCY_PRIOR * 5


@on_clock
def test_a_pause_in_the_middle_is_no_stall(clock: MockClock) -> None:
    """A moment without bytes is no sign of trouble; a long one is."""
    one = flight()
    clock.jump(0.01)
    one.write(100, b"x")
    clock.jump(SILENCE - 0.01)
    assert not one.view(trio.current_time(), NOTHING, 0).stalled
    clock.jump(0.1)
    assert one.view(trio.current_time(), NOTHING, 0).stalled


@on_clock
def test_a_pause_as_its_host_makes_them_is_no_stall(clock: MockClock) -> None:
    """Who sends a burst a second is silent for most of it; a pause half as long again is a sign of trouble."""
    one = flight()
    for _ in range(3):
        one.write(100, b"x")
        clock.jump(1.0)
    one.write(100, b"x")
    clock.jump(1.4)
    assert not one.view(trio.current_time(), NOTHING, 0).stalled
    clock.jump(0.2)
    assert one.view(trio.current_time(), NOTHING, 0).stalled


@on_clock
def test_its_own_rate_takes_over(clock: MockClock) -> None:
    """After a second of receiving, what it brings counts, not what its host did before."""
    one = flight(Extent(0, 10_000_000))
    for i in range(100):
        one.write(i * 1000, b"x" * 1000)
        clock.jump(0.01)

    assert one.view(trio.current_time(), NOTHING, 0).rate < 0.1 * RATE_PRIOR


@on_clock
def test_filled_means_that_nothing_is_left_to_bring(clock: MockClock) -> None:
    """A flight whose rest is held is filled; one that delivered all itself is not."""
    one = flight()
    one.write(100, b"x" * 50)
    now = trio.current_time()

    assert not one.view(now, ExtentSet([Extent(0, 190)]), 0).filled
    assert one.view(now, ExtentSet([Extent(150, 200)]), 0).filled
    one.write(150, b"x" * 50)
    assert not one.view(now, ExtentSet([Extent(0, 300)]), 0).filled


@on_clock
def test_it_ends_once_when_the_rest_is_shorter_than_a_round_trip(clock: MockClock) -> None:
    """The download is told once that the next request may go out."""
    one = flight(Extent(0, 10_000_000))
    assert not one.ends(trio.current_time())
    clock.jump(0.1)
    one.write(0, b"x" * 1000)
    assert not one.ends(trio.current_time())
    one.write(1000, b"x" * 9_998_000)

    assert one.ending(trio.current_time())
    assert one.ends(trio.current_time())
    assert not one.ends(trio.current_time())


@on_clock
def test_a_source_counts_where_redirects_led(clock: MockClock) -> None:
    """Two mirrors that send us to one server share its connections, with what flies already."""
    hosts: dict[str, HostScore] = {}

    def find(name: str) -> HostScore:
        return hosts.setdefault(name, HostScore(8))

    states = [SourceState(MirrorRef(f"fake://{i}"), FakeSource(b""), HostScore(8), i, find) for i in range(2)]
    flying = [Flight(i, state, WHOLE, Priority.READ, Kept([])) for i, state in enumerate(states)]
    before = [state.host for state in states]
    for state, each in zip(states, flying, strict=True):
        state.host.flying.add(each)
        state.follow("final")
        state.follow("final")

    assert hosts["final"].flying == set(flying)
    assert all(state.host is hosts["final"] for state in states)
    assert all(not host.flying for host in before)


@on_clock
def test_waiting_on_purpose_is_no_stall(clock: MockClock) -> None:
    """While a limit holds a flight back, its silence is not its source's."""
    held = flight()
    held.write(0, b"0")
    assert isinstance(held._intake, Kept)
    held._intake.seconds = 100.0
    assert held.pause() == 100.0
    clock.jump(99)
    assert not held.view(99.0, ExtentSet(), 0).stalled
    clock.jump(30)
    assert held.view(129.0, ExtentSet(), 0).stalled


@on_clock
def test_a_flight_that_is_held_back_says_so(clock: MockClock) -> None:
    """It is limited while it waits as told for most of its time; its host is not slow for that."""
    held = flight()
    assert isinstance(held._intake, Kept)
    clock.jump(1)
    held.write(100, bytes(10))
    assert not held.view(1.0, NOTHING, 0).limited
    held._intake.seconds = 8.0
    held.pause()
    clock.jump(8)
    assert held.view(9.0, NOTHING, 0).limited
    held._intake.seconds = 0.0
    held.pause()
    clock.jump(1)
    held.write(110, bytes(90))
    held.flown()
    same = HostScore(8)
    same.flown(100, 1.0)  # a second was its own, eight were ours
    assert held.state.host.rate == pytest.approx(same.rate)
    clock.jump(20)
    assert not held.view(30.0, NOTHING, 0).limited
