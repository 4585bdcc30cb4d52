"""What is kept of what went wrong."""

from mountdl.engine.incidents import KEPT, Incidents
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
