"""Planning in bytes what is planned in mebibytes, so that sets of integers can follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from mountdl.engine import planner
from mountdl.extents import Extent
from mountdl.priorities import Priority

SIZE = 60
READ, READAHEAD, BACKGROUND = Priority.READ, Priority.READAHEAD, Priority.BACKGROUND


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    """Plan in bytes for the tests of a module that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        for name, length in (("MIB", 4), ("TOP_UP", 8), ("LONGEST_FLIGHT", 16), ("SHORTEST_URGENT", 2)):
            patch.setattr(planner, name, length)
        yield


def members(extents: Iterable[Extent]) -> set[int]:
    """Return the bytes of *extents* as a set."""
    return {offset for extent in extents for offset in range(extent.start, extent.stop)}
