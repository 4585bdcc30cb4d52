"""Who may be asked, whom to blame, and when there is no hope."""

import pytest

from mountdl.descriptors.model import MirrorRef, SwarmRef
from mountdl.engine.flight import SourceState
from mountdl.engine.roster import ALONE, LAST_RESORT, MOST_OFFERED, OFFLINE_PATIENCE, SPARE, TRIAL_FLIGHT, Roster
from mountdl.engine.scoreboard import SECOND_CHANCE, HostScore
from mountdl.engine.views import LONGEST_FLIGHT
from mountdl.errors import (
    ContentChanged,
    ContentUnavailable,
    SourceError,
    SourceMismatch,
    SourceRefused,
    SourceUnavailable,
)
from mountdl.extents import Extent
from mountdl.priorities import Priority
from tests.support.fakes import FakeSource

CHUNK, OTHER = Extent(0, 16), Extent(16, 32)
MIB, WAIT, TRIES = 1 << 20, 1.0, 5


class Ahead:
    """A flight that has long to go."""

    priority, delivers = Priority.READAHEAD, True

    def __init__(self, silent_at: float = float("inf")) -> None:
        self._silent_at = silent_at

    def ending(self, now: float) -> bool:
        return False

    def stalled(self, now: float) -> bool:
        return now >= self._silent_at


def state(name: str, rank: int = 0, *, parallel: int = 8, sequential: bool = False, lanes: int = 8) -> SourceState:
    source = FakeSource(b"", name=name, parallel=parallel, sequential=sequential)
    return SourceState(MirrorRef(f"fake://{name}"), source, HostScore(lanes), rank)


def roster(*states: SourceState) -> Roster:
    made = Roster(WAIT, TRIES)
    made.states = list(states)
    return made


def three() -> tuple[Roster, SourceState, SourceState, SourceState]:
    a, b, c = state("a", 0), state("b", 1), state("c", 2)
    return roster(a, b, c), a, b, c


def may(made: Roster, extent: Extent, now: float = 0.0) -> list[int]:
    return [view.source for view in made.views(now) if view.may(extent)]


def unavailable(reason: str = "reset", retry_after: float | None = None) -> SourceError:
    return SourceUnavailable("x", reason, retry_after)


# -- views ------------------------------------------------------------------------------------------------------


def test_a_fresh_source_has_one_lane_and_spares_for_readers() -> None:
    """Nothing being known, one flight at a time, with room for a reader's seek."""
    a = state("a", rank=3)
    view = roster(a).views(0.0)[0]

    assert (view.source, view.free, view.urgent, view.rank) == (0, 1, 1 + SPARE, 3)
    assert (view.longest, view.sequential, view.bad) == (LONGEST_FLIGHT, False, ())


def test_flights_take_lanes() -> None:
    """What flies to a host counts, whichever content it is for."""
    a = state("a")
    a.host.flying |= {Ahead(), Ahead()}
    view = roster(a).views(0.0)[0]

    assert (view.free, view.urgent) == (0, SPARE - 1)


def test_lanes_are_never_negative() -> None:
    """More flights than lanes, as after lanes were taken back, is no debt."""
    a = state("a")
    a.host.flying |= {Ahead() for _ in range(9)}
    view = roster(a).views(0.0)[0]

    assert (view.free, view.urgent) == (0, 0)


def test_a_source_that_takes_one_flight_gets_one() -> None:
    """The source's own limit binds readers too."""
    a = state("a", parallel=1)
    assert roster(a).views(0.0)[0].urgent == 1
    a.flights = 1
    assert roster(a).views(0.0)[0].urgent == 0


def test_a_source_that_takes_none_is_not_counted_on() -> None:
    """A swarm without peers beside a mirror without ranges kept that from being streamed: the read timed out."""
    stream, silent = state("a", sequential=True), state("b", parallel=0)
    assert [view.source for view in roster(stream, silent).views(0.0)] == [0]

    silent.flights = 1
    assert [view.source for view in roster(stream, silent).views(0.0)] == [0, 1]


