"""The planner's laws, held against sets of integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.engine.demand import Want
from mountdl.engine.planner import Plan, plan
from mountdl.engine.views import Assignment, FlightView, SourceView
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from tests.support.planning import (
    READ,
    READAHEAD,
    SIZE,
    members,
    tiny,  # noqa: F401  # its fixture
)

# -- a world to plan in -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    wants: tuple[Want, ...]
    held: ExtentSet
    flights: tuple[FlightView, ...]
    sources: tuple[SourceView, ...]
    chunk_map: ChunkMap
    lanes: int

    def plan(self) -> Plan:
        return plan(self.wants, self.held, self.flights, self.sources, self.chunk_map, self.lanes)

    def view(self, made: Assignment) -> SourceView:
        return next(view for view in self.sources if view.source == made.source)

    @property
    def here(self) -> set[int]:
        return members(self.held) | members(flight.extent for flight in self.flights)

    def wanted(self, *priorities: Priority) -> set[int]:
        return members(want.extent for want in self.wants if want.priority in priorities)


def owners(extents: Iterable[Extent]) -> Counter[int]:
    return Counter(offset for extent in extents for offset in range(extent.start, extent.stop))


@st.composite
def extents(draw: st.DrawFn, least: int = 0) -> Extent:
    start = draw(st.integers(0, SIZE - least))
    return Extent(start, draw(st.integers(start + least, SIZE)))


@st.composite
def views(draw: st.DrawFn, number: int, sequential: bool, bad: bool) -> SourceView:
    free = draw(st.integers(0, 3))
    return SourceView(
        source=number,
        free=free,
        urgent=free + draw(st.integers(0, 2)),
        latency=draw(st.sampled_from([0.0, 0.01, 0.1, 1.0])),
        rate=draw(st.sampled_from([1.0, 10.0, 50.0, 1000.0])),
        rank=draw(st.integers(0, 3)),
        longest=draw(st.integers(1, 20)),
        least=draw(st.sampled_from([0, 0, 7])),
        strikes=draw(st.sampled_from([0, 0, 2])),
        sequential=sequential and draw(st.booleans()),
        unknown=draw(st.booleans()),
        bad=tuple(draw(st.lists(extents(least=1), max_size=2))) if bad else (),
    )


@st.composite
def worlds(draw: st.DrawFn, *, sequential: bool = True, bad: bool = True) -> World:
    """Any state that a download may be in: its wants are whole chunks, its flights don't overlap."""
    held = ExtentSet(draw(st.lists(extents(), max_size=4)))
    sources = tuple(draw(views(number, sequential, bad)) for number in range(draw(st.integers(0, 4))))
    flights: list[FlightView] = []
    for extent in draw(st.lists(extents(), max_size=4)):
        if any(extent.overlaps(flight.extent) for flight in flights):
            continue
        flights.append(
            FlightView(
                flight=10 + len(flights),
                source=draw(st.integers(0, 4)),
                extent=extent,
                priority=draw(st.sampled_from(Priority)),
                wait=draw(st.sampled_from([0.0, 0.1, 3.0, 100.0])),
                rate=draw(st.sampled_from([0.1, 10.0, 1000.0])),
                stalled=draw(st.booleans()),
                filled=bool(extent) and held.covers(extent),
            )
        )
    priorities = sorted(draw(st.lists(st.sampled_from(Priority), max_size=4)))
    chunk_map = ChunkMap(SIZE, draw(st.sampled_from([1, 3, 4, 20])))
    wants = tuple(
        Want(chunk_map.cover(draw(extents(least=1))), priority, order) for order, priority in enumerate(priorities)
    )
    return World(wants, held, tuple(flights), sources, chunk_map, draw(st.integers(1, 8)))


def streamed(world: World, made: Assignment) -> bool:
    """Say whether it is a source without ranges, sent through from the beginning."""
    return world.view(made).sequential and made.extent.start == 0


# -- laws -------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(worlds())
def test_nothing_is_fetched_twice(world: World) -> None:
    """What is held or flies is not assigned, nor anything twice, but as a hedge, a split or on the way from 0."""
    made = [a for a in world.plan().assignments if not (a.hedge or a.split) and not streamed(world, a)]
    counts = owners(a.extent for a in made)

    assert set(counts) & world.here == set()
    assert all(count == 1 for count in counts.values())


@settings(max_examples=40)
@given(worlds())
def test_assignments_are_wanted(world: World) -> None:
    """Each has bytes, wanted at its priority, for a reader also ahead of him, for a greedy source also behind that.

    A source without ranges starts at 0.
    """
    for made in world.plan().assignments:
        assert made.extent
        if world.view(made).sequential:
            assert made.extent.start == 0
            assert world.wanted(made.priority)
        else:
            wanted = world.wanted(made.priority, READAHEAD) if made.priority is READ else world.wanted(made.priority)
            assert made.extent.start in world.wanted(made.priority)
            assert all(at in wanted for at in range(made.extent.start + world.view(made).least, made.extent.stop))


@settings(max_examples=40)
@given(worlds())
def test_no_source_gets_more_than_its_lanes(world: World) -> None:
    """All flights of a source fit its urgent lanes, those that nobody waits for its free ones."""
    made = world.plan().assignments
    for view in world.sources:
        mine = [a for a in made if a.source == view.source]
        assert len(mine) <= view.urgent
        assert len([a for a in mine if a.priority is not READ and not a.hedge]) <= view.free


