"""Extents and sets of them, held against sets of integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.extents import Extent, ExtentSet

LIMIT = 40


@st.composite
def extents(draw: st.DrawFn) -> Extent:
    a, b = draw(st.integers(0, LIMIT)), draw(st.integers(0, LIMIT))
    return Extent(min(a, b), max(a, b))


steps = st.lists(st.tuples(st.booleans(), extents()), max_size=25)


def bytes_of(extent: Extent) -> set[int]:
    return set(range(extent.start, extent.stop))


def built(history: list[tuple[bool, Extent]]) -> tuple[ExtentSet, set[int]]:
    got, oracle = ExtentSet(), set[int]()
    for adding, extent in history:
        if adding:
            got.add(extent)
            oracle |= bytes_of(extent)
        else:
            got.remove(extent)
            oracle -= bytes_of(extent)
    return got, oracle


def members(found: object) -> set[int]:
    return {offset for extent in found for offset in range(extent.start, extent.stop)}  # type: ignore[attr-defined]


@given(steps)
def test_a_set_holds_what_was_added_and_not_removed(history: list[tuple[bool, Extent]]) -> None:
    """After any history the set has the bytes, the total and the fewest sorted extents that an oracle has."""
    got, oracle = built(history)

    assert oracle == members(got)
    assert len(oracle) == got.total
    ordered = list(got)
    assert all(ordered)
    assert all(a.stop < b.start for a, b in zip(ordered, ordered[1:], strict=False))
    assert len(ordered) == len(got)


@given(steps, extents())
def test_missing_and_overlap_part_an_extent(history: list[tuple[bool, Extent]], asked: Extent) -> None:
    """What is missing and what overlaps are disjoint, in order, and together the extent asked about."""
    got, oracle = built(history)
    missing, overlap = list(got.missing(asked)), list(got.overlap(asked))

    assert bytes_of(asked) - oracle == members(missing)
    assert bytes_of(asked) & oracle == members(overlap)
    for parts in (missing, overlap):
        assert all(parts)
        assert sorted(parts) == parts
        assert all(a.stop < b.start for a, b in zip(parts, parts[1:], strict=False))
    assert (bytes_of(asked) <= oracle) == got.covers(asked)


def test_nothing_overlaps_no_bytes() -> None:
    """An empty extent inside the set has no part in it."""
    assert [] == list(ExtentSet([Extent(0, 2)]).overlap(Extent(1, 1)))


@given(steps, extents())
def test_missing_is_lazy(history: list[tuple[bool, Extent]], asked: Extent) -> None:
    """The first missing part is the same whether or not the rest is asked for."""
    got, _ = built(history)

    assert next(iter(list(got.missing(asked))), None) == next(got.missing(asked), None)


@given(steps, extents())
def test_a_copy_is_independent(history: list[tuple[bool, Extent]], added: Extent) -> None:
    """Changing a copy leaves the set alone; equal sets are those of equal bytes."""
    got, oracle = built(history)
    twin = got.copy()
    assert twin == got
    twin.add(added)

    assert oracle == members(got)
    assert (twin == got) == (bytes_of(added) <= oracle)


@given(extents(), extents())
def test_extents_agree_with_sets(one: Extent, other: Extent) -> None:
    """Covering, overlapping, cutting and clipping are what they are for sets of bytes."""
    a, b = bytes_of(one), bytes_of(other)

    assert (b <= a) == one.covers(other)
    assert bool(a & b) == one.overlaps(other)
    assert a & b == bytes_of(one.intersection(other))
    assert {offset for offset in a if offset < other.start} == bytes_of(one.clip(other.start))
    assert len(a) == one.length
    assert bool(a) == bool(one)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 4)])
def test_what_is_no_extent_is_refused(start: int, stop: int) -> None:
    """An extent does not begin below 0 nor stop before it starts."""
    with pytest.raises(ValueError, match="not an extent"):
        Extent(start, stop)


def test_they_print_as_start_stop() -> None:
    """Logs show extents and sets alike."""
    assert str(Extent(3, 9)) == "3-9"
    assert repr(ExtentSet([Extent(0, 2), Extent(5, 6)])) == "ExtentSet(0-2, 5-6)"
