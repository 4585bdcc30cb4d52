"""What the planner chooses, by example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from mountdl.engine.demand import Want
from mountdl.engine.hedging import GIVEN_UP
from mountdl.engine.planner import Plan, plan
from mountdl.engine.views import Assignment, FlightView, SourceView
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from tests.support.planning import (
    BACKGROUND,
    READ,
    READAHEAD,
    SIZE,
    members,
    tiny,  # noqa: F401  # its fixture
)

NOTHING = ExtentSet()

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


def test_a_source_may_want_to_be_asked_for_more() -> None:
    """A flight of its goes on behind what is wanted, up to what somebody brings or has."""
    greedy = source(least=20)

    assert decided([wanting(0, 4)], [greedy]) == [Assignment(0, Extent(0, 20), READ)]
    assert decided([wanting(0, 4, BACKGROUND)], [greedy]) == [Assignment(0, Extent(0, 20), BACKGROUND)]
    assert decided([wanting(0, 4)], [greedy], held=ExtentSet([Extent(8, 12)])) == [Assignment(0, Extent(0, 8), READ)]
    assert decided([wanting(SIZE - 4, SIZE)], [greedy]) == [Assignment(0, Extent(SIZE - 4, SIZE), READ)]


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
    both = [late, FlightView(8, 1, Extent(0, 8), READ, 1.0, 50.0)]
    assert decided(wants, others, flights=both) == []


def test_of_two_that_are_slow_neither_keeps_a_third_from_being_asked() -> None:
    """One of them delivers, so that nothing is silent; but what an idle mirror brings at once takes them a minute."""
    slow = [replace(flight(0, 60, source=number), flight=number, rate=1.0) for number in (0, 1)]
    wants, quick = [wanting(0, 40)], source(2)

    assert decided(wants, [quick], flights=slow) == [Assignment(2, Extent(0, 40), READ, hedge=True)]
    assert decided(wants, [replace(quick, rate=4.0)], flights=slow) == []
    assert decided(wants, [quick], flights=[slow[0], replace(slow[1], rate=20.0)]) == []
    assert decided(wants, [source(0), source(1)], flights=slow) == []


def test_one_that_failed_is_asked_where_those_that_did_not_are_slow() -> None:
    """After an outage all but the slowest may have failed; which they did must keep no reader from them."""
    late, slow, failed = replace(flight(0, 60), rate=1.0), source(1, latency=30.0), source(2, strikes=1)

    assert [2] == [a.source for a in decided([wanting(0, 40)], [slow, failed], flights=[late])]
    assert [1] == [a.source for a in decided([wanting(0, 40)], [source(1), failed], flights=[late])]
    assert [] == decided([wanting(0, 40)], [slow, replace(failed, latency=30.0)], flights=[late])


def test_a_slow_flight_gives_its_lane_to_who_is_faster() -> None:
    """A content that may have one connection has three for a reader; if all are slow the latest of those ends."""
    slow = [replace(flight(0, 60, source=number), flight=number, rate=1.0 + number / 10) for number in (0, 1, 2)]

    def ended(more: SourceView, priority: Priority = READ, lanes: int = 1) -> tuple[int, ...]:
        return plan([wanting(0, 40, priority)], NOTHING, slow, [more], CHUNKS, lanes).cancels

    assert ended(source(3)) == (0,)
    made = plan([wanting(0, 40)], NOTHING, slow, [source(3), source(4, unknown=True, latency=0.0)], CHUNKS, 1)
    assert made.assignments == (Assignment(3, Extent(0, 40), READ, hedge=True),)
    assert ended(source(3), lanes=2) == ended(source(3), READAHEAD) == ended(source(3, rate=2.0)) == ()
    assert ended(source(3), BACKGROUND, lanes=3) == ended(source(3, strikes=1)) == (0,)
    assert ended(source(2)) == ended(source(3, unknown=True)) == ()


def test_a_silent_flight_gives_its_lane_to_who_is_not_silent() -> None:
    """Where a content may have few connections silent mirrors keep them from nobody; they have failed by that."""
    silent = [replace(flight(0, 60, source=number, wait=9.0 - number), flight=number) for number in (0, 1, 2)]

    def decided(*more: SourceView, priority: Priority = READ, lanes: int = 1) -> Plan:
        return plan([wanting(0, 40, priority)], NOTHING, silent, more, CHUNKS, lanes)

    made = decided(source(3))
    assert made.assignments == (Assignment(3, Extent(0, 40), READ, hedge=True),)
    assert made.cancels == (0,)
    assert made.silent == {0}
    assert decided(source(3), lanes=2).cancels == ()  # there is a lane
    for other in (source(2), source(3, strikes=1), source(3, latency=9.0)):  # as silent, or it failed, or takes long
        assert decided(other).cancels == ()
    assert decided(source(3), priority=BACKGROUND, lanes=3).cancels == ()  # nobody waits: let it fail by itself
    silent = [replace(each, wait=2.0) for each in silent]
    assert decided(source(3)).cancels == ()  # it may go on yet


def test_a_silent_flight_gives_its_lane_to_who_is_known_first() -> None:
    """The next of which nothing is known may be silent too; but not to who takes for ever."""
    silent = [replace(flight(0, 60, source=number, wait=9.0), flight=number) for number in (0, 1, 2)]
    known, unknown = source(3, latency=0.3), source(4, latency=0.1, unknown=True)

    def asked(*more: SourceView) -> list[int]:
        return [made.source for made in plan([wanting(0, 40)], NOTHING, silent, more, CHUNKS, 1).assignments]

    assert asked(known, unknown) == [3]
    assert asked(replace(known, rate=5.0), unknown) == [4]
    assert asked(unknown) == [4]


def test_of_what_is_silent_and_what_is_slow_the_latest_gives_its_lane() -> None:
    """One that delivers did not fail, and a source that did may take its place."""
    silent, slow = flight(0, 60, wait=99.0), replace(flight(0, 60, source=1), flight=8, rate=0.5)
    flights = [silent, slow, replace(slow, source=2, flight=9)]

    made = plan([wanting(0, 40)], NOTHING, flights, [source(3)], CHUNKS, 1)
    assert (made.cancels, made.silent) == ((7,), {7})
    made = plan([wanting(0, 40)], NOTHING, flights, [source(3, strikes=1)], CHUNKS, 1)
    assert (made.cancels, made.silent) == ((8,), set())


def test_only_the_part_that_is_wanted_is_hedged() -> None:
    """The rest of the late flight may stay late."""
    got = decided([wanting(4, 8)], [source(1)], flights=[flight(0, 20, wait=5.0)])

    assert [a.extent for a in got] == [Extent(4, 8)]


def test_what_the_users_limits_make_slow_is_not_hedged() -> None:
    """Another would get no more than it does; unless what is wanted lies far behind what it brings first."""
    slow = replace(flight(0, 40), rate=1.0, limited=True)
    others = [source(0), source(1)]

    assert decided([wanting(0, 8)], others, flights=[slow]) == []
    assert decided([wanting(0, 8)], others, flights=[replace(slow, limited=False)]) != []
    assert decided([wanting(32, 40)], others, flights=[slow]) == [Assignment(1, Extent(32, 40), READ, hedge=True)]


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


def test_where_all_are_silent_each_is_asked_once_more() -> None:
    """After a suspend all connections are dead and no server is: a second request to one of them goes by a new one."""
    first, second = flight(0, 8, wait=5.0), replace(flight(0, 8, source=1, wait=4.0), flight=8)
    sources = [source(0), source(1, latency=0.5)]

    assert [0] == [a.source for a in decided([wanting(0, 8)], sources, flights=[first, second])]
    twice = replace(first, flight=9)
    assert [1] == [a.source for a in decided([wanting(0, 8)], sources, flights=[first, second, twice])]
    assert [] == decided([wanting(0, 8)], sources, flights=[first, second, twice, replace(second, flight=10)])
    assert [] == decided([wanting(0, 8)], sources, flights=[first, replace(second, stalled=False)])


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


@pytest.mark.parametrize("priority", [READ, READAHEAD, BACKGROUND])
def test_nobody_streams_all_of_it_for_what_he_lied_about(priority: Priority) -> None:
    """Of a source whose bytes at the end are wrong the beginning would come again and again; another may be right."""
    liar, wants = source(0, sequential=True, bad=(Extent(40, 60),)), [wanting(44, 60, priority)]
    here = ExtentSet([Extent(0, 40)])

    assert decided(wants, [liar], held=here) == []
    assert [a.source for a in decided(wants, [liar, source(1, sequential=True)], held=here)] == [1]


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
    assert decided([wanting(0, 8, BACKGROUND)], [source(1, unknown=True)], flights=late, lanes=1) == []


def test_a_hedge_asks_for_what_is_missing_only() -> None:
    """What an earlier hedge brought before it failed is not asked again."""
    got = decided([wanting(0, 8)], [source(1)], flights=[flight(0, 8, wait=5.0)], held=ExtentSet([Extent(0, 6)]))

    assert [a.extent for a in got] == [Extent(6, 8)]


# -- going on, and giving up ----------------------------------------------------------------------------------------


def test_a_read_goes_on_into_what_is_wanted_ahead() -> None:
    """The request for a waiting reader brings the window behind it too: no round trip between the two."""
    got = decided([wanting(0, 4), wanting(4, 16, READAHEAD)], [source(rate=1000.0)])

    assert got == [Assignment(0, Extent(0, 16), READ)]


def test_a_read_goes_on_only_where_a_stream_may() -> None:
    """Not on a lane kept for readers, not over what is held, not into what lies elsewhere."""
    ahead = wanting(4, 16, READAHEAD)
    held = ExtentSet([Extent(4, 8)])

    assert decided([wanting(0, 4), ahead], [source(free=0, urgent=1)])[0].extent == Extent(0, 4)
    assert decided([wanting(0, 4), ahead], [source()], held=held)[0].extent == Extent(0, 4)
    assert decided([wanting(0, 4), wanting(8, 16, READAHEAD)], [source()])[0].extent == Extent(0, 4)


def test_a_swarm_is_asked_for_what_is_ahead_apart() -> None:
    """There is no round trip to save, and all of a flight is as urgent there: other readers would come after it."""
    got = decided([wanting(0, 4), wanting(4, 16, READAHEAD)], [source(free=2, rate=1000.0, divides=False)])

    assert got == [Assignment(0, Extent(0, 4), READ), Assignment(0, Extent(4, 16), READAHEAD)]


def test_a_long_flight_of_a_reader_who_went_elsewhere_ends() -> None:
    """One chunk is let finish; a stream that nobody wants any more gives its link to who waits."""
    short, long = flight(0, 4), replace(flight(8, 24), flight=8)

    assert plan([wanting(40, 44)], NOTHING, [short, long], [source(free=1)], CHUNKS).cancels == (8,)
    assert plan([wanting(8, 12)], NOTHING, [short, long], [source(free=1)], CHUNKS).cancels == ()


def test_of_two_silent_flights_to_one_mirror_the_longer_silent_ends() -> None:
    """Asked twice in vain, a mirror is asked a third time, in case it is back, but never more than twice at once."""
    first = replace(flight(0, 4, wait=GIVEN_UP + 1), flight=1)
    second = replace(flight(0, 4, wait=GIVEN_UP - 1), flight=2)

    assert plan([wanting(0, 4)], NOTHING, [first, second], [source()], CHUNKS).cancels == (1,)
    assert plan([wanting(0, 4)], NOTHING, [first], [source()], CHUNKS).cancels == ()
    assert plan([wanting(0, 4, READAHEAD)], NOTHING, [first, second], [source()], CHUNKS).cancels == ()
    other = replace(second, source=1)
    assert plan([wanting(0, 4)], NOTHING, [first, other], [source()], CHUNKS).cancels == ()


def slow(start: int, stop: int, *, source: int = 0, rate: float = 5.0) -> FlightView:
    return replace(flight(start, stop, source=source, priority=READAHEAD), rate=rate)


def test_an_idle_lane_takes_the_end_of_a_long_flight() -> None:
    """Begun when nothing was known of its source, it would take eight seconds; the second half is asked beside it."""
    [made] = decided([wanting(0, 40, READAHEAD)], [source()], flights=[slow(0, 40)])

    assert made.split
    assert not made.hedge
    assert made.extent == Extent(20, 40)


def test_a_flight_is_split_once() -> None:
    """What another brings already is not split again: an idle lane takes of what the first alone has, or nothing."""
    wants, flights = [wanting(0, 40, READAHEAD)], [slow(0, 40), replace(slow(20, 40), flight=8)]

    assert decided(wants, [source()], flights=flights) == [Assignment(0, Extent(8, 20), READAHEAD, split=True)]
    assert not decided(wants, [source(free=0)], flights=flights)


def test_nothing_is_split_for_who_delivers_in_no_order_or_all_in_one() -> None:
    """A swarm shares its peers however often it is asked; a stream without ranges can't be asked for less."""
    wants, flights = [wanting(0, 40, READAHEAD)], [slow(0, 40)]
    assert not decided(wants, [source(divides=False)], flights=flights)
    assert not decided(wants, [source(sequential=True)], flights=flights)
    assert not decided(wants, [source(strikes=1)], flights=flights)
    assert not decided(wants, [source(bad=(Extent(20, 40),))], flights=flights)


