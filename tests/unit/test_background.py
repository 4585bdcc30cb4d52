"""What is wanted in idle bandwidth, and from when on."""

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


def test_a_short_file_is_used_when_all_of_it_was_read() -> None:
    """Less than the limit can't be read of it."""
    what = background(10)

    assert [what.used(9), what.used(1)] == [False, True]


def test_what_is_readable_is_not_wanted_any_more() -> None:
    """Wants end one by one; ending one twice is no error."""
    what = background()
    first, second = what.add(Extent(0, 1)), what.add(Extent(2 << 20, (2 << 20) + 1))
    what.fulfil(lambda extent: extent.start == 0)

    assert list(what) == [second]
    what.remove(first)
    what.remove(second)
    assert not what
