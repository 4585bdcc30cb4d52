"""What is fetched ahead of which reads."""

from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.readahead import (
    BEYOND_HEAD,
    EVIDENCE,
    HEAD,
    HEAD_WINDOW,
    LANE,
    LANE_TIME,
    LARGEST_WINDOW,
    LIFE,
    MOST_CURSORS,
    READ_ON,
    SMALLEST_CAP,
    SMALLEST_WINDOW,
    TOLERANCE,
    TRIAL,
    Readahead,
)
from mountdl.extents import Extent

KIB, MIB = 1 << 10, 1 << 20
SIZE = 1000 * MIB
REQUEST = 128 * KIB


def request(start: int, length: int = REQUEST) -> Extent:
    return Extent(start, start + length)


def walk(ahead: Readahead, start: int, count: int, rate: float = 0.0) -> Extent:
    """Read *count* requests in sequence from *start* and return the last window."""
    return [ahead.advance(request(start + i * REQUEST), 0.0, rate).window for i in range(count)][-1]


def test_one_random_read_fetches_nothing_ahead() -> None:
    """A look somewhere costs what it asked for and no more."""
    assert not Readahead(SIZE).advance(request(500 * MIB), 0.0, 1e9).window


def test_a_first_read_of_the_head_opens_a_window_on_trial() -> None:
    """Who waits for a file's first bytes will mostly read on: a stream is begun, and ends if nobody does."""
    ahead = Readahead(SIZE)
    cursor = ahead.advance(request(HEAD - 1, 4096), 0.0, 1e9, missing=True)

    assert cursor.window == Extent(HEAD + 4095, HEAD_WINDOW)
    ahead.expire(10.0)
    assert cursor.window
    ahead.answered(request(0), 10.0)
    assert ahead.on_trial
    ahead.expire(10.0 + TRIAL / 2)
    assert cursor.window
    ahead.expire(10.0 + TRIAL)
    assert not cursor.window
    assert not ahead.on_trial


def test_a_trial_ends_with_a_look_elsewhere_and_becomes_a_stream_by_reading_on() -> None:
    """A player that jumps to the index at a film's end is not made to share its link with the beginning."""
    ahead = Readahead(SIZE)
    cursor = ahead.advance(request(0, 4096), 0.0, 1e9, missing=True)
    ahead.advance(request(SIZE - MIB), 0.0, 1e9)
    assert not cursor.window

    going = Readahead(SIZE)
    going.advance(request(0, 4096), 0.0, 1e9, missing=True)
    assert going.advance(request(4096, READ_ON), 0.0, 1e9).window == Extent(4096 + READ_ON, HEAD_WINDOW)
    assert not going.on_trial


def test_who_looks_around_in_the_head_is_brought_little_more() -> None:
    """`isoinfo` reads directories here and there within 4 MiB; what lies far behind them is not fetched for that."""
    ahead = Readahead(SIZE)
    windows = [ahead.advance(request(i * 9216, 4096), 0.0, 1e9, missing=i == 0).window for i in range(450)]

    assert max(window.stop for window in windows) <= HEAD_WINDOW + BEYOND_HEAD


