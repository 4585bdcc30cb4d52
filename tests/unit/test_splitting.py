"""Where a long flight is cut for lanes that are idle."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.splitting import parts
from mountdl.engine.views import FlightView, SourceView
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

MIB = 1 << 20
CHUNKS = ChunkMap(1 << 30, MIB)


def flight(length: int, rate: float, wait: float = 0.0, source: int = 0) -> FlightView:
    return FlightView(1, source, Extent(0, length), Priority.READ, wait, rate)


def view(rate: float, latency: float = 0.1) -> SourceView:
    return SourceView(0, 8, 8, latency, rate)


def cut(long: FlightView, by: SourceView, lanes: int) -> list[Extent]:
    return parts(long, long.extent, by, lanes, MIB, CHUNKS.floor)


def test_all_end_together() -> None:
    """Three lanes as fast as the one that flies get a quarter each, in whole chunks, and it keeps the first."""
    assert cut(flight(16 * MIB, 1e6), view(1e6), 3) == [
        Extent(4 * MIB, 8 * MIB),
        Extent(8 * MIB, 12 * MIB),
        Extent(12 * MIB, 16 * MIB),
    ]


def test_a_lane_of_the_same_host_is_expected_to_be_no_faster() -> None:
    """A host of which nothing is known but what this flight shows is not believed to have better connections."""
    assert cut(flight(8 * MIB, 1e6), view(50e6), 1) == cut(flight(8 * MIB, 1e6), view(1e6), 1)
    assert cut(flight(8 * MIB, 1e6, source=1), view(50e6), 1)[0].length > 7 * MIB


def test_what_is_here_soon_is_not_cut() -> None:
    """A connection more costs something; a tenth of a second must be gained."""
    assert cut(flight(8 * MIB, 100e6), view(100e6), 3) == []
    assert cut(flight(8 * MIB, 10e6), view(10e6, latency=1.0), 3) == []


def test_pieces_are_worth_a_connection() -> None:
    """What is short is left to who brings it, and many lanes do not make many crumbs."""
    assert cut(flight(2 * MIB - 1, 1e5), view(1e5), 8) == []
    assert len(cut(flight(3 * MIB, 1e5), view(1e5), 8)) == 2


@given(
    st.integers(0, 20 * MIB),
    st.integers(1, 40 * MIB),
    st.sampled_from([0.0, 0.5, 100.0]),
    st.sampled_from([1e3, 1e6, 5e7]),
    st.sampled_from([1e3, 1e6, 5e7]),
    st.integers(0, 20),
    st.sampled_from([1, 65536, MIB, 16 * MIB]),
)
def test_pieces_lie_in_the_flight_and_apart(
    start: int, length: int, wait: float, rate: float, other: float, lanes: int, chunk: int
) -> None:
    """Whatever is known: in order, end to end up to the flight's end, each worth it, no more than lanes."""
    chunks = ChunkMap(1 << 30, chunk)
    rest = Extent(start, start + length)
    long = FlightView(1, 0, rest, Priority.READAHEAD, wait, rate)
    made = parts(long, rest, view(other), lanes, MIB, chunks.floor)

    assert len(made) <= lanes
    for part, following in pairwise([*made, Extent(rest.stop, rest.stop)] if made else []):
        assert rest.start <= part.start
        assert part.length >= MIB
        assert part.stop == following.start
