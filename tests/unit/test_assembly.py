"""Chunks in memory: who may assemble one, and what becomes of the buffers."""

from mountdl.engine.assembly import SHORTEST_CHUNK, Assemblies, Memory
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap

CHUNK = SHORTEST_CHUNK
SIZE = 3 * CHUNK + 100
MAP = ChunkMap(SIZE, CHUNK)
NOTHING = ExtentSet()


def assemblies(most: int = 10 * CHUNK) -> Assemblies:
    return Assemblies(MAP, Memory(most))


def test_a_flight_from_a_chunks_start_gets_room_for_all_of_it() -> None:
    """The bytes of a chunk are received where they will be judged."""
    room = assemblies().room(1, Extent(CHUNK, SIZE), NOTHING)

    assert room is not None
    assert len(room) == CHUNK


def test_the_last_chunk_has_room_for_its_own_length() -> None:
    """A short last chunk takes no more than its bytes."""
    room = assemblies().room(1, Extent(3 * CHUNK, SIZE), NOTHING)

    assert room is not None
    assert len(room) == 100


def test_room_is_only_for_whole_new_chunks() -> None:
    """Not in the middle of one, not for a part of one, not where bytes are held, not twice."""
    held = ExtentSet([Extent(10, 20)])
    taken = assemblies()
    taken.room(1, Extent(0, SIZE), NOTHING)

    assert assemblies().room(1, Extent(5, SIZE), NOTHING) is None
    assert assemblies().room(1, Extent(0, CHUNK - 1), NOTHING) is None
    assert assemblies().room(1, Extent(0, SIZE), held) is None
    assert taken.room(2, Extent(0, SIZE), NOTHING) is None


def test_chunks_too_short_or_too_long_go_to_disk_as_they_come() -> None:
    """Short ones are several in a buffer, long ones are too much memory."""
    for length in (SHORTEST_CHUNK - 1, (4 << 20) + 1):
        made = Assemblies(ChunkMap(5 << 20, length), Memory(1 << 30))
        assert made.room(1, Extent(0, 5 << 20), NOTHING) is None


def test_bytes_from_elsewhere_are_copied_to_their_place() -> None:
    """What came with the head of an answer is not in its place yet; what crosses the end stays outside."""
    made = assemblies()
    made.room(1, Extent(0, SIZE), NOTHING)
    assembly = made.expecting(1, 0)
    assert assembly is not None

    assert assembly.put(memoryview(b"abc")) == 3
    assembly.room[:2] = b"de"
    assert assembly.put(assembly.room[:2]) == 2
    extent, data = assembly.here
    assert (Extent(0, 5), b"abcde") == (extent, bytes(data))
    assert assembly.put(memoryview(bytes(CHUNK))) == CHUNK - 5
    assert assembly.whole
    assert made.expecting(1, 0) is None


def test_memory_is_bounded_and_comes_back() -> None:
    """Without memory there is no room; a buffer that was given back is used again."""
    memory = Memory(2 * CHUNK)
    first, second = memory.take(CHUNK), memory.take(CHUNK)
    assert first is not None
    assert second is not None
    assert memory.take(CHUNK) is None

    memory.give(first)
    assert memory.take(CHUNK) is first


def test_a_stock_is_used_first_and_is_within_bounds() -> None:
    """What was made ahead is lent, and no more is made than may be lent."""
    memory = Memory(3 * CHUNK)
    memory.stock(CHUNK, 2)
    stocked = list(memory._spare[CHUNK])
    assert len(stocked) == 2
    lent = [memory.take(CHUNK) for _ in range(2)]
    assert all(any(buffer is other for other in stocked) for buffer in lent)

    memory.stock(CHUNK, 2)
    assert len(memory._spare[CHUNK]) == 1
    memory.stock(2 * CHUNK, 2)
    assert list(memory._spare) == [CHUNK]


def test_a_buffer_that_may_still_be_received_into_is_not_used_again() -> None:
    """An abandoned assembly's memory counts as free, but its buffer is never lent to another."""
    made = assemblies(most=CHUNK)
    made.room(1, Extent(0, SIZE), NOTHING)
    assembly = made.of(1)
    assert assembly is not None
    made.abandon(assembly)
    made.room(2, Extent(0, SIZE), NOTHING)
    other = made.of(2)

    assert other is not None
    assert other.buffer is not assembly.buffer
