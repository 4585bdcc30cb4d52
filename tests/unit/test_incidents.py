"""What is kept of what went wrong."""

import logging

import pytest

from mountdl.engine.incidents import KEPT, LOGGED_EVERY, Incidents
from mountdl.errors import StoreError
from mountdl.extents import Extent


def told(incidents: Incidents) -> list[tuple[str | None, str, int]]:
    return [(incident.source, incident.what, incident.times) for incident in incidents]


def test_repetitions_are_counted() -> None:
    """The same again and again is one incident with a count, and the extent that it last was about."""
    incidents = Incidents()
    for start in range(5):
        incidents.add("a", "reset", Extent(start, 10))

    assert told(incidents) == [("a", "reset", 5)]
    assert [Extent(4, 10)] == [incident.extent for incident in incidents]


def test_another_source_or_another_deed_is_another_incident() -> None:
    """Only what the newest incident says again is a repetition."""
    incidents = Incidents()
    for source, what in (("a", "reset"), ("b", "reset"), ("b", "late"), ("a", "reset"), ("a", "reset")):
        incidents.add(source, what)

    assert told(incidents) == [("a", "reset", 1), ("b", "reset", 1), ("b", "late", 1), ("a", "reset", 2)]


def test_only_the_last_are_kept() -> None:
    """Memory is bounded; the oldest go first."""
    incidents = Incidents()
    for number in range(KEPT + 5):
        incidents.add(None, str(number))

    assert [str(number) for number in range(5, KEPT + 5)] == [incident.what for incident in incidents]


def test_walking_while_something_happens_is_safe() -> None:
    """Whoever lists incidents sees those of the moment it began."""
    incidents = Incidents()
    incidents.add(None, "one")
    for incident in incidents:
        incidents.add(None, f"after {incident.what}")

    assert [incident.what for incident in incidents] == ["one", "after one"]


def test_the_log_tells_of_failed_reads_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """Why a film stopped last night can be looked up; a player that tries each second all night writes no book."""
    caplog.set_level(logging.WARNING)
    incidents = Incidents()
    for minute in range(25):
        incidents.read_failed("a read failed", Extent(0, 10), f"no source answers, minute {minute}", 60.0 * minute)

    assert LOGGED_EVERY == 600
    assert told(incidents) == [(None, "a read failed", 25)]
    assert [f"a read failed: no source answers, minute {minute}" for minute in (0, 10, 20)] == caplog.messages


def test_of_the_store_the_log_was_told_already(caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full is one line there, however many files can't be read."""
    incidents = Incidents()
    incidents.read_failed("a read failed: full", Extent(0, 10), StoreError("full"), 0.0)

    assert [] == caplog.messages
    assert told(incidents) == [(None, "a read failed: full", 1)]
