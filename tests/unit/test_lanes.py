"""How many connections to a host are used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.descriptors.model import MirrorRef
from mountdl.engine.flight import SourceState
from mountdl.engine.roster import Roster
from mountdl.engine.scoreboard import HostScore, Lanes
from tests.support.fakes import FakeSource

MIB = 1 << 20


class Link:
    """A host whose lanes bring *one* bytes a second each, *all* together at most."""

    def __init__(self, one: float, everything: float, limit: int = 8, latency: float = 0.0) -> None:
        self.one, self.everything, self.latency = one, everything, latency
        self.lanes = Lanes(limit)
        self.now, self.delivered = 0.0, 0.0
        self.seen = [1]

    def run(self, seconds: float, busy: int | None = None) -> None:
        """Use all lanes that are allowed, or *busy*, for a while."""
        stop = self.now + seconds
        while self.now < stop:
            used = self.lanes.allowed if busy is None else busy
            self.delivered += min(used * self.one, self.everything) * 0.05
            self.now += 0.05
            self.lanes.sample(self.now, int(self.delivered), used, self.latency)
            self.seen.append(self.lanes.allowed)


def test_lanes_grow_while_they_pay() -> None:
    """A host that limits each connection is given as many as allowed, and no more: quickly where one brings little."""
    link = Link(1e6, 1e9)
    link.run(10)

    assert sorted(set(link.seen)) == [1, 4, 8]
    assert link.lanes.allowed == 8

    quicker = Link(10e6, 1e9)
    quicker.run(10)
    assert sorted(set(quicker.seen)) == [1, 2, 4, 8]


def test_one_connection_brings_the_first_bytes() -> None:
    """The chunk that the first reader waits for shares its way with nothing, however long it takes."""
    link = Link(1e5, 1e9)
    link.run(Lanes.FIRST / 1e5 - 0.1)
    assert link.lanes.allowed == 1
    link.run(0.2)
    assert [allowed for allowed in link.seen if allowed > 1][0] == 4


def test_more_are_opened_while_the_first_bytes_still_come() -> None:
    """Half as early as a new connection's first byte takes: one may be open already."""
    link = Link(4e6, 1e9, latency=0.1)
    while link.lanes.allowed == 1:
        link.run(0.05)
    assert 0.05 < (Lanes.FIRST - link.delivered) / link.one + 0.05 <= 0.1


def test_a_fast_connection_is_not_doubled_soon() -> None:
    """Where much comes, a trial costs more than it is likely to gain; where little comes, it is begun at once."""
    link = Link(20e6, 1e9)
    link.run(3)
    assert link.lanes.allowed == 1
    link.run(2.5)
    assert link.lanes.allowed >= 2

    slow = Link(4e6, 1e9)
    slow.run(0.5)
    assert slow.lanes.allowed >= 4


def test_a_connection_has_time_to_open() -> None:
    """What a new connection takes until its first byte counts neither for nor against it."""
    lanes, now, delivered = Lanes(8), 0.0, 0.0
    opened = float("inf")
    for _ in range(60):
        before, now = lanes.allowed, now + 0.05
        delivered += 1e6 * 0.05 * (lanes.allowed if now > opened else 1)
        lanes.sample(now, int(delivered), lanes.allowed, 0.4)
        opened = now + 0.4 if lanes.allowed > before else opened

    assert lanes.allowed == 8


def trial(one: float, everything: float, busy: int | None = None) -> tuple[float, Link]:
    """Return the seconds of the first trial, judged every hundredth second, and the link."""
    link, step = Link(one, everything), 0.01
    began = 0.0
    while not began or (link.lanes.trying and link.lanes.allowed == 4):
        used = min(busy or 8, link.lanes.allowed)
        link.delivered += min(used * one, everything) * step
        link.now += step
        link.lanes.sample(link.now, int(link.delivered), used)
        began = began or (link.now if link.lanes.trying else 0.0)
    return link.now - began, link


def test_a_trial_that_plainly_pays_is_over_at_once() -> None:
    """Where four connections bring four times as much, no link is what limits them: the next ones are tried."""
    took, link = trial(4e6, 1e9)
    assert took <= Lanes.GLANCE + 0.02
    assert (link.lanes.allowed, link.lanes.trying) == (8, True)
    assert link.lanes.one == pytest.approx(4e6, rel=0.01)


def test_lanes_without_work_do_not_count_against_a_trial() -> None:
    """Three of four that have something to bring, and bring three times as much, show that all four pay."""
    took, link = trial(4e6, 1e9, busy=3)
    assert took <= Lanes.GLANCE + 0.02
    assert link.lanes.allowed == 8


def test_a_trial_that_brings_nothing_ends_with_its_epoch() -> None:
    """Connections that only compete keep the reader waiting; bursts that look so are not held against them sooner."""
    took, link = trial(4e6, 4e6)
    assert took == pytest.approx(Lanes.EPOCH, abs=0.02)
    assert (link.lanes.allowed, link.lanes.trying) == (1, False)


