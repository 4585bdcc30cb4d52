"""The pure parts of the HTTP package besides `answers`: patience, facts about servers, heads, digests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.settings import HttpSettings
from mountdl.sources.http.client import Facts, flat
from mountdl.sources.http.heads import BadHead, Dialogue, end_of_head
from mountdl.sources.http.mirror import parsed, shown
from mountdl.sources.http.patience import Pace, Patience
from mountdl.sources.http.probing import digests_of


def test_patience_comes_from_the_settings() -> None:
    """The user's time-outs decide about every phase."""
    got = Patience.of(HttpSettings(connect_timeout=1, stall_timeout=2, lowest_rate=3))
    assert Patience(connect=1, head=2, silence=2, rate=3, window=10) == got


def test_pace_judges_whole_windows() -> None:
    """Too slow is what brought too little in a window; each window starts anew."""
    pace = Pace(Patience(rate=100, window=10), 0.0)
    assert not pace.too_slow(9.9)
    pace.came(1000)
    assert not pace.too_slow(10)
    pace.came(999)
    assert not pace.too_slow(19.9)
    assert pace.too_slow(20)
    pace.came(1001)
    assert not pace.too_slow(30)


def test_crowded_server_gets_fewer_connections_and_recovers() -> None:
    """Refusals in one burst halve once; good answers bring connections back."""
    facts = Facts()
    assert facts.parallel(8) == 8
    for _ in range(5):
        facts.crowded(100.0, 0.0)
    assert facts.parallel(8) == 4
    facts.crowded(102.0, 30.0)
    assert (facts.parallel(8), facts.parked_until) == (2, 132.0)
    facts.crowded(103.0, 1.0)
    assert (facts.parallel(8), facts.parked_until) == (2, 132.0)
    for _ in range(64):
        facts.answered()
    assert facts.parallel(8) == 8
    for burst in range(20):
        facts.crowded(1000.0 + 10 * burst, 0.0)
    assert facts.parallel(8) == 1


def test_end_of_head() -> None:
    """The blank line may be written with or without carriage returns, and lie anywhere."""
    assert end_of_head(bytearray(b"A\r\nB: c\r\n\r\nbody"), 0, 15) == 11
    assert end_of_head(bytearray(b"A\nB: c\n\nbody"), 0, 12) == 8
    assert end_of_head(bytearray(b"A\r\nB: c\r\n\r\nbody"), 0, 10) is None


@given(st.binary(max_size=300))
def test_any_head_is_understood_or_refused(data: bytes) -> None:
    """Bytes of a head give a head or BadHead, nothing else."""
    try:
        Dialogue(b"GET", b"/", [(b"Host", b"a")]).head(data + b"\r\n\r\n")
    except BadHead as error:
        assert str(error)  # noqa: PT017 - the law is about which exception there is


@pytest.mark.parametrize(
    ("head", "length", "reusable"),
    [
        (b"HTTP/1.1 206 P\r\nContent-Length: 5\r\n\r\n", 5, True),
        (b"HTTP/1.1 206 P\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n", 5, False),
        (b"HTTP/1.0 206 P\r\nContent-Length: 5\r\n\r\n", 5, False),
        (b"HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\n\r\n", None, True),
        (b"HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", None, True),
        (b"HTTP/1.1 206 P\r\n\r\n", None, False),
        (b"HTTP/1.1 204 N\r\n\r\n", 0, True),
        (b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", 0, True),
    ],
)
def test_framing(head: bytes, length: int | None, reusable: bool) -> None:
    """RFC 9112 section 6.3: what frames a body, and when the connection lives on."""
    got = Dialogue(b"GET", b"/", [(b"Host", b"a")]).head(head)
    assert got is not None
    assert (got.length, got.reusable) == (length, reusable)


def test_answer_to_head_has_no_body() -> None:
    """HEAD: Content-Length tells of a body that does not come."""
    got = Dialogue(b"HEAD", b"/", [(b"Host", b"a")]).head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert got is not None
    assert got.length == 0


def test_request_that_can_not_be_written() -> None:
    """A header with a line break never reaches a server."""
    with pytest.raises(BadHead):
        Dialogue(b"GET", b"/", [(b"Host", b"a"), (b"X", b"a\r\nEvil: b")])


def test_flat_headers() -> None:
    """Names are lower case, repeated ones joined."""
    assert flat([(b"A", b"1"), (b"b", b"2"), (b"a", b"3\xff")]) == {"a": "1, 3\xff", "b": "2"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://u:p@Example.org/a%20b", "http://example.org/a%20b"),
        ("http://example.org/%0a%1b[2J", "http://example.org/%0a%1b[2J"),
        ("https://example.org:444/x#part", "https://example.org:444/x"),
        ("https://[::1]/x", "https://[::1]/x"),
        ("http://exa mple/", "not an http address"),
        ("http://%5Bbad/", "not an http address"),
        ("http://example.org:99999/", "not an http address"),
        ("file:///etc/passwd", "not an http address"),
    ],
)
def test_names(url: str, name: str) -> None:
    """A name shows where, never who."""
    assert name == shown(parsed(url))


def test_digests_of_an_encoded_answer_are_not_the_files() -> None:
    """A digest beside a Content-Encoding is of other bytes."""
    header = {"repr-digest": "sha-256=:" + "A" * 43 + "=:"}
    assert digests_of(header) == {"sha-256": bytes(32)}
    assert digests_of(header | {"content-encoding": "gzip"}) == {}
    assert digests_of({"digest": "sha-256=" + "A" * 40}) == {}
    assert digests_of({"repr-digest": "sha-256=:====:"}) == {}
