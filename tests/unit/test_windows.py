"""What is wanted ahead of readers, as connections come to pay."""

from mountdl.engine.demand import Demand
from mountdl.engine.windows import Windows
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

MIB = 1 << 20
SIZE = 1000 * MIB


class Paced:
    """A file of which more and more connections bring something."""

    def __init__(self) -> None:
        self.lanes, self.demand = 1, Demand()
        self.windows = Windows(self.demand, ChunkMap(SIZE, MIB), lambda: (1e9, self.lanes))

    def wanted(self, lanes: int) -> list[Extent]:
        """Return what is wanted once *lanes* connections pay."""
        self.lanes = lanes
        self.windows.widen(ExtentSet())
        assert all(want.priority is Priority.READAHEAD for want in self.demand)
        return [want.extent for want in self.demand]


def test_a_window_grows_with_the_connections_that_pay() -> None:
    """A reader who waits asks for nothing meanwhile: what is ahead of him is more once there are more to bring it."""
    paced = Paced()
    paced.windows.advance(Extent(500 * MIB, 501 * MIB), 0.0, ExtentSet())

    assert paced.wanted(1) == [Extent(501 * MIB, 504 * MIB)]
    assert paced.wanted(8) == [Extent(501 * MIB, 517 * MIB)]
    assert paced.wanted(2) == [Extent(501 * MIB, 517 * MIB)]


def test_no_window_is_opened_by_connections() -> None:
    """Who has not read on is brought nothing more for it."""
    paced = Paced()
    paced.windows.advance(Extent(500 * MIB, 500 * MIB + 4096), 0.0, ExtentSet())

    assert not paced.wanted(8)


def test_an_open_window_moves_on_by_steps() -> None:
    """Each time it moves the planner is asked: not for each read, but long before what is wanted ahead is used up."""
    demand = Demand()
    windows = Windows(demand, ChunkMap(SIZE, MIB), lambda: (1e9, 1))
    windows.advance(Extent(0, 32 * MIB), 0.0, ExtentSet())
    moved = [at for at in range(32, 96) if windows.advance(Extent(at * MIB, (at + 1) * MIB), 0.0, ExtentSet())]

    assert list(range(33, 96, 2)) == moved
    assert [Extent(96 * MIB, 128 * MIB)] == [want.extent for want in demand]


def test_with_more_connections_the_steps_are_shorter() -> None:
    """One that is idle finds nothing to bring until the window moves on."""
    windows = Windows(Demand(), ChunkMap(SIZE, MIB), lambda: (1e9, 4))
    windows.advance(Extent(0, 32 * MIB), 0.0, ExtentSet())
    moved = [at for at in range(32, 96) if windows.advance(Extent(at * MIB, (at + 1) * MIB), 0.0, ExtentSet())]

    assert list(range(32, 96)) == moved


def test_a_window_reaches_the_end_at_once() -> None:
    """What is left of a file is wanted whole, for nothing will move the window on."""
    demand, stop = Demand(), SIZE - 32 * MIB
    windows = Windows(demand, ChunkMap(SIZE, MIB), lambda: (1e9, 1))
    windows.advance(Extent(stop - 40 * MIB, stop - MIB), 0.0, ExtentSet())
    windows.advance(Extent(stop - MIB, stop), 0.0, ExtentSet())

    assert [Extent(stop, SIZE)] == [want.extent for want in demand]


def test_what_made_room_is_wanted_again_once_its_reader_goes_on() -> None:
    """Fetched at once, it would make room for itself, or for what is ahead of another, who rests too."""
    demand = Demand()
    windows = Windows(demand, ChunkMap(SIZE, MIB), lambda: (1e9, 1))
    for start in (100 * MIB, 500 * MIB):
        windows.advance(Extent(start, start + MIB), 0.0, ExtentSet())
    windows.evicted(Extent(103 * MIB, 104 * MIB))

    assert [Extent(501 * MIB, 504 * MIB)] == [want.extent for want in demand]
    windows.advance(Extent(101 * MIB, 101 * MIB + 4096), 0.0, ExtentSet())
    assert {101 * MIB, 501 * MIB} == {want.extent.start for want in demand}