def test_a_trial_that_is_in_doubt_takes_its_time() -> None:
    """Twice as much over four connections may be the link or the hour."""
    took, link = trial(2e6, 4e6)
    assert took == pytest.approx(Lanes.EPOCH, abs=0.02)
    assert link.lanes.allowed == 2


def test_two_contents_of_a_host_ask_at_once() -> None:
    """What the second one says a moment later changes nothing."""
    alone, both, tried = Lanes(8), Lanes(8), False
    for step in range(40):
        for lanes, times in ((alone, 1), (both, 2)):
            for again in range(times):
                lanes.sample(step * 0.05 + again * Lanes.APART / 2, step * 200_000, lanes.allowed)
        assert alone.allowed == both.allowed
        tried = tried or alone.trying
    assert tried


def test_a_trial_is_judged_while_flights_end() -> None:
    """Lanes that are idle now and then, between two flights, do not keep a trial from its verdict."""
    link = Link(1e6, 1e6)
    while not link.lanes.trying:
        link.run(0.05)
    for _ in range(40):
        link.run(0.05, busy=3)
    assert link.lanes.allowed == 1


def test_lanes_that_do_not_pay_are_taken_back() -> None:
    """Where one connection fills the link, more are tried once, and given back."""
    link = Link(1e6, 1e6)
    link.run(10)

    assert max(link.seen) == 4
    assert link.lanes.allowed == 1
    assert not link.lanes.trying


def test_lanes_are_tried_again_later() -> None:
    """A verdict holds for some time, then the way may have become better."""
    link = Link(1e6, 1e6)
    link.run(Lanes.HOLD - 1)
    assert link.lanes.allowed == 1
    link.everything = 1e9
    link.run(Lanes.HOLD)

    assert link.lanes.allowed > 1


def test_lanes_stop_where_the_link_is_full() -> None:
    """Half-way: three connections' worth of link ends with the three lanes that paid."""
    link = Link(1e6, 3e6)
    link.run(10)

    assert link.lanes.allowed == 3


def test_lanes_not_in_use_are_not_judged() -> None:
    """While fewer flights than lanes are under way nothing can be learned."""
    link = Link(1e6, 1e9)
    link.run(60, busy=0)

    assert link.lanes.allowed == 1


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, MIB), st.integers(0, 20)), max_size=60), st.integers(1, 16))
def test_lanes_stay_within_their_limit(steps: list[tuple[float, int, int]], limit: int) -> None:
    """Whatever happens: at least one lane, at most the limit."""
    lanes, now, delivered = Lanes(limit), 0.0, 0
    for seconds, length, busy in steps:
        now, delivered = now + seconds, delivered + length
        lanes.sample(now, delivered, busy)

        assert 1 <= lanes.allowed <= limit


def test_it_shows_soon_what_pays_at_a_new_server_and_on_trial() -> None:
    """While it does it is looked at more often; a server that sends nothing shows nothing."""
    made, one = Roster(1.0, 5), SourceState(MirrorRef("fake://a"), FakeSource(b"", name="a"), HostScore(8), 0)
    made.states = [one]
    assert not made.trying
    one.flights = 1
    assert not made.trying
    one.host.delivered = 1
    assert made.trying
    one.host.lanes.one = 4e6
    assert not made.trying
    for now in range(4):
        one.host.lanes.sample(now, 1 + now * MIB, 1)
    assert made.trying


def test_a_trial_outlasts_the_silence_between_bursts() -> None:
    """Each connection brings what it may have in a second at once: what came in 0.15 s of that second says nothing."""
    lanes, now, delivered = Lanes(8), 0.0, 0
    opened: list[float] = []
    while now < 20:
        opened += [now + 0.3] * (lanes.allowed - len(opened))  # not in the glance in which a burst shows that it pays
        del opened[lanes.allowed :]
        now += 0.05
        delivered += sum(300_000 for since in opened if now >= since and (now - since) % 1 < 0.05)
        lanes.sample(now, delivered, lanes.allowed, 0.0, 1.0)
    assert lanes.allowed == 8


def test_silences_that_come_again_are_usual() -> None:
    """One may be the network's, for all its connections; twice one after the other is how the server sends."""
    host = HostScore(8)
    host.went_on(0.0, 0.1)
    assert host.lull(0.2) == 0
    host.went_on(1.0, 1.9)
    host.went_on(1.2, 2.0)
    assert host.lull(2.0) == 0
    host.went_on(2.0, 3.0)
    assert host.lull(3.0) == pytest.approx(0.9)
    host.went_on(10.0, 19.0)
    assert host.lull(19.0) == pytest.approx(1.0)
    assert host.lull(60.0) == 0
