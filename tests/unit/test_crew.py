"""What processes that hash are told and tell, and when there are any; they themselves are in tests/wire."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.engine.arena import Arena
from mountdl.engine.assembly import Memory
from mountdl.engine.crew import FAST, NAMES, SPAN, Haste
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ALGORITHMS, hasher
from mountdl.pages import PAGE, aligned, capacity, starts_page
from mountdl.store import hand
from mountdl.store.sums import LEAF

DATA = bytes(range(256)) * 16


@given(st.lists(st.tuples(st.integers(1, SPAN), st.floats(0, 0.05)), max_size=40))
def test_haste_needs_as_much_as_a_span_in_its_time(came: list[tuple[int, float]]) -> None:
    """It is never told of fewer bytes than SPAN, nor of bytes that came slower than FAST."""
    haste, now, history = Haste(), 0.0, list[tuple[float, int]]()
    for length, later in came:
        now += later
        history.append((now, length))
        if haste.came(length, now):
            recent = sum(bytes_ for at, bytes_ in history if at >= now - SPAN / FAST)
            assert recent >= SPAN
            history.clear()


def test_a_fast_stream_is_hasty_and_a_slow_one_never() -> None:
    """512 MB/s are; 100 MB/s, as a gigabit brings, are not."""

    def hasty(rate: float) -> bool:
        haste = Haste()
        return any(haste.came(1 << 20, number * (1 << 20) / rate) for number in range(64))

    assert hasty(512e6)
    assert not hasty(100e6)


def test_slots_are_apart_and_come_back() -> None:
    """No two share a byte while both are in use, and what a view still shows is in use."""
    arena = Arena(8 * PAGE)
    first, second = arena.cut(3 * PAGE), arena.cut(PAGE + 1)
    assert first is not None
    assert second is not None
    assert (arena.offset(aligned(first)), arena.offset(aligned(second))) == (0, 3 * PAGE)
    assert arena.cut(4 * PAGE) is None

    view = aligned(first)[:100]
    view[:3] = b"abc"
    del first
    third = arena.cut(3 * PAGE)
    assert third is not None
    assert arena.offset(aligned(third)) == 5 * PAGE
    assert bytes(view[:3]) == b"abc"

    del view
    again = arena.cut(3 * PAGE)
    assert again is not None
    assert arena.offset(aligned(again)) == 0


def test_a_slot_is_as_long_as_was_asked_for_and_begins_a_page() -> None:
    """Its view is what O_DIRECT wants, and what others see at its offset."""
    arena = Arena(1 << 20)
    slot = arena.cut(PAGE + 5)
    assert slot is not None
    view = aligned(slot)
    assert (len(view), capacity(slot), starts_page(view)) == (PAGE + 5, PAGE + 5, True)
    view[:5] = b"hello"
    assert os.pread(arena.fd, 5, arena.offset(view) or 0) == b"hello"
    assert arena.offset(memoryview(bytearray(5))) is None


def test_a_slot_that_goes_at_any_moment_disturbs_nothing() -> None:
    """A thread, or the collector, lets go of one in the midst of a cut: what is in use changes before the next only."""
    arena = Arena(8 * PAGE)
    held = [arena.cut(PAGE) for _ in range(4)]

    class Interrupted(ExtentSet):
        def missing(self, extent: Extent) -> Iterator[Extent]:
            before = self.copy()
            held.clear()
            assert self == before
            yield from super().missing(extent)

    arena._used = Interrupted(arena._used)
    slot = arena.cut(PAGE)
    assert slot is not None
    assert arena.offset(aligned(slot)) == 4 * PAGE
    again = arena.cut(PAGE)
    assert again is not None
    assert arena.offset(aligned(again)) == 0


def test_an_arena_takes_one_descriptor() -> None:
    """However many slots are cut from it: each of them was one once, and a process has 256 or 1024."""
    arena = Arena(256 * PAGE)
    before = len(os.listdir("/proc/self/fd"))
    slots = [arena.cut(PAGE) for _ in range(200)]
    assert all(slot is not None for slot in slots)
    assert len(os.listdir("/proc/self/fd")) == before


def test_nobody_cuts_an_arena() -> None:
    """Memory behind the end of a file ends who touches it."""
    arena = Arena(1 << 20)
    with pytest.raises(PermissionError):
        os.ftruncate(arena.fd, PAGE)
    assert fcntl.fcntl(arena.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK


def test_memory_is_shared_where_the_kernel_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can't, or the arena is full, buffers are this process's own, and all else is as ever."""
    shared = Memory(2 * PAGE, shared=True)
    assert isinstance(shared.take(PAGE), ctypes.Array)
    assert isinstance(Memory(2 * PAGE).take(PAGE), bytearray)

    def none(*_: object) -> int:
        raise OSError(38, "no such call")

    monkeypatch.setattr(os, "memfd_create", none)
    memory = Memory(2 * PAGE, shared=True)
    buffer = memory.take(PAGE)
    assert isinstance(buffer, bytearray)
    memory.give(buffer)
    assert memory.take(PAGE) is buffer


