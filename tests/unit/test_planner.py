"""The planner's laws, held against sets of integers, and its choices by example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.engine import planner
from mountdl.engine.demand import Want
from mountdl.engine.planner import Assignment, FlightView, Plan, SourceView, plan
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

SIZE = 60
READ, READAHEAD, BACKGROUND = Priority.READ, Priority.READAHEAD, Priority.BACKGROUND
NOTHING = ExtentSet()


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    """Plan in bytes what is planned in mebibytes, so that sets of integers can follow."""
    with pytest.MonkeyPatch.context() as patch:
        for name, length in (("MIB", 4), ("TOP_UP", 8), ("LONGEST_FLIGHT", 16), ("SHORTEST_URGENT", 2)):
            patch.setattr(planner, name, length)
        yield


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


def members(extents: Iterable[Extent]) -> set[int]:
    return {offset for extent in extents for offset in range(extent.start, extent.stop)}


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
        sequential=sequential and draw(st.booleans()),
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
    """What is held or flies is not assigned, nor anything twice, but as a hedge or on the way from 0."""
    made = [a for a in world.plan().assignments if not a.hedge and not streamed(world, a)]
    counts = owners(a.extent for a in made)

    assert set(counts) & world.here == set()
    assert all(count == 1 for count in counts.values())


@settings(max_examples=40)
@given(worlds())
def test_assignments_are_wanted(world: World) -> None:
    """Each has bytes, and each of its bytes is wanted at its priority; a source without ranges starts at 0."""
    for made in world.plan().assignments:
        assert made.extent
        if world.view(made).sequential:
            assert made.extent.start == 0
            assert world.wanted(made.priority)
        else:
            assert members([made.extent]) <= world.wanted(made.priority)


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
    """A content's flights keep to its lanes; a reader's may exceed them by two."""
    made = world.plan().assignments
    rest = world.lanes - len(world.flights)

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
    """A filled flight is cancelled, one that somebody wants never, any other only for a reader."""
    cancels = world.plan().cancels
    reading = any(want.priority is READ for want in world.wants)
    for flight in world.flights:
        wanted = any(want.extent.overlaps(flight.extent) for want in world.wants)
        if flight.filled:
            assert flight.flight in cancels
        elif wanted or not reading:
            assert flight.flight not in cancels
    assert len(set(cancels)) == len(cancels)


@settings(max_examples=40)
@given(worlds(sequential=False))
def test_no_byte_has_more_than_one_hedge(world: World) -> None:
    """A hedge is for what flies; with it two fly the same byte, never three."""
    made = world.plan().assignments
    flying = owners([flight.extent for flight in world.flights])
    for offset, count in owners(a.extent for a in made).items():
        assert flying[offset] + count <= 2
    for hedge in (a for a in made if a.hedge):
        assert members([hedge.extent]) <= set(flying)


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


# -- examples ---------------------------------------------------------------------------------------------------

CHUNKS = ChunkMap(SIZE, 4)


def source(number: int = 0, *, free: int = 1, urgent: int | None = None, **more: object) -> SourceView:
    urgent = free if urgent is None else urgent
    known = SourceView(number, free, urgent, latency=0.1, rate=50.0)
    return replace(known, **more)  # type: ignore[arg-type]


def wanting(start: int, stop: int, priority: Priority = READ, order: int = 0) -> Want:
    return Want(Extent(start, stop), priority, order)


def flight(start: int, stop: int, *, source: int = 0, priority: Priority = READ, wait: float = 0.0) -> FlightView:
    return FlightView(7, source, Extent(start, stop), priority, wait, 50.0, stalled=wait > 1)


def decided(
    wants: list[Want],
    sources: list[SourceView],
    *,
    held: ExtentSet = NOTHING,
    flights: Iterable[FlightView] = (),
    lanes: int = 16,
) -> list[Assignment]:
    return list(plan(wants, held, list(flights), sources, CHUNKS, lanes).assignments)


def test_a_read_jumps_the_queue() -> None:
    """With one lane the reader gets it."""
    got = decided([wanting(40, 44), wanting(0, 20, READAHEAD), wanting(0, 60, BACKGROUND)], [source()])

    assert got == [Assignment(0, Extent(40, 44), READ)]


def test_readahead_goes_before_background() -> None:
    """What a reader will want soon comes before what nobody waits for."""
    got = decided([wanting(40, 44, READAHEAD), wanting(0, 60, BACKGROUND)], [source()])

    assert got == [Assignment(0, Extent(40, 44), READAHEAD)]


def test_spare_lanes_are_for_readers_only() -> None:
    """A host whose lanes are taken still serves a seek, and nothing else."""
    spare = source(free=0, urgent=1)

    assert decided([wanting(0, 4, READAHEAD)], [spare]) == []
    assert decided([wanting(0, 4)], [spare]) == [Assignment(0, Extent(0, 4), READ)]


def test_a_reader_exceeds_the_lanes_of_a_content_by_two() -> None:
    """So that a seek is never behind a full house of readahead."""
    many = [source(free=9)]
    flights = [flight(20, 24, priority=READAHEAD)]
    wants = [wanting(start, start + 2, order=start) for start in (0, 4, 8, 12)]

    assert [a.extent.start for a in decided(wants, many, flights=flights, lanes=1)] == [0, 4]


def test_a_long_read_is_shared_by_mirrors() -> None:
    """Parts flown side by side arrive sooner than one after the other."""
    got = decided([wanting(0, 20)], [source(0), source(1), source(2)])

    assert {a.source for a in got} == {0, 1, 2}
    assert members(a.extent for a in got) == set(range(20))


def test_a_short_read_is_one_flight() -> None:
    """What takes no longer than a latency is not cut."""
    assert len(decided([wanting(0, 6)], [source(0), source(1)])) == 1


def test_the_quickest_serves_a_reader() -> None:
    """A reader is not sent to a slow mirror, whatever its rank."""
    got = decided([wanting(0, 4)], [source(0, latency=2.0), source(1, rank=5)])

    assert [a.source for a in got] == [1]


def test_rank_decides_between_equals() -> None:
    """Where nothing else decides the descriptor's order does."""
    got = decided([wanting(0, 4)], [source(0, rank=2), source(1, rank=1)])

    assert [a.source for a in got] == [1]


