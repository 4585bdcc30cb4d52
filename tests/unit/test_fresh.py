"""Chunks kept in memory for the reader who is about to come to them: what is promised, given, let go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.assembly import Memory
from mountdl.engine.fresh import SHORTEST_KEPT, Fresh
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from tests.support.content import pattern

CHUNK = SHORTEST_KEPT
SIZE = 4 * CHUNK + 100
DATA = pattern(SIZE)
MAP = ChunkMap(SIZE, CHUNK)
ALL = Extent(0, SIZE)


class Reader:
    """A reader who is about to come to *window*, and the memory that is there for him."""

    def __init__(self, retained: int = 10 * CHUNK, window: Extent = ALL, chunks: ChunkMap = MAP) -> None:
        self.memory, self.window, self.map = Memory(20 * CHUNK, retained), window, chunks
        self.fresh = Fresh(chunks, self.memory)
        self.fresh.ahead = lambda extent: extent.overlaps(self.window)

    def bring(self, index: int) -> bool:
        """Let chunk *index* come and be good; say whether it is kept."""
        extent = self.map.extent(index)
        buffer = self.memory.take(self.map.length)
        assert buffer is not None
        view = memoryview(buffer)[: extent.length]
        view[:] = DATA[extent.start : extent.stop]
        kept = self.fresh.promise(index) and self.fresh.keep(index, view)
        if not kept:
            self.memory.give(buffer)
        return kept


def test_what_a_reader_comes_to_is_given_from_memory() -> None:
    """Within one chunk, across two, and the short last one."""
    reader = Reader()
    for index in range(MAP.count):
        assert reader.bring(index)

    assert reader.fresh.read(Extent(5, 10)) == DATA[5:10]
    assert reader.fresh.read(Extent(CHUNK - 3, CHUNK + 3)) == DATA[CHUNK - 3 : CHUNK + 3]
    assert reader.fresh.read(Extent(4 * CHUNK, SIZE)) == DATA[4 * CHUNK :]


def test_what_waits_for_the_disk_is_given_already() -> None:
    """Alone or beside what is kept; what of it was read then need not be kept once it has landed."""
    reader = Reader()
    reader.bring(0)
    view = memoryview(bytearray(DATA[CHUNK : 2 * CHUNK]))
    over = Extent(CHUNK - 3, CHUNK + 3)
    assert not reader.fresh.shows(over)
    assert reader.fresh.promise(1)
    reader.fresh.show(1, view)

    assert [] == reader.fresh.begun
    assert reader.fresh.shows(over)
    assert not reader.fresh.shows(Extent(2 * CHUNK - 1, 2 * CHUNK + 1))
    assert reader.fresh.read(over) == DATA[CHUNK - 3 : CHUNK + 3]
    assert [Extent(CHUNK, 2 * CHUNK)] == reader.fresh.begun  # should it find no room, its reader is not done with it
    assert reader.fresh.keep(1, view)
    assert [] == reader.fresh.begun
    assert not reader.fresh.shows(over)
    assert reader.fresh.read(Extent(CHUNK, CHUNK + 1)) == DATA[CHUNK : CHUNK + 1]

    assert reader.fresh.promise(2)
    reader.fresh.show(2, view)
    reader.fresh.read(Extent(2 * CHUNK, 3 * CHUNK))
    assert not reader.fresh.keep(2, view)
    assert reader.fresh.read(Extent(2 * CHUNK, 3 * CHUNK)) is None


def test_what_is_forgotten_on_its_way_to_the_disk_is_not_given() -> None:
    """Nor is its memory used again: the thread that writes it has it still."""
    reader = Reader()
    view = memoryview(bytearray(CHUNK))
    reader.fresh.show(1, view)
    reader.fresh.forget(Extent(CHUNK + 1, CHUNK + 2))

    assert reader.fresh.read(Extent(CHUNK, CHUNK + 1)) is None
    assert reader.fresh.landed(1) is None


def test_what_is_not_all_here_is_not_given() -> None:
    """Half from memory and half from disk would be two ways for one read."""
    reader = Reader()
    reader.bring(1)

    assert reader.fresh.read(Extent(CHUNK - 1, CHUNK + 1)) is None
    assert reader.fresh.read(Extent(0, 1)) is None
    assert reader.fresh.read(Extent(CHUNK, CHUNK)) is None


def test_a_chunk_that_was_read_makes_room() -> None:
    """Memory for one chunk serves a stream of any length."""
    reader = Reader(retained=CHUNK)

    for index in range(MAP.count):
        assert reader.bring(index)
        extent = reader.map.extent(index)
        middle = extent.start + extent.length // 2
        assert reader.fresh.read(Extent(extent.start, middle)) == DATA[extent.start : middle]
        assert reader.fresh.read(Extent(middle, extent.stop)) == DATA[middle : extent.stop]
        assert reader.fresh.read(extent) is None


def test_nothing_is_promised_beyond_memory_or_without_a_reader() -> None:
    """Nor of chunks that are short, nor twice."""
    crowded, away = Reader(retained=CHUNK), Reader(window=Extent(0, 0))
    short = Reader(chunks=ChunkMap(SIZE, CHUNK - 1))

    assert crowded.bring(0)
    assert not crowded.bring(1)
    assert not crowded.fresh.promise(0)
    assert not away.bring(0)
    assert not short.bring(0)


def test_a_broken_promise_costs_nothing() -> None:
    """A chunk that turned out wrong is not kept, and its memory is free for the next."""
    reader = Reader(retained=CHUNK)
    assert reader.fresh.promise(0)
    reader.fresh.renounce(0)
    reader.fresh.renounce(0)

    assert not reader.fresh.keep(0, memoryview(b""))
    assert reader.bring(1)


def test_what_is_lost_or_left_behind_goes() -> None:
    """Evicted bytes are not given, and a reader who went elsewhere leaves nothing in memory."""
    reader = Reader(retained=2 * CHUNK)
    reader.bring(0)
    reader.bring(1)
    reader.fresh.forget(Extent(10, 11))
    assert reader.fresh.read(Extent(0, 1)) is None
    assert reader.fresh.read(Extent(CHUNK, CHUNK + 1)) == DATA[CHUNK : CHUNK + 1]

    reader.window = Extent(3 * CHUNK, SIZE)
    reader.fresh.trim()
    assert reader.fresh.read(Extent(CHUNK, CHUNK + 1)) is None
    assert reader.memory.retain(2 * CHUNK)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bring", "read", "forget", "move"]), st.integers(0, SIZE - 1), st.integers(1, 2 * CHUNK)
        )
    )
)
def test_it_gives_right_bytes_and_all_memory_back(steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens: what it gives is what came, and nothing stays counted when all is forgotten."""
    reader = Reader(retained=3 * CHUNK)
    for what, start, length in steps:
        extent = Extent(start, start + length).clip(SIZE)
        if what == "bring":
            reader.bring(MAP.touching(extent)[0])
        elif what == "read":
            found = reader.fresh.read(extent)
            assert found is None or found == DATA[extent.start : extent.stop]
        elif what == "forget":
            reader.fresh.forget(extent)
        else:
            reader.window = extent
            reader.fresh.trim()
    reader.fresh.forget(Extent(0, SIZE))

    assert reader.memory.retain(3 * CHUNK)
    assert reader.memory.take(20 * CHUNK) is not None