def test_short_flights_are_split_at_the_end_of_a_file_only() -> None:
    """In the middle of a stream an idle lane has something new to begin soon; at its end it helps the slowest."""
    middle, end = slow(0, 20, rate=40.0), slow(SIZE - 20, SIZE, rate=40.0)
    assert not decided([wanting(0, 20, READAHEAD)], [source(latency=0.01)], flights=[middle])
    assert decided([wanting(SIZE - 20, SIZE, READAHEAD)], [source(latency=0.01)], flights=[end])


def test_several_lanes_share_a_window_in_two_parts_each() -> None:
    """The first of four mirrors is done with its part when the others still have something to go on with."""
    fast = [replace(source(number), rate=1000.0) for number in range(4)]
    made = decided([wanting(0, 60, READAHEAD)], fast[:3])
    assert [each.extent.length for each in made] == [8] * 3

    alone = decided([wanting(0, 60, READAHEAD)], fast[:1])
    assert [each.extent.length for each in alone] == [60]


def test_every_lane_on_trial_gets_something() -> None:
    """A short end of a window waits until it has grown, but not where it is to show what a connection brings."""
    wants, flights = [wanting(0, 24, READAHEAD)], [slow(0, 20, rate=1000.0)]
    assert not decided(wants, [source(rate=1000.0)], flights=flights)

    [made] = decided(wants, [source(rate=1000.0, longest=4)], flights=flights)
    assert made.extent == Extent(20, 24)


def test_a_source_nothing_is_known_of_gets_something() -> None:
    """It shows what it is good for, at the end of a window, where nobody waits for it soon."""
    wants, flights = [wanting(0, 24, READAHEAD)], [slow(0, 20, rate=1000.0)]
    [made] = decided(wants, [source(rate=1000.0, unknown=True)], flights=flights)
    assert made.extent == Extent(20, 24)

    known, unknown = source(1, rate=1000.0, free=0), source(rate=1000.0, unknown=True)
    assert [each.extent for each in decided(wants, [known, unknown])] == [Extent(20, 24)]