def test_a_slow_mirror_works_further_ahead() -> None:
    """It gets what the reader reaches later, so that it helps without being waited for."""
    slow = source(1, rate=10.0, latency=0.2)
    got = decided([wanting(0, 60, READAHEAD)], [source(0), slow])
    starts = {a.source: a.extent.start for a in got}

    assert starts[0] == 0
    assert starts[1] > members(a.extent for a in got if a.source == 0).pop()
    assert starts[1] >= 20


def test_a_hopelessly_slow_mirror_gets_nothing_of_a_window() -> None:
    """What would come after the reader is past it is not asked of it, though background work may be."""
    slow = source(1, rate=0.1, latency=5.0)

    assert {a.source for a in decided([wanting(0, 20, READAHEAD)], [source(0, free=0), slow])} == set()
    assert {a.source for a in decided([wanting(0, 20, BACKGROUND)], [source(0, free=0), slow])} == {1}


def test_flights_are_cut_at_chunks() -> None:
    """A flight ends where a chunk does, so that what it brings can be judged."""
    got = decided([wanting(0, 60, BACKGROUND)], [source(0, free=3, longest=10, rate=1000.0)])

    assert [a.extent for a in got] == [Extent(0, 8), Extent(8, 16), Extent(16, 24)]


def test_a_chunk_longer_than_a_flight_is_flown_in_parts() -> None:
    """A chunk of many mebibytes may come from several lanes."""
    made = plan([wanting(0, 60, BACKGROUND)], NOTHING, [], [source(0, free=2, longest=10)], ChunkMap(SIZE, 60))

    assert [a.extent for a in made.assignments] == [Extent(0, 10), Extent(10, 20)]


def test_a_late_flight_is_hedged_once() -> None:
    """A reader's bytes that are late are asked of another; when that flies, of nobody else."""
    wants, others = [wanting(0, 8)], [source(1), source(2)]
    late = flight(0, 8, wait=5.0)
    got = decided(wants, others, flights=[late])

    assert got == [Assignment(1, Extent(0, 8), READ, hedge=True)]
    both = [late, FlightView(8, 1, Extent(0, 8), READ, 5.0, 50.0)]
    assert decided(wants, others, flights=both) == []


def test_only_the_part_that_is_wanted_is_hedged() -> None:
    """The rest of the late flight may stay late."""
    got = decided([wanting(4, 8)], [source(1)], flights=[flight(0, 20, wait=5.0)])

    assert [a.extent for a in got] == [Extent(4, 8)]


def test_no_hedge_where_nothing_is_faster() -> None:
    """Asking somebody slower only costs."""
    late = flight(0, 8, wait=5.0)

    assert decided([wanting(0, 8)], [source(1, latency=3.0)], flights=[late]) == []
    assert decided([wanting(0, 8)], [source(1)], flights=[flight(0, 8)]) == []
    assert decided([wanting(0, 8)], [], flights=[late]) == []


