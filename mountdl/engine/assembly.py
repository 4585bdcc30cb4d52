"""Chunks on their way, in memory until they are whole, so that they are hashed before they are written.

Law: a chunk is assembled by the one flight that brings it from its first byte on, and only while nobody else
brings any of it. What a flight leaves unfinished is written as it is. A buffer that a flight may still be
receiving into is never used again. Knows neither store nor digests. (Measured, 512 MiB over loopback: the
thread that hashes a chunk writes it too, so that the loop does neither; reading back for the hash is saved.)
"""

import ctypes
import time
from contextlib import suppress
from functools import cache, cached_property

from mountdl.engine.arena import Arena
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkCheck, ChunkMap, hasher
from mountdl.pages import Buffer, aligned, capacity, padded

LONGEST_CHUNK = 4 << 20
"""Bytes: longer chunks are written as they come, for they would take too much memory for too long."""
MOST_MEMORY = 48 << 20
"""Bytes of all buffers together. Once it is used up the loop writes as well, so that it waits for no thread."""
MOST_RETAINED = 32 << 20
"""Bytes of these that may hold chunks which have come and wait for their reader."""
SHORTEST_CHUNK = 128 << 10
"""Bytes: of shorter chunks one buffer full of a connection holds several."""
HOP = 0.001
"""Seconds below which the loop hashes the chunk that a reader waits for, as it comes: to call a thread when the last
byte is here, and to hear of it, takes 0.4 to 1.2 ms (traced), and the reader waits for that too."""
_SAMPLE = bytes(16 << 10)


@cache
def pace(algorithm: str) -> float:
    """Return the seconds that a byte's hash takes here, the best of three short looks."""

    def look() -> float:
        begun = time.perf_counter()
        hasher(algorithm).update(_SAMPLE)
        return (time.perf_counter() - begun) / len(_SAMPLE)

    return min(look() for _ in range(3))


def quick(chunk_map: ChunkMap) -> bool:
    """Say whether a chunk is hashed before a thread could be called to do it."""
    return chunk_map.algorithm is not None and chunk_map.length * pace(chunk_map.algorithm) < HOP


class Memory:
    """Buffers for chunks, at most *most* bytes at a time, *retained* of them for long; used again.

    *shared*: other processes can see them in its `arena`, where the kernel has such a thing and while there is room.
    """

    def __init__(self, most: int, retained: int = 0, *, shared: bool = False) -> None:
        self._most, self._retainable, self._shared = most, retained, shared
        self._lent = 0
        self._spare: dict[int, list[Buffer]] = {}

    @cached_property
    def arena(self) -> Arena | None:
        """What buffers are cut from; None: each is memory of this process alone."""
        with suppress(OSError, AttributeError):
            return Arena(self._most) if self._shared else None
        return None

    def take(self, length: int) -> Buffer | None:
        """Return a buffer for *length* bytes, whose content means nothing; None: no memory is left."""
        if self._lent + length > self._most:
            return None
        self._lent += length
        spare = self._spare.get(length)
        return spare.pop() if spare else self._made(length)

    def _made(self, length: int) -> Buffer:
        return (self.arena and self.arena.cut(length)) or padded(length)

    def stock(self, length: int, count: int) -> None:
        """Have up to *count* buffers for *length* bytes ready, unless there are some for another length.

        Their pages are touched, which takes up to 9 µs each where a host lends the memory: 2 ms for 1 MiB, best spent
        while the bytes are still on their way.
        """
        if self._spare.keys() - {length}:
            return
        spare = self._spare.setdefault(length, [])
        while len(spare) < count and self._lent + (len(spare) + 1) * length <= self._most:
            spare.append(self._made(length))

    def give(self, buffer: Buffer) -> None:
        """Take *buffer* back; no view of it may be in use any more."""
        self.forget(buffer)
        length = capacity(buffer)
        spare = self._spare.setdefault(length, [])
        if len(self._spare) > 1:  # another length is read now
            self._spare = {length: spare}
        spare.append(buffer)

    def give_view(self, view: memoryview) -> None:
        """Take the buffer behind *view* back."""
        assert isinstance(view.obj, bytearray | ctypes.Array)  # noqa: S101  # no other was made
        self.give(view.obj)

    def retain(self, length: int) -> bool:
        """Say whether *length* bytes that are lent may stay so for long, and count them; `unretain` must follow."""
        if self._retainable < length:
            return False
        self._retainable -= length
        return True

    def unretain(self, length: int) -> None:
        """Take in that *length* bytes need not stay any longer."""
        self._retainable += length

    def forget(self, buffer: Buffer) -> None:
        """Count *buffer* as gone; a view of it may still be in use."""
        self._lent -= capacity(buffer)


