"""What is wanted in idle bandwidth, and from when on."""

import pytest

from mountdl.engine.background import USED, Background
from mountdl.engine.demand import Demand
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap

SIZE = 3 * USED


def background(size: int = SIZE) -> Background:
    return Background(Demand(), ChunkMap(size, 1 << 20))


def test_a_file_is_used_once_enough_was_read_and_says_so_once() -> None:
    """A thumbnailer's look does not fetch a film."""
    what = background()

    assert [what.used(USED // 2 - 1), what.used(USED // 2), what.used(1), what.used(USED)] == [
        False,
        False,
        True,
        False,
    ]


def test_what_is_readable_is_not_wanted_any_more() -> None:
    """Wants end one by one; ending one twice is no error."""
    what = background()
    first, second = what.add(Extent(0, 1)), what.add(Extent(2 << 20, (2 << 20) + 1))
    what.fulfil(lambda extent: extent.start == 0)

    assert list(what) == [second]
    what.remove(first)
    what.remove(second)
    assert not what


def test_a_look_at_both_ends_is_no_use() -> None:
    """file(1) 5.44 reads 7 MiB at each end, and the kernel a little more: `file *` fetched all files whole."""
    what = background(100 << 20)
    assert not what.used((7 << 20) + (128 << 10))
    assert not what.used((7 << 20) + (128 << 10))


@pytest.mark.parametrize(("size", "most"), [(1, 1), (9, 5), (10, 5), (2 * USED, USED), (9 * USED, USED)])
def test_half_of_a_short_file_is_use(size: int, most: int) -> None:
    """Who read half of a document reads on; and what is left costs no more than what was read."""
    what = background(size)
    assert [what.used(most - 1), what.used(1), what.used(1)] == [False, True, False] if most > 1 else what.used(1)