def test_a_silent_source_may_be_asked_again_itself() -> None:
    """A stalled connection may be dead where its server is not; a slow one is not asked twice."""
    late = flight(0, 8, wait=5.0)

    assert [a.source for a in decided([wanting(0, 8)], [source(0)], flights=[late])] == [0]
    assert decided([wanting(0, 8)], [source(0)], flights=[replace(late, stalled=False)]) == []


def test_nobody_waiting_means_more_patience() -> None:
    """What is late enough to be hedged for a reader is not for the background."""
    late = [flight(0, 8, wait=0.8)]

    assert decided([wanting(0, 8)], [source(1)], flights=late)
    assert not decided([wanting(0, 8, BACKGROUND)], [source(1)], flights=late)


def cancelled(wants: list[Want], one: FlightView, held: ExtentSet = NOTHING) -> bool:
    sources = [source(0, free=0)]
    return plan(wants, held, [one], sources, CHUNKS).cancels == (7,)


def test_a_flight_in_a_readers_way_is_cancelled() -> None:
    """A long flight that nobody wants any more gives its lane to a waiting reader."""
    long = replace(flight(20, 60, priority=READAHEAD), rate=1.0)

    assert cancelled([wanting(0, 4)], long)
    assert not cancelled([wanting(0, 4), wanting(20, 30, READAHEAD)], long)
    assert not cancelled([wanting(0, 4, READAHEAD)], long)
    assert not cancelled([wanting(0, 4)], flight(20, 22))


def test_a_filled_flight_is_cancelled() -> None:
    """Once another brought the bytes, theirs is not waited for."""
    assert cancelled([], replace(flight(0, 8), filled=True), ExtentSet([Extent(0, 8)]))


def test_a_source_without_ranges_streams_from_the_beginning() -> None:
    """Where only such a source is left, a read in the middle streams all of it, once."""
    stream = source(0, sequential=True)
    got = decided([wanting(40, 44)], [stream])

    assert got == [Assignment(0, Extent(0, SIZE), READ)]
    assert decided([wanting(40, 44)], [stream], flights=[flight(20, 24)]) == []


def test_sources_with_ranges_are_preferred_to_streaming() -> None:
    """Nobody streams half a file while another source can start in the middle."""
    got = decided([wanting(40, 44)], [source(0, sequential=True), source(1, latency=5.0)])

    assert [a.source for a in got] == [1]


def test_streaming_helps_where_the_others_may_not() -> None:
    """A source with ranges that lied about the extent does not keep one without from bringing it."""
    liar = source(1, bad=(Extent(40, 44),))
    got = decided([wanting(40, 44)], [source(0, sequential=True), liar])

    assert got == [Assignment(0, Extent(0, SIZE), READ)]


@pytest.mark.parametrize("priority", [READAHEAD, BACKGROUND])
def test_a_source_without_ranges_completes_what_began(priority: Priority) -> None:
    """Where only such a source is left and the beginning is here, the rest is streamed through."""
    got = decided([wanting(0, 60, priority)], [source(0, sequential=True)], held=ExtentSet([Extent(0, 8)]))

    assert [a.extent.start for a in got] == [0]


def test_one_bad_chunk_does_not_bar_a_source_from_the_rest() -> None:
    """A mirror that lied about one chunk goes on with all others in the background."""
    got = decided([wanting(0, 60, BACKGROUND)], [source(0, free=8, bad=(Extent(40, 44),))])

    assert got
    assert not any(a.extent.overlaps(Extent(40, 44)) for a in got)


def test_two_sources_with_a_bad_chunk_each_serve_a_read_together() -> None:
    """Each brings what the other may not."""
    sources = [source(0, free=4, bad=(Extent(4, 8),)), source(1, free=4, bad=(Extent(8, 12),))]
    got = decided([wanting(0, 16)], sources)

    assert members(a.extent for a in got) == set(range(16))


def test_a_hedge_nobody_waits_for_takes_no_readers_lane() -> None:
    """Only a reader's hedge uses the lanes that are kept for readers."""
    late = [replace(flight(0, 8, wait=100.0), priority=BACKGROUND)]

    assert decided([wanting(0, 8, BACKGROUND)], [source(1, free=0, urgent=1)], flights=late) == []
    assert decided([wanting(0, 8, BACKGROUND)], [source(1)], flights=late, lanes=1) == []


def test_a_hedge_asks_for_what_is_missing_only() -> None:
    """What an earlier hedge brought before it failed is not asked again."""
    got = decided([wanting(0, 8)], [source(1)], flights=[flight(0, 8, wait=5.0)], held=ExtentSet([Extent(0, 6)]))

    assert [a.extent for a in got] == [Extent(6, 8)]