def test_flights_are_short_while_lanes_are_on_trial() -> None:
    """What only competes for one link is over soon."""
    a = state("a")
    for now in range(4):
        a.host.lanes.sample(now, 1 + now * MIB, 1)

    assert a.host.lanes.trying
    assert TRIAL_FLIGHT <= roster(a).views(1.0)[0].longest < LONGEST_FLIGHT


def test_connections_that_pay_are_counted_once_a_host() -> None:
    """Two mirrors on one server share its connections; one that was dropped has none."""
    a, b, c = state("a"), state("b"), state("c")
    b.host = a.host
    a.host.lanes.allowed = 4
    made = roster(a, b, c)
    assert made.lanes == 5
    c.score.drop(0.0)
    assert made.lanes == 4
    assert roster().lanes == 1
    assert made.pace(1e6) == (1e6, 4)


def test_hosts_whose_connections_did_not_pay_are_told() -> None:
    """Once each trial has failed, and not when it is begun."""
    a, told = state("a"), []
    for now in range(40):
        for _ in range(a.host.lanes.allowed):
            a.host.flying.add(Ahead())
        a.host.delivered = 1 + now * MIB
        told += roster(a).sample(float(now))

    assert told
    assert set(told) == {a.host}


def test_a_failing_source_gets_one_flight_of_a_reader() -> None:
    """During back-off it is not asked; after a second a reader may try it, nobody else."""
    a = state("a")
    made = roster(a)
    for _ in range(TRIES - 1):
        made.failed(a, unavailable(), 0.0)

    assert made.views(0.5) == []
    view = made.views(1.5)[0]
    assert (view.free, view.urgent) == (0, 1 + SPARE)
    assert made.views(60.0)[0].free == 1


def test_a_source_that_failed_too_often_is_for_readers_only() -> None:
    """After `max_tries` failures in a row nobody but a reader asks it for a long while."""
    a = state("a")
    made = roster(a, state("b", 1))
    for _ in range(TRIES):
        made.failed(a, unavailable(), 0.0)

    assert made.views(SECOND_CHANCE - 1)[0].free == 0
    assert made.views(SECOND_CHANCE - 1)[0].urgent == 1 + SPARE
    assert made.views(SECOND_CHANCE)[0].free == 1
    a.score.succeeded()
    assert made.views(0.0)[0].free == 1


def test_without_a_limit_no_failure_is_one_too_many() -> None:
    """Back-off remains, of a minute at most."""
    a = state("a")
    made = Roster(1.0, 0)
    made.states = [a, state("b", 1)]
    for _ in range(100):
        made.failed(a, unavailable(), 0.0)

    assert made.views(100.0)[0].free == 1


@pytest.mark.parametrize("how", ["dropped", "failing"])
def test_where_no_source_works_background_work_looks_each_minute(how: str) -> None:
    """Then the network is more likely gone than all mirrors at once, and it should not be missed when it is back."""
    a, b = state("a"), state("b", 1)
    made = roster(a, b)
    made.failed(b, SourceRefused("b", "404") if how == "dropped" else unavailable(), 0.0)
    for _ in range(TRIES):
        made.failed(a, unavailable(), 0.0)

    assert not a.score.ready(ALONE - 1)
    assert made.rest(1.0) <= ALONE - 1
    assert a.score.ready(ALONE)


def test_a_reader_who_has_no_other_source_asks_dropped_ones_again() -> None:
    """What refused may have been the login page of a network, or a mistake that is mended: not for ten minutes EIO."""
    a, b = state("a"), state("b", 1)
    made = roster(a, b)
    made.failed(a, SourceRefused("a", "a web page"), 0.0)
    made.failed(b, SourceMismatch("b", "7 bytes"), 0.0)

    assert made.views(LAST_RESORT - 1, awaited=True) == []
    assert made.views(LAST_RESORT) == []
    assert [0, 1] == [view.source for view in made.views(LAST_RESORT, awaited=True)]
    assert made.hopeless(CHUNK, LAST_RESORT, LAST_RESORT) is None
    made.failed(a, SourceRefused("a", "a web page"), LAST_RESORT)
    made.failed(b, SourceMismatch("b", "7 bytes"), LAST_RESORT)
    assert isinstance(made.hopeless(CHUNK, LAST_RESORT, LAST_RESORT), ContentUnavailable)
    assert made.views(LAST_RESORT + 1, awaited=True) == []


