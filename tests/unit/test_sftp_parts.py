"""The pure parts of SFTP: addresses, and how many bytes may be on their way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.sources.sftp.address import parse
from mountdl.sources.sftp.pace import LEAST, MOST, Pace, Sent


def test_an_address_is_read() -> None:
    """Escapes are undone in what the server is asked, and kept in what is shown, without user and password."""
    found = parse("sftp://me:p%40ss@h.example:2222/a%20b/c")

    assert found is not None
    assert (found.place.host, found.place.port, found.place.user, found.place.password) == (
        "h.example",
        2222,
        "me",
        "p@ss",
    )
    assert found.path == b"/a b/c"
    assert found.shown == "sftp://h.example:2222/a%20b/c"
    assert "p@ss" not in repr(found)


def test_a_path_below_the_home() -> None:
    """`/~/` is the home of the user there; IPv6 hosts stand in brackets."""
    found = parse("sftp://[::1]/~/a")

    assert found is not None
    assert (found.path, str(found.place)) == (b"a", "[::1]:22")


@pytest.mark.parametrize("url", ["sftp:///a", "sftp://h/", "sftp://h", "http://h/a", "sftp://h:x/a", "sftp://h/a%00b"])
def test_what_is_no_address(url: str) -> None:
    """No host, no file, another scheme, a bad port, a NUL."""
    assert parse(url) is None


def flown(rate: float, trip: float, seconds: float) -> Pace:
    """Return the pace of a link of *rate* bytes a second and *trip* seconds after *seconds* of parts of 256 KiB."""
    pace, now, free = Pace(), 0.0, 0.0
    waiting: list[tuple[float, Sent]] = []
    while now < seconds:
        while pace.admits(LEAST):
            free = max(free, now) + LEAST / rate
            waiting.append((free + trip, pace.sent(LEAST, now)))
        now, sent = waiting.pop(0)
        pace.came(sent, now)
    return pace


@pytest.mark.parametrize(("rate", "trip"), [(20e6, 0.02), (300e6, 0.02), (400e6, 0.0001), (2e6, 0.1), (100e6, 0.1)])
def test_the_window_finds_the_link(rate: float, trip: float) -> None:
    """It grows until the link is full, and stays at about twice what that takes."""
    pace = flown(rate, trip, 8)
    full = rate * (trip + LEAST / rate)

    assert min(MOST, max(LEAST, full)) * 0.95 <= pace.window <= min(MOST, max(LEAST, 2.2 * full))
    assert pace.rate >= 0.95 * min(rate, MOST / (trip + LEAST / rate))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=60))
def test_what_is_on_its_way_is_counted(steps: list[tuple[bool, float]]) -> None:
    """Whatever comes or fails: the count is that of the open requests, and one may always go."""
    pace, now, waiting = Pace(), 0.0, list[Sent]()
    for good, later in steps:
        now += later
        if pace.admits(LEAST):
            waiting.append(pace.sent(LEAST, now))
        elif good:
            pace.came(waiting.pop(0), now)
        else:
            pace.failed(waiting.pop(0))
        assert pace.outstanding == LEAST * len(waiting)
        assert LEAST <= pace.window <= MOST
    for sent in waiting:
        pace.failed(sent)
    assert pace.admits(MOST)