MEMORY = Memory(MOST_MEMORY, MOST_RETAINED, shared=True)
"""One for the process: what all contents together may take is what matters."""


class Assembly:
    """Chunk *index*, the bytes *chunk*, of which those before *position* are in *buffer*. *owner* brings it.

    A *check* that it is given before its first byte is told of all that comes.
    """

    __slots__ = ("buffer", "check", "chunk", "index", "owner", "position", "view")

    def __init__(self, owner: int, index: int, chunk: Extent, buffer: Buffer) -> None:
        self.owner, self.index, self.chunk, self.buffer = owner, index, chunk, buffer
        self.view = aligned(buffer)[: chunk.length]
        self.position = chunk.start
        self.check: ChunkCheck | None = None

    @property
    def room(self) -> memoryview:
        """Where the next bytes belong."""
        return self.view[self.position - self.chunk.start :]

    @property
    def here(self) -> tuple[Extent, memoryview]:
        """What has come."""
        extent = Extent(self.chunk.start, self.position)
        return extent, self.view[: extent.length]

    @property
    def whole(self) -> bool:
        """Whether all of it has come."""
        return self.position == self.chunk.stop

    @property
    def good(self) -> bool:
        """Whether all of it has come and is known to be right already."""
        return self.whole and self.check is not None and self.check.verified

    def put(self, data: memoryview) -> int:
        """Take as much of *data* as belongs to the chunk and return how much; it may be in its place already."""
        length = min(len(data), self.chunk.stop - self.position)
        if data.obj is not self.buffer:
            self.room[:length] = data[:length]
        if self.check is not None:
            self.check.update(data[:length])
        self.position += length
        return length


class Assemblies:
    """The chunks of one content that are being assembled, at most one by each flight."""

    def __init__(self, chunk_map: ChunkMap, memory: Memory) -> None:
        self._chunk_map, self._memory = chunk_map, memory
        self._fit = SHORTEST_CHUNK <= chunk_map.length <= LONGEST_CHUNK
        self._by_owner: dict[int, Assembly] = {}

    def prepare(self) -> None:
        """Have memory ready for the next two chunks: the second begins to come while the first is hashed.

        How long a hash takes is found out now, too, while nothing is lost by it.
        """
        if self._fit:
            self._memory.stock(self._chunk_map.length, 2)
            quick(self._chunk_map)

    def room(self, owner: int, rest: Extent, held: ExtentSet) -> memoryview | None:
        """Return where *owner*, who has still to bring *rest*, may put its first bytes; None: where it likes."""
        if not self._fit:
            return None
        assembly = self._by_owner.get(owner)
        if assembly is None:
            assembly = self._begin(owner, rest, held)
        if assembly is None or assembly.position != rest.start:
            return None
        return assembly.room

    def _begin(self, owner: int, rest: Extent, held: ExtentSet) -> Assembly | None:
        if self._chunk_map.floor(rest.start) != rest.start:
            return None
        index = self._chunk_map.touching(rest)[0]
        chunk = self._chunk_map.extent(index)
        taken = any(held.overlap(chunk)) or any(other.index == index for other in self._by_owner.values())
        if chunk.stop > rest.stop or taken:
            return None
        buffer = self._memory.take(self._chunk_map.length)
        if buffer is None:
            return None
        assembly = self._by_owner[owner] = Assembly(owner, index, chunk, buffer)
        return assembly

    def expecting(self, owner: int, offset: int) -> Assembly | None:
        """Return the assembly of *owner* if the byte at *offset* is its next."""
        assembly = self._by_owner.get(owner)
        return assembly if assembly is not None and assembly.position == offset else None

    def touching(self, extent: Extent) -> list[Assembly]:
        """Return those whose chunk holds a byte of *extent*."""
        return [each for each in self._by_owner.values() if each.chunk.overlaps(extent)]

    def of(self, owner: int) -> Assembly | None:
        """Return that of *owner*."""
        return self._by_owner.get(owner)

    def finish(self, assembly: Assembly) -> None:
        """Let *assembly* go, which is whole; its buffer comes back by `release`."""
        del self._by_owner[assembly.owner]

    def release(self, view: memoryview) -> None:
        """Take the buffer behind the *view* of one that was whole back."""
        self._memory.give_view(view)

    def abandon(self, assembly: Assembly) -> None:
        """Let *assembly* go, which is not whole."""
        del self._by_owner[assembly.owner]
        self._memory.forget(assembly.buffer)
