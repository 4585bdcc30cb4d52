"""Bytes in memory beside a data file, against a plain array."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mountdl.extents import Extent, ExtentSet
from mountdl.store.overflow import Overflow

SIZE = 40
extents = st.tuples(st.integers(0, SIZE), st.integers(0, 12)).map(
    lambda pair: Extent(pair[0], min(pair[0] + pair[1], SIZE))
)


@given(st.lists(st.tuples(st.booleans(), extents), max_size=20), extents)
def test_it_holds_what_came_last_and_was_not_removed(steps: list[tuple[bool, Extent]], asked: Extent) -> None:
    """Whatever was added and removed: each byte is given back, or told to be elsewhere, in order and once."""
    held, model = Overflow(), [-1] * SIZE
    for number, (added, extent) in enumerate(steps):
        if not added:
            held.remove(extent)
        elif extent:
            held.add(extent, bytes([number]) * extent.length)
        model[extent.start : extent.stop] = [number if added else -1] * extent.length

    got: list[int] = []
    for part, data in held.split(asked):
        assert part.start == asked.start + len(got)
        got += [-1] * part.length if data is None else list(data)
    assert got == model[asked.start : asked.stop]
    assert held.total == held.extents.total == sum(value >= 0 for value in model)
    everything = ExtentSet([Extent(0, SIZE)])
    assert held.beside(everything).total == SIZE - held.total
    assert bool(held) == (held.total > 0)


def test_what_is_cut_off_frees_its_memory() -> None:
    """A rest of a byte does not keep the whole scrap alive; the order of arrival stays."""
    held = Overflow()
    held.add(Extent(10, 20), b"abcdefghij")
    held.add(Extent(0, 5), b"12345")
    held.remove(Extent(11, 30))

    assert [(scrap.extent, bytes(scrap.data)) for scrap in held.scraps] == [
        (Extent(0, 5), b"12345"),
        (Extent(10, 11), b"a"),
    ]
    assert len(held.scraps[1].data.obj) == 1
    assert held.scraps[0].number > held.scraps[1].number