@pytest.mark.parametrize("algorithm", sorted(NAMES))
def test_hands_hash_as_we_do(algorithm: str) -> None:
    """Each name that is sent makes the digests that the engine expects."""
    assert algorithm in ALGORITHMS
    expected = b""
    for start in range(0, len(DATA), 1000):
        ours = hasher(algorithm)
        ours.update(DATA[start : start + 1000])
        expected += ours.digest()
    assert hand.matches(memoryview(DATA), 1000, NAMES[algorithm], expected)
    assert not hand.matches(memoryview(DATA), 1000, NAMES[algorithm], expected[:-1] + b"\0")


class Deck:
    """One hand's work, done here: what it tells, and the file that it writes."""

    def __init__(self, home: Path) -> None:
        self.path = home / "data"
        self.path.write_bytes(bytes(4 * LEAF))

    def does(self, data: bytes, expected: bytes, *, mode: int = os.O_RDWR, awaited: bool = False) -> list[bytes]:
        head = hand.ORDER.pack(7, 5, 100, len(data), 1 << 20, 50, len(data), LEAF, 4096, awaited, b"sha256")
        fd = os.open(self.path, mode)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                hand.carry_out(head + expected, fd, memoryview(b"xxxxx" + data + b"yy"), theirs)
            os.close(fd)
            return list(iter(lambda: ours.recv(1000), b""))


def test_a_hand_writes_what_is_right(tmp_path: Path) -> None:
    """It tells of the sums that were asked for, a leaf each, of what it wrote."""
    data = os.urandom(LEAF + 100)
    deck = Deck(tmp_path)
    [found] = deck.does(data, hashlib.sha256(data).digest())
    assert hand.FOUND.unpack_from(found)[:2] == (7, hand.WRITTEN)
    assert deck.path.read_bytes()[100:][: len(data)] == data
    sums = (zlib.crc32(data[50 : 50 + LEAF]), zlib.crc32(data[50 + LEAF :]))
    assert struct.unpack("=2I", found[hand.FOUND.size :]) == sums


def test_a_hand_writes_nothing_that_is_wrong(tmp_path: Path) -> None:
    """It says that the bytes are bad, and the file is as it was."""
    deck = Deck(tmp_path)
    [found] = deck.does(b"lies" * 1000, hashlib.sha256(b"truth").digest(), awaited=True)
    assert hand.FOUND.unpack_from(found)[1] == hand.BAD
    assert not any(deck.path.read_bytes())


def test_who_waits_hears_first_that_bytes_are_right(tmp_path: Path) -> None:
    """Two findings: before the write and after it."""
    found = Deck(tmp_path).does(DATA, hashlib.sha256(DATA).digest(), awaited=True)
    assert [hand.FOUND.unpack_from(each)[1] for each in found] == [hand.GOOD, hand.WRITTEN]


def test_a_hand_that_cannot_write_says_so(tmp_path: Path) -> None:
    """What is right and could not be written is somebody else's business."""
    [found] = Deck(tmp_path).does(DATA, hashlib.sha256(DATA).digest(), mode=os.O_RDONLY)
    assert hand.FOUND.unpack_from(found)[1] == hand.UNWRITTEN