@pytest.mark.parametrize("how", ["works", "lied"])
def test_a_dropped_source_stays_so_where_another_works_or_it_lied(how: str) -> None:
    a, b = state("a"), state("b", 1)
    made = roster(a, b)
    made.failed(a, SourceRefused("a", "404"), 0.0)
    if how == "lied":
        made.failed(b, SourceRefused("b", "404"), 0.0)
        for extent in (CHUNK, OTHER):
            a.score.blamed(extent, 0.0, "lied")

    assert [1] == [view.source for view in made.views(SECOND_CHANCE - 1, awaited=True)]


def test_a_dropped_source_returns_after_its_time() -> None:
    """Ten minutes later it gets a second chance; what it was blamed for is forgiven but for one more slip."""
    a = state("a")
    made = roster(a)
    for extent in (CHUNK, OTHER):
        a.score.blamed(extent, 0.0, "lied")

    assert made.views(SECOND_CHANCE - 1) == []
    assert [view.bad for view in made.views(SECOND_CHANCE)] == [()]
    a.score.blamed(CHUNK, SECOND_CHANCE, "lied")
    assert a.score.dropped


def test_rate_is_that_of_all_usable_sources() -> None:
    """A dropped source adds nothing."""
    made, a, b, c = three()
    everything = made.rate
    a.score.drop(0.0)

    assert made.rate == b.host.rate + c.host.rate
    assert everything > made.rate


def test_sequential_sources_are_told_apart() -> None:
    """The planner learns which can only start at the beginning."""
    view = roster(state("a", sequential=True)).views(0.0)[0]

    assert view.may(Extent(0, 5))
    assert not view.may(Extent(1, 5))


# -- hope -------------------------------------------------------------------------------------------------------


def test_no_source_is_hopeless_at_once() -> None:
    """A file that no transport can serve fails at once."""
    assert isinstance(roster().hopeless(CHUNK, 0.0, 0.0), ContentUnavailable)


def test_there_is_hope_while_one_source_was_not_tried() -> None:
    """One that has not failed may deliver."""
    made, a, b, _ = three()
    made.failed(a, unavailable(), 0.0)
    made.failed(b, unavailable(), 0.0)

    assert made.hopeless(CHUNK, 0.0, 100.0) is None


def test_all_dropped_is_hopeless_at_once() -> None:
    """Refused everywhere: the reader is told what each answered."""
    made, a, b, c = three()
    for each in (a, b, c):
        made.failed(each, SourceRefused("x", f"404 of {each.source.name}"), 0.0)
    error = made.hopeless(CHUNK, 0.0, 0.0)

    assert isinstance(error, ContentUnavailable)
    assert str(error) == "no source is left: a: 404 of a; b: 404 of b; c: 404 of c"


def test_all_failing_is_hopeless_after_some_patience() -> None:
    """Every source fails: a reader waits some seconds for a hiccup to pass, no longer."""
    made, *states = three()
    for each in states:
        made.failed(each, unavailable("no route"), 0.0)

    assert made.hopeless(CHUNK, 0.0, OFFLINE_PATIENCE - 0.1) is None
    error = made.hopeless(CHUNK, 0.0, OFFLINE_PATIENCE)
    assert isinstance(error, ContentUnavailable)
    assert "no route" in str(error)


