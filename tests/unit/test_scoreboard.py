"""What is measured of hosts and sources, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.scoreboard import (
    LONGEST_BACKOFF,
    RATE_PRIOR,
    SECOND_CHANCE,
    Estimate,
    HostScore,
    SourceScore,
)
from mountdl.errors import SourceError, SourceMismatch, SourceRefused, SourceUnavailable
from mountdl.extents import Extent
from mountdl.priorities import Priority

MIB = 1 << 20
WAIT = 1.0


def middle() -> float:
    """Jitter that changes nothing."""
    return 0.5


# -- estimates ------------------------------------------------------------------------------------------------


def test_the_first_sample_replaces_the_prior() -> None:
    """What was guessed counts for nothing once something was measured (RFC 6298 section 2.2)."""
    estimate = Estimate(10.0, 10.0)
    estimate.add(1.0)

    assert (estimate.mean, estimate.deviation, estimate.samples) == (1.0, 0.5, 1)


def test_steady_samples_narrow_the_bound() -> None:
    """Equal samples leave no deviation, so that little is unusual."""
    estimate = Estimate(10.0, 10.0)
    for _ in range(50):
        estimate.add(2.0)

    assert pytest.approx(estimate.bound, abs=0.01) == 2.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_an_estimate_stays_among_its_samples(samples: list[float]) -> None:
    """The mean never leaves the samples; the bound is never below it."""
    estimate = Estimate(0.1, 0.1)
    for sample in samples:
        estimate.add(sample)

    assert min(samples) - 1e-6 <= estimate.mean <= max(samples) + 1e-6
    assert estimate.bound >= estimate.mean


# -- hosts ------------------------------------------------------------------------------------------------------


class Ending:
    def __init__(self, ends: bool, priority: Priority = Priority.READAHEAD, delivers: bool = True) -> None:
        self.ends, self.priority, self.delivers = ends, priority, delivers

    def ending(self, now: float) -> bool:
        return self.ends

    def stalled(self, now: float) -> bool:
        return False


def test_flights_about_to_end_take_no_lane() -> None:
    """The next request is sent while the last one ends."""
    host = HostScore(8)
    host.flying |= {Ending(True), Ending(False), Ending(False)}

    assert host.busy(0.0) == 2


def test_one_flight_for_each_lane_may_be_about_to_end() -> None:
    """Requests that pile up keep the first one from its end; what a reader waits for does not count, it is soon over."""
    host = HostScore(8)
    host.flying |= {Ending(True), Ending(True), Ending(True, Priority.READ)}
    assert host.busy(0.0) == 1
    host.lanes.allowed = 2
    assert host.busy(0.0) == 0


def test_waiting_for_a_first_byte_is_not_what_a_lane_brings() -> None:
    """A mirror far away whose flights are short is not thought slow, so that more connections are tried in vain."""
    host, tick = HostScore(8), 0
    while not host.lanes.one:  # each flight waits for half of its time, and then brings 20 MB a second
        tick += 1
        delivers = tick % 8 >= 4
        host.flying = {Ending(False, delivers=delivers)}
        host.delivered += 400_000 * delivers
        host.sample(tick * 0.02)

    assert host.lanes.one > 15e6
    assert tick * 0.02 > 3


def test_a_host_nothing_is_known_of_is_thought_fast() -> None:
    """So that it is tried."""
    assert HostScore(8).rate == pytest.approx(RATE_PRIOR)


def test_what_lanes_bring_is_known_before_a_flight_has_ended() -> None:
    """The first verdict tells more than the guess; flights that have ended tell more than that."""
    host = HostScore(8)
    for step in range(10):
        host.lanes.sample(step * 0.05, step * 200_000, host.lanes.allowed)
    assert host.rate == pytest.approx(4e6, rel=0.01)
    for _ in range(20):
        host.flown(MIB, 1.0)
    assert host.rate == pytest.approx(MIB, rel=0.05)


def test_a_rate_follows_the_last_flights() -> None:
    """After some flights the guess counts for nothing."""
    host = HostScore(8)
    for _ in range(20):
        host.flown(MIB, 1.0)

    assert host.rate == pytest.approx(MIB, rel=0.05)


def test_a_burst_from_a_buffer_is_no_gigabyte_a_second() -> None:
    """What arrives at once counts as arriving over the shortest time that can be measured."""
    host = HostScore(8)
    for _ in range(20):
        host.flown(1000, 0.0)

    assert host.rate < 1000 / 0.01


def test_the_round_trip_is_the_shortest_of_late() -> None:
    """A connection that had to be opened first does not count; what was long ago does not either."""
    host = HostScore(8)
    host.began(0.3)
    host.began(0.1)
    assert host.round_trip == pytest.approx(0.1)
    for _ in range(8):
        host.began(0.2)
    assert host.round_trip == pytest.approx(0.2)


# -- sources ----------------------------------------------------------------------------------------------------


def unavailable(retry_after: float | None = None) -> SourceUnavailable:
    return SourceUnavailable("a", "reset", retry_after)


def failed(score: SourceScore, error: SourceError, now: float) -> None:
    score.failed(error, now, WAIT, middle)


def test_back_off_doubles_up_to_a_minute() -> None:
    """Each failure in a row doubles the wait in the background."""
    score, waits = SourceScore(), []
    for _ in range(12):
        failed(score, unavailable(), 100.0)
        waits.append(score.retry_at - 100.0)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert waits[-1] == LONGEST_BACKOFF


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_back_off_is_bounded_whatever_the_jitter(failures: int, jitter: float) -> None:
    """No number of failures makes the wait negative or endless."""
    score = SourceScore(strikes=failures)
    score.failed(unavailable(), 0.0, WAIT, lambda: jitter)

    assert 0 < score.retry_at <= LONGEST_BACKOFF * 1.25


def test_a_reader_may_ask_again_after_the_first_wait() -> None:
    """However long the back-off has become, a reader asks again after `wait`, but not at once."""
    score = SourceScore()
    for _ in range(8):
        failed(score, unavailable(), 100.0)

    assert not score.ready_for_read(100.5, WAIT)
    assert score.ready_for_read(101.0, WAIT)
    assert not score.ready(101.0)


def test_a_server_that_asks_to_wait_is_left_alone() -> None:
    """Retry-After binds readers too, but not for longer than a dropped source waits."""
    score = SourceScore()
    failed(score, unavailable(30.0), 0.0)
    assert not score.ready_for_read(29.9, WAIT)
    assert score.ready_for_read(30.0, WAIT)
    failed(score, unavailable(1e9), 0.0)
    assert score.ready_for_read(SECOND_CHANCE, WAIT)


def test_success_forgives() -> None:
    """One delivered flight ends the back-off and takes the reason away."""
    score = SourceScore()
    failed(score, unavailable(30.0), 0.0)
    score.succeeded()

    assert score.ready(0.0)
    assert score.ready_for_read(0.0, WAIT)
    assert (score.strikes, score.reason, score.failures) == (0, None, 1)


@pytest.mark.parametrize("error", [SourceRefused("a", "404"), SourceMismatch("a", "7 bytes")])
def test_what_will_not_change_is_dropped(error: SourceError) -> None:
    """A refusal or another file ends it for a long while, for readers too; then it gets a second chance."""
    score = SourceScore()
    failed(score, error, 0.0)

    assert score.dropped
    assert not score.ready_for_read(SECOND_CHANCE - 1, WAIT)
    assert score.ready(SECOND_CHANCE)


def test_two_bad_chunks_ban() -> None:
    """One bad chunk may be an accident; it is not asked for that again. The second one is a ban."""
    score = SourceScore()
    score.blamed(Extent(0, 10), 0.0, "sent wrong bytes")
    assert not score.dropped
    assert score.ready_for_read(0.0, WAIT)
    assert [Extent(0, 10)] == score.bad
    score.blamed(Extent(20, 30), 0.0, "sent wrong bytes")
    assert score.dropped


def test_success_does_not_lift_a_ban() -> None:
    """A flight of a banned source that lands well does not bring it back, nor does it clear its record."""
    score = SourceScore()
    for start in (0, 20):
        score.blamed(Extent(start, start + 10), 0.0, "sent wrong bytes")
    score.succeeded()

    assert score.dropped
    assert score.reason == "sent wrong bytes"


def test_a_blamed_source_keeps_its_reason() -> None:
    """A user sees that a source lied even while it goes on delivering."""
    score = SourceScore()
    score.blamed(Extent(0, 10), 0.0, "sent wrong bytes")
    score.succeeded()

    assert score.reason == "sent wrong bytes"