@settings(max_examples=40)
@given(worlds())
def test_a_content_gets_no_more_than_its_lanes(world: World) -> None:
    """A content's flights keep to its lanes, of those that end others may take theirs; a reader's may exceed by two."""
    made, cancels = world.plan().assignments, world.plan().cancels
    rest = world.lanes - len(world.flights) + len(cancels)

    assert len(made) <= max(0, rest + 2)
    if any(a.priority is not READ and not a.hedge for a in made):
        assert len([a for a in made if not a.hedge]) <= rest


@settings(max_examples=40)
@given(worlds())
def test_bad_extents_are_not_asked_again(world: World) -> None:
    """A source is not asked for what it lied about, but on the way from 0."""
    for made in world.plan().assignments:
        if not streamed(world, made):
            assert not any(made.extent.overlaps(bad) for bad in world.view(made).bad)


def unserved(world: World, made: Iterable[Assignment]) -> set[int]:
    return world.wanted(READ) - world.here - members(a.extent for a in made)


def lanes_left(world: World) -> dict[int, int]:
    """Return the lanes that readers left of each source, none when the content has none left."""
    reads = [a for a in world.plan().assignments if a.priority is READ and not a.hedge]
    if world.lanes - len(world.flights) - len(reads) <= -2:
        return {}
    used = Counter(a.source for a in reads)
    return {view.source: view.urgent - used[view.source] for view in world.sources if view.urgent > used[view.source]}


@settings(max_examples=40)
@given(worlds(sequential=False, bad=False))
def test_readers_are_served_while_there_are_lanes(world: World) -> None:
    """A gap of a reader's want is left only when no lane is."""
    if unserved(world, world.plan().assignments):
        assert lanes_left(world) == {}


@given(worlds(sequential=False))
def test_readers_are_served_around_bad_extents(world: World) -> None:
    """A byte of a reader's want is left only when no source that may bring it has a lane."""
    left = unserved(world, world.plan().assignments)
    for source in lanes_left(world):
        assert left <= members(world.sources[source].bad)


@settings(max_examples=40)
@given(worlds())
def test_nothing_is_called_served_that_is_not(world: World) -> None:
    """Where a reader's want has a gap left, the plan says that it starves."""
    made = world.plan()
    if unserved(world, made.assignments):
        assert made.starved


@settings(max_examples=40)
@given(worlds())
def test_a_plan_is_reproducible(world: World) -> None:
    """The same state gives the same plan, and planning changes nothing that it was given."""
    held = world.held.copy()

    assert world.plan() == world.plan()
    assert held == world.held


@settings(max_examples=40)
@given(worlds())
def test_what_is_wanted_is_not_cancelled(world: World) -> None:
    """A filled flight is cancelled, a wanted one for who brings the same, others for a reader or if it was for one."""
    made, cancels = world.plan().assignments, world.plan().cancels
    reading = any(want.priority is READ for want in world.wants)
    for flight in world.flights:
        wanted = any(want.extent.overlaps(flight.extent) for want in world.wants)
        if flight.filled:
            assert flight.flight in cancels
        elif wanted or not (reading or flight.priority is READ):
            instead = any(a.hedge and a.extent.overlaps(flight.extent) for a in made)
            assert flight.flight not in cancels or instead
    assert len(set(cancels)) == len(cancels)


@settings(max_examples=200)
@given(worlds())
def test_only_the_silent_fail_for_a_reader_by_who_did_not(world: World) -> None:
    """A flight that fails by the plan is silent, and owes what a reader's hedge brings, of a source that is neither."""
    made = world.plan()
    failed = {flight.source for flight in world.flights if flight.stalled}
    for flight in (flight for flight in world.flights if flight.flight in made.silent):
        hedges = [a for a in made.assignments if a.hedge and a.extent.overlaps(flight.extent)]
        assert flight.stalled
        assert any(a.priority is READ and a.source not in failed and not world.view(a).strikes for a in hedges)
    assert made.silent <= set(made.cancels)


@settings(max_examples=40)
@given(worlds(sequential=False))
def test_no_byte_has_more_than_one_hedge(world: World) -> None:
    """A hedge is for what flies; with it two fly the same byte, never three."""
    made = world.plan().assignments
    flying = owners([flight.extent for flight in world.flights])
    for offset, count in owners(a.extent for a in made).items():
        assert flying[offset] + count <= 2
    for again in (a for a in made if a.hedge or a.split):
        assert members([again.extent]) <= set(flying)


@settings(max_examples=40)
@given(worlds())
def test_a_late_source_is_not_asked_to_help_itself(world: World) -> None:
    """A second connection to the same source is for one that is silent only."""
    for hedge in (a for a in world.plan().assignments if a.hedge):
        late = [flight for flight in world.flights if flight.extent.overlaps(hedge.extent)]
        assert all(flight.source != hedge.source or flight.stalled for flight in late)


@settings(max_examples=40)
@given(worlds())
def test_flights_end_where_they_say(world: World) -> None:
    """Planning on with what was planned ends: after few rounds nothing more is assigned."""
    flights, number = list(world.flights), 100
    for _ in range(20):
        step = replace(world, flights=tuple(flights))
        made = step.plan().assignments
        if not made:
            return
        for a in made:
            number += 1
            flights.append(FlightView(number, a.source, a.extent, a.priority, 0.0, 1e9))
    pytest.fail("it assigns for ever")