def test_a_try_that_began_before_a_reader_came_tells_him_nothing() -> None:
    """It fell silent while the network was down and failed when it was up again, which the next try finds."""
    made, *states = three()
    for each in states:
        made.failed(each, unavailable("silent for 10 s"), 10.0, began=0.0)

    assert made.hopeless(CHUNK, 5.0, 10.0) is None
    assert made.hopeless(CHUNK, 0.0, 10.0) is not None
    for each in states:
        made.failed(each, unavailable("silent for 10 s"), 21.0, began=11.0)
    assert made.hopeless(CHUNK, 5.0, 21.0) is not None


def test_failures_of_long_ago_do_not_count() -> None:
    """A reader who comes later has the sources tried again first."""
    a = state("a")
    made = roster(a)
    made.failed(a, unavailable(), 0.0)

    assert made.hopeless(CHUNK, 100.0, 100.0 + OFFLINE_PATIENCE) is None


def test_who_fails_again_and_again_is_no_source_for_whole_files() -> None:
    """A mirror has so many tries in a row; a swarm may have a peer any time."""
    mirror, swarm = state("mirror"), state("swarm")
    swarm.ref = SwarmRef("magnet:?xt=x", "torrent")
    made = roster(mirror)
    for number in range(TRIES):
        assert made.failed_all(CHUNK) is None
        made.failed(mirror, unavailable(), float(number))
    assert "mirror: reset" in str(made.failed_all(CHUNK))

    made.states.append(swarm)
    for number in range(TRIES):
        made.failed(swarm, unavailable(), float(number))
    assert made.failed_all(CHUNK) is None


def test_changed_everywhere_is_another_error() -> None:
    """Only when every source has another file is it stale; one that merely refuses makes it unavailable."""
    made, a, b, c = three()
    for each in (a, b):
        made.failed(each, SourceMismatch("x", "7 bytes"), 0.0)
    made.failed(c, SourceRefused("x", "404"), 0.0)
    assert isinstance(made.hopeless(CHUNK, 0.0, 0.0), ContentUnavailable)
    made.failed(c, SourceMismatch("x", "7 bytes"), 0.0)

    assert isinstance(made.hopeless(CHUNK, 0.0, 0.0), ContentChanged)


def test_a_source_blamed_for_a_chunk_is_no_hope_for_it() -> None:
    """It stays one for every other chunk."""
    a = state("a")
    made = roster(a)
    a.score.blamed(CHUNK, 0.0, "lied")

    assert isinstance(made.hopeless(Extent(3, 5), 0.0, 0.0), ContentUnavailable)
    assert made.hopeless(OTHER, 0.0, 0.0) is None


def test_reasons_are_bounded() -> None:
    """A hundred mirrors don't make an error of a hundred lines."""
    states = [state(f"m{i}") for i in range(100)]
    made = roster(*states)
    for each in states:
        made.failed(each, unavailable(), 0.0)

    assert made.reasons().endswith("; and 92 more")
    assert roster(state("a")).reasons() == "none has answered yet"


# -- blame ------------------------------------------------------------------------------------------------------


def test_contributors_are_those_who_brought_it() -> None:
    """Each with its parts, until it is judged."""
    made, a, b, _ = three()
    a.score.brought.add(Extent(0, 10))
    b.score.brought.add(Extent(10, 40))

    assert [(a, Extent(0, 10)), (b, Extent(10, 16))] == made.contributors(CHUNK)
    made.settle(CHUNK)
    assert made.contributors(CHUNK) == []
    assert [(b, Extent(16, 32))] == made.contributors(OTHER)


def test_an_accused_chunk_is_asked_of_somebody_else() -> None:
    """Where two brought a wrong chunk, a third brings it alone; other chunks are open to all."""
    made, a, b, _ = three()
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)

    assert may(made, CHUNK) == [2]
    assert may(made, OTHER) == [0, 1, 2]