def test_who_copies_does_not_wait_at_the_end_of_the_head() -> None:
    """Half of the head read in a row is a copy: the stream behind it is begun while the rest is on its way."""
    window = walk(Readahead(SIZE), 0, HEAD_WINDOW // 2 // REQUEST + 1, rate=50e6)

    assert window.stop > HEAD_WINDOW + BEYOND_HEAD


def test_no_trial_without_a_wait_nor_for_a_short_file() -> None:
    """What is here already, and what is as short as the trial, is read as any other place."""
    assert not Readahead(SIZE).advance(request(0, 4096), 0.0, 1e9).window
    assert not Readahead(HEAD_WINDOW).advance(request(0, 4096), 0.0, 1e9, missing=True).window
    assert not Readahead(SIZE).advance(request(HEAD, 4096), 0.0, 1e9, missing=True).window


def test_scattered_reads_fetch_nothing_ahead() -> None:
    """Reads all over the place, as a database does them, open no window."""
    ahead = Readahead(SIZE)

    assert not any(ahead.advance(request(i * 7 * MIB), 0.0, 1e9).window for i in range(50))


def test_a_sequence_opens_a_window_that_grows() -> None:
    """The longer a sequence, the more is fetched ahead of it, from where it is on."""
    ahead = Readahead(SIZE)
    windows = [ahead.advance(request(SIZE // 2 + i * REQUEST), 0.0, 1e9).window for i in range(600)]
    lengths = [window.length for window in windows]

    assert lengths[EVIDENCE // REQUEST - 2 : EVIDENCE // REQUEST] == [0, SMALLEST_WINDOW]
    assert sorted(lengths) == lengths
    assert lengths[-1] == LARGEST_WINDOW
    assert [SIZE // 2 + (i + 1) * REQUEST for i in range(600)] == [window.start for window in windows]


def test_what_is_skipped_is_not_read() -> None:
    """Small looks at places near each other are no sequence, however far they have come."""
    ahead = Readahead(SIZE)
    windows = [ahead.advance(request(500 * MIB + i * 100 * KIB, 4096), 0.0, 1e9).window for i in range(200)]

    assert not any(windows)


def test_slow_sources_get_a_smaller_window() -> None:
    """A window is bounded by two seconds of what comes, but not below its smallest cap."""
    assert walk(Readahead(SIZE), 0, 600, rate=1.0).length == SMALLEST_CAP
    assert walk(Readahead(SIZE), 0, 600, rate=12.0 * MIB).length == 24 * MIB


def test_requests_out_of_order_are_one_sequence() -> None:
    """The kernel's requests for one reader come up to half a mebibyte out of order."""
    ahead = Readahead(SIZE)
    for group in range(0, 40, 4):
        for place in (2, 0, 3, 1):
            ahead.advance(request((group + place) * REQUEST), 0.0, 1e9)

    assert len(ahead.cursors) == 1
    assert ahead.cursors[0].position == 40 * REQUEST


def test_beyond_the_tolerance_is_another_place() -> None:
    """A jump by more than half a mebibyte starts anew."""
    ahead = Readahead(SIZE)
    walk(ahead, 0, 10)
    at = 10 * REQUEST
    ahead.advance(request(at + TOLERANCE), 0.0, 0.0)
    assert len(ahead.cursors) == 1
    ahead.advance(request(at + TOLERANCE + REQUEST + TOLERANCE + 1), 0.0, 0.0)
    assert len(ahead.cursors) == 2


def test_reading_the_same_again_is_no_sequence() -> None:
    """One header read a thousand times opens no window."""
    ahead = Readahead(SIZE)

    assert not any(ahead.advance(request(0), 0.0, 1e9).window for _ in range(1000))


def test_two_interleaved_readers_keep_two_cursors() -> None:
    """Two films from one file: each has its window, whoever reads next."""
    ahead = Readahead(SIZE)
    for i in range(20):
        one = ahead.advance(request(i * REQUEST), 0.0, 1e9)
        other = ahead.advance(request(500 * MIB + i * REQUEST), 0.0, 1e9)

    assert [one, other] == ahead.cursors
    assert one.window.start == 20 * REQUEST
    assert other.window.start == 500 * MIB + 20 * REQUEST
    assert one.window.length == other.window.length > SMALLEST_WINDOW


def test_fast_connections_have_more_ahead_of_them() -> None:
    """Of four mirrors of 20 MB/s one is late by its round trip, and the others go on meanwhile; one has nobody to wait for."""
    read, open_to = request(500 * MIB, EVIDENCE), 500 * MIB + EVIDENCE
    windows = [
        Readahead(SIZE).advance(read, 0.0, rate, lanes).window for rate, lanes in ((8e6, 4), (80e6, 4), (80e6, 1))
    ]
    assert windows == [
        Extent(open_to, open_to + 4 * LANE),
        Extent(open_to, open_to + int(80e6 * LANE_TIME)),
        Extent(open_to, open_to + SMALLEST_WINDOW),
    ]


def test_the_longest_unused_cursor_goes_first() -> None:
    """Where there are too many places, the one not read for longest is forgotten."""
    ahead = Readahead(SIZE)
    for i in range(MOST_CURSORS + 1):
        ahead.advance(request(i * 10 * MIB), float(i), 0.0)

    assert len(ahead.cursors) == MOST_CURSORS
    assert min(cursor.position for cursor in ahead.cursors) == 10 * MIB + REQUEST


def test_cursors_expire() -> None:
    """A place nobody read for a minute is forgotten, and only that."""
    ahead = Readahead(SIZE)
    old = ahead.advance(request(0), 0.0, 0.0)
    young = ahead.advance(request(50 * MIB), 1.0, 0.0)

    assert ahead.expire(LIFE) == []
    assert [old] == ahead.expire(LIFE + 0.5)
    assert [young] == ahead.cursors


reads = st.lists(
    st.tuples(st.integers(0, 20 * MIB), st.integers(0, MIB), st.floats(0, 200), st.floats(0, 1e10)), max_size=40
)


@given(reads, st.integers(0, 20 * MIB))
def test_any_reads_keep_windows_and_cursors_bounded(history: list[tuple[int, int, float, float]], size: int) -> None:
    """Whatever is read: few cursors, and windows within the content and the largest window."""
    ahead = Readahead(size)
    for start, length, now, rate in sorted(history, key=lambda read: read[2]):
        window = ahead.advance(Extent(start, start + length).clip(size), now, rate).window

        assert window.stop <= size
        assert window.length <= LARGEST_WINDOW
        assert len(ahead.cursors) <= MOST_CURSORS