def test_an_accused_chunk_is_asked_of_nobody_who_takes_none() -> None:
    """A swarm without peers had no part in it, and was waited for until the read timed out, beside an honest mirror."""
    a, b, silent = state("a", 0), state("b", 1), state("c", 2, parallel=0)
    made = roster(a, b, silent)
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    assert may(made, CHUNK) == [0]

    c = state("c", 2)
    made = roster(a, b, c)
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    c.source = silent.source  # its last peer went
    assert may(made, CHUNK) == [0]


def test_an_accused_chunk_without_others_is_asked_of_one_alone() -> None:
    """Where all sources took part, the preferred one brings it alone, so that the next verdict is clear."""
    made, a, b, c = three()
    made.accuse(0, [(each, CHUNK, b"1") for each in (c, b, a)], CHUNK)

    assert may(made, CHUNK) == [0]


def test_a_chunk_that_is_accused_again_is_asked_of_one_alone() -> None:
    """Two pairs, a liar in each, would accuse one another for ever; one alone is right, or is caught."""
    a, b, c, d = (state(name, rank) for rank, name in enumerate("abcd"))
    made = roster(a, b, c, d)
    made.failed(a, unavailable(), 0.0)
    a.score.succeeded()
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    assert may(made, CHUNK) == [2, 3]

    made.accuse(0, [(c, Extent(0, 8), b"3"), (d, Extent(8, 16), b"4")], CHUNK)
    assert may(made, CHUNK) == [1]  # a broke off before
    b.score.blamed(CHUNK, 1.0, "sent wrong bytes")
    assert may(made, CHUNK, 1.0) == [2]


def test_of_those_that_may_bring_a_chunk_alone_the_quickest_is_asked() -> None:
    """One that has always delivered, at a trickle, and is named first kept its reader for a minute."""
    made, a, b, _ = three()
    made.states = [a, b]
    a.host.flown(20_000, 10.0)
    for _ in range(2):
        made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], Extent(0, MIB))
        assert may(made, Extent(0, MIB)) == [1]


def test_suspicions_end_with_the_verdict() -> None:
    """Once the right bytes are here everybody may be asked again, and what was kept is given out once."""
    made, a, b, _ = three()
    kept = [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")]
    made.accuse(0, kept, CHUNK)

    assert kept == made.suspicions(0, CHUNK)
    assert made.suspicions(0, CHUNK) == []
    assert may(made, CHUNK) == [0, 1, 2]


def test_an_accused_chunk_stays_available_when_the_chosen_source_goes() -> None:
    """Whatever happens to the one that was chosen to bring the chunk alone, somebody may still be asked."""
    made, a, b, _ = three()
    made.states = [a, b]
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    a.score.blamed(CHUNK, 0.0, "sent wrong bytes")

    assert may(made, CHUNK) == [1]


def test_an_accused_chunk_stays_available_when_the_third_source_refuses() -> None:
    """A mirror without the file can't bring the chunk alone; one of the accused has to, alone: two would mix again."""
    made, a, b, c = three()
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    made.failed(c, SourceRefused("c", "404"), 0.0)

    assert [0] == may(made, CHUNK)
    made.failed(a, SourceRefused("a", "404"), 0.0)
    assert [1] == may(made, CHUNK)
    made.failed(b, SourceRefused("b", "404"), 0.0)
    assert [] == may(made, CHUNK)


def test_an_accused_chunk_does_not_wait_for_those_that_never_deliver() -> None:
    """Two that fail whenever they are asked, by turns, keep nobody from the honest one of the accused."""
    made, a, b, c = three()
    d = state("d", 3)
    made.states = [c, d, a, b]
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)

    assert may(made, CHUNK) == [0, 1]
    made.failed(c, unavailable("connection refused"), 1.0)
    assert may(made, CHUNK, 1.4) == [1]
    made.failed(d, unavailable("connection refused"), 1.5)
    assert may(made, CHUNK, 2.1) == [2]  # c may be asked again
    a.score.blamed(CHUNK, 2.2, "sent wrong bytes")
    assert may(made, CHUNK, 2.3) == [3]


def test_an_accused_chunk_does_not_wait_for_silence() -> None:
    """A third that was asked and says nothing is no reason not to ask one of the accused, either."""
    made, a, b, c = three()
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    c.host.flying.add(Ahead(silent_at=1.0))

    assert may(made, CHUNK, 0.9) == [2]
    assert may(made, CHUNK, 1.0) == [0]


def test_an_accused_chunk_that_only_failing_sources_can_bring() -> None:
    """Is asked of whoever comes round again."""
    made, a, b, c = three()
    made.accuse(0, [(a, Extent(0, 8), b"1"), (b, Extent(8, 16), b"2")], CHUNK)
    for each in (a, b, c):
        made.failed(each, unavailable(), 1.0)

    assert may(made, CHUNK, 1.5) == []
    assert may(made, CHUNK, 3.0) == [0, 1, 2]


# -- status -----------------------------------------------------------------------------------------------------


def test_status_tells_the_state_of_each() -> None:
    """In the descriptor's order, with a word for what each does and why."""
    a, b, c, d, e = (state(name) for name in "abcde")
    made = roster(a, b, c, d, e)
    made.failed(a, SourceRefused("a", "404"), 0.0)
    made.failed(b, unavailable("busy", 50.0), 0.0)
    c.flights = 1
    made.failed(d, unavailable(), 0.0)
    told = made.statistics(10.0)

    assert [status.state for status in told] == ["dropped", "waiting", "active", "failing", "idle"]
    assert [status.reason for status in told] == ["404", "busy", None, "reset", None]
    assert [status.failures for status in told] == [1, 1, 0, 1, 0]
    assert {0.0} == {status.rate for status in told}


# -- long lists --------------------------------------------------------------------------------------------------


def test_of_a_long_list_the_planner_sees_a_part() -> None:
    """Its work grows with what it sees; the best known and what flies are in that part."""
    states = [state(f"s{rank}", rank) for rank in range(500)]
    states[400].host.latency.add(0.001)
    states[450].flights = 1

    seen = {view.source for view in roster(*states).views(0.0)}

    assert len(seen) == MOST_OFFERED
    assert {0, 1, 400, 450} <= seen


def test_the_last_of_a_long_list_gets_its_turn() -> None:
    """As others fail they make room, those that failed before coming after those that never did."""
    states = [state(f"s{rank}", rank) for rank in range(500)]
    made, now, turns = roster(*states), 0.0, 0
    while 499 not in (seen := [view.source for view in made.views(now) if not view.strikes]):
        for place in seen[:16]:
            made.failed(states[place], unavailable(), now)
        now, turns = now + 0.2, turns + 1
        assert turns < 500 / 16

    assert min(seen) > 400


def test_one_server_does_not_crowd_out_the_others() -> None:
    """Of mirrors that share a server's lanes no more are seen than it has lanes."""
    host = HostScore(8)
    crowd = [SourceState(MirrorRef(f"fake://c{rank}"), FakeSource(b"", name="c"), host, rank) for rank in range(500)]
    other = state("other", 500)

    seen = [view.source for view in roster(*crowd, other).views(0.0)]

    assert [*range(8 + SPARE), 500] == seen


def test_those_without_ranges_do_not_crowd_out_those_with() -> None:
    """They can only be streamed from the start, so that a hundred of them are of no use in the middle."""
    streams = [state(f"s{rank}", rank, sequential=True) for rank in range(100)]
    with_ranges = state("r", 100)

    assert 100 in may(roster(*streams, with_ranges), OTHER)


def test_a_server_shows_something_once_it_sends() -> None:
    """How many connections pay is looked at often then, until that is known; to look before costs the first reader."""
    one = state("a")
    made = roster(one)
    assert not made.trying
    one.flights = 1
    assert not made.trying
    one.delivered(1)
    assert made.trying
    one.host.lanes.one = 1e6
    assert not made.trying
    one.flights = 0
    one.host.lanes.one = 0.0
    assert not made.trying
