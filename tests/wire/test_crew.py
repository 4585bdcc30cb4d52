"""Real processes that hash and write: whatever becomes of them, each chunk gets its verdict, and the right one."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from mountdl.content import ContentKey
from mountdl.engine import crew as crews
from mountdl.engine.assembly import Memory
from mountdl.engine.crew import Crew, Found, Order
from mountdl.engine.verifier import Verdict, Verifier
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.pages import aligned
from mountdl.store import hand
from mountdl.store.store import Store
from mountdl.store.stored import Stored
from mountdl.store.sums import sums_of
from tests.support.machine import until
from tests.support.mounts import eventually, hands_of, lives

CHUNK = 1 << 20
COUNT = 64
KEY = ContentKey("sha-256-" + "0" * 64)


@asynccontextmanager
async def at_work(chunks: int = COUNT) -> AsyncIterator[tuple[Crew, Memory]]:
    """Have a crew, ready, and memory for so many *chunks*; it is gone afterwards."""
    memory = Memory(chunks * CHUNK, shared=True)
    crew = Crew(memory, processors=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.run)
        crew.call()
        await until(lambda: crew.ready)
        await until(lambda: len(hands_of(os.getpid())) == crews.HANDS)
        yield crew, memory
        nursery.cancel_scope.cancel()
    assert not hands_of(os.getpid())


class Orders:
    """Orders of random chunks, and what was told of each."""

    def __init__(self, crew: Crew, memory: Memory, path: Path) -> None:
        self.crew, self.memory = crew, memory
        self.told: dict[int, list[Found | None]] = {}
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def give(self, number: int, *, good: bool = True) -> bool:
        buffer = self.memory.take(CHUNK)
        assert buffer is not None
        view = aligned(buffer)
        view[:] = random.Random(number).randbytes(CHUNK)
        digest = hashlib.sha256(view if good else b"").digest()
        order = Order(
            view, number * CHUNK, "sha-256", CHUNK, digest, Extent(0, CHUNK), cached=True, awaited=number % 2 == 0
        )
        return self.crew.take(order, self.fd, self.told.setdefault(number, []).append)

    @property
    def answered(self) -> bool:
        return all(found and (found[-1] is None or found[-1].last) for found in self.told.values())


async def test_what_is_right_is_written_and_what_is_wrong_is_not(tmp_path: Path) -> None:
    """Each order is answered; somebody who waits hears before the disk has it."""
    async with at_work() as (crew, memory):
        orders = Orders(crew, memory, tmp_path / "data")
        assert all(orders.give(number, good=number != 3) for number in range(8))
        await until(lambda: orders.answered)
    assert [found[-1].written for found in orders.told.values() if found[-1]] == [n != 3 for n in range(8)]
    assert all(len(orders.told[number]) == (2 if number % 2 == 0 else 1) for number in orders.told)
    for number in range(8):
        data = os.pread(orders.fd, CHUNK, number * CHUNK)
        assert data == (random.Random(number).randbytes(CHUNK) if number != 3 else bytes(CHUNK))
    os.close(orders.fd)


async def test_they_have_a_bounded_amount_at_once(tmp_path: Path) -> None:
    """More than MOST_OUT is not taken before some of it was answered."""
    async with at_work() as (crew, memory):
        for pid in hands_of(os.getpid()):
            os.kill(pid, signal.SIGSTOP)
        orders = Orders(crew, memory, tmp_path / "data")
        taken = [orders.give(number) for number in range(crews.MOST_OUT // CHUNK + 3)]
        assert taken.count(True) == crews.MOST_OUT // CHUNK
        for number in [number for number, found in enumerate(taken) if not found]:
            del orders.told[number]
        for pid in hands_of(os.getpid()):
            os.kill(pid, signal.SIGCONT)
        await until(lambda: orders.answered)
    os.close(orders.fd)


async def test_one_that_is_killed_leaves_nothing_unanswered(tmp_path: Path) -> None:
    """None is told of what nobody did; the other goes too, and no more is taken."""
    async with at_work() as (crew, memory):
        orders = Orders(crew, memory, tmp_path / "data")
        first, second = hands_of(os.getpid())
        for pid in first, second:
            os.kill(pid, signal.SIGSTOP)
        assert all(orders.give(number) for number in range(6))
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGCONT)
        await until(lambda: orders.answered)
        await until(lambda: not hands_of(os.getpid()))
        assert not crew.ready
    os.close(orders.fd)


async def test_who_stops_them_stops_nobody_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are called on, and do what they were told."""
    monkeypatch.setattr(crews, "STUCK", 0.1)
    async with at_work() as (crew, memory):
        orders = Orders(crew, memory, tmp_path / "data")
        for pid in hands_of(os.getpid()):
            os.kill(pid, signal.SIGSTOP)
        assert orders.give(0)
        await until(lambda: orders.answered)
        assert orders.told[0][-1] is not None
        assert crew.ready
    os.close(orders.fd)


async def test_an_upgrade_meanwhile_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run what was there when we were loaded, whatever lies in its place by now."""
    monkeypatch.setattr(hand, "__file__", "/nowhere/hand.py")
    async with at_work() as (crew, memory):
        orders = Orders(crew, memory, tmp_path / "data")
        assert orders.give(0)
        await until(lambda: orders.answered)
        assert orders.told[0][-1] is not None
    os.close(orders.fd)


async def test_nothing_is_handed_out_that_nobody_will_hear_of(tmp_path: Path) -> None:
    """A flight may bring a chunk after its download has stopped listening: its memory is let go at once then."""
    store = Store(tmp_path)
    async with at_work() as (crew, memory):
        stored = store.open(KEY, COUNT * CHUNK, "sha-256/test")
        judged = Judged(stored, memory, crew, seed=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judged.verifier.hear)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        buffer = memory.take(CHUNK)
        assert buffer is not None
        judged.verifier.submit(0, urgent=False, data=aligned(buffer))
        assert not judged.verifier._handed_out
        stored.close()
    store.close()


def test_a_content_is_not_locked_by_hands(tmp_path: Path) -> None:
    """What they write by is a file opened for them: ours would keep its lock after a kill -9 for as long as they are."""
    store = Store(tmp_path)
    stored = store.open(KEY, COUNT * CHUNK, "sha-256/test")

    def moved(fd: int) -> bool:
        return os.lseek(fd, 77, os.SEEK_SET) == 77 and os.lseek(stored._data._fd, 0, os.SEEK_CUR) == 0

    assert stored.hand_out(Extent(0, CHUNK), moved, cached=True)
    stored.close()
    store.close()


async def test_they_go_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """And come again when they are called."""
    monkeypatch.setattr(crews, "STUCK", 0.1)
    monkeypatch.setattr(crews, "IDLE", 0.1)
    async with at_work() as (crew, _):
        await until(lambda: not crew.ready and not hands_of(os.getpid()))
        monkeypatch.setattr(crews, "IDLE", 60.0)
        await until(lambda: crew.call() or crew.ready)


async def test_one_processor_has_none() -> None:
    """Where nothing can go on beside the loop, threads do it."""
    crew = Crew(Memory(COUNT * CHUNK, shared=True), processors=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.run)
        for _ in range(64):
            crew.came(CHUNK)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not hands_of(os.getpid())
        nursery.cancel_scope.cancel()


async def _crowded(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("place", "name", "obstacle"),
    [(sys, "executable", "/nowhere/python"), (trio.lowlevel, "open_process", _crowded)],
    ids=["no-interpreter", "no-thread"],
)
async def test_where_they_cannot_be_started_threads_do_it(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, obstacle: object
) -> None:
    """Nothing fails, and nothing ends: no interpreter, or a limit of processes that is reached, is nobody's business."""
    monkeypatch.setattr(place, name, obstacle)
    crew = Crew(Memory(COUNT * CHUNK, shared=True), processors=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.run)
        crew.call()
        await trio.sleep(0.1)
        assert not crew.ready
        nursery.cancel_scope.cancel()


ORPHANS = """
import os, sys, trio
from mountdl.engine.assembly import Memory
from mountdl.engine.crew import Crew

async def main():
    crew = Crew(Memory(1 << 20, shared=True), processors=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.run)
        crew.call()
        while not crew.ready:
            await trio.sleep(0.01)
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_they_do_not_outlive_who_started_them() -> None:
    """After kill -9 of it nobody is left who writes."""
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        hands = eventually(10, lambda: found if len(found := hands_of(parent.pid)) == crews.HANDS else [])
        parent.kill()
    eventually(10, lambda: not any(lives(pid) for pid in hands))


class Judged:
    """A content of COUNT chunks, each third of them sent wrong at first, judged by a crew and by threads."""

    def __init__(self, stored: Stored, memory: Memory, crew: Crew, seed: int) -> None:
        self.random, self.memory, self.stored = random.Random(seed), memory, stored
        self.chunks = [random.Random(number).randbytes(CHUNK) for number in range(4)]
        digests = b"".join(hashlib.sha256(self.chunk(index)).digest() for index in range(COUNT))
        self.verifier = Verifier(ChunkMap(COUNT * CHUNK, CHUNK, "sha-256", digests), stored, self.judge, crew)
        self.wrong = {index for index in range(COUNT) if index % 3 == 0}
        self.left = list(range(COUNT))
        self.good = dict[int, bool]()
        self.by_crew = 0

    def chunk(self, index: int) -> bytes:
        return self.chunks[index % len(self.chunks)]

    def judge(self, verdict: Verdict) -> None:
        index, data = verdict.job.index, verdict.job.data
        assert data is not None
        if verdict.unwritten:
            return
        extent = Extent(index * CHUNK, (index + 1) * CHUNK)
        if verdict.stale:
            if verdict.good:
                self.stored.strayed(extent)
            self.left.append(index)
        elif verdict.good:
            assert verdict.sums == sums_of(memoryview(self.chunk(index)), extent.start, COUNT * CHUNK)
            self.stored.landed(extent, verdict.sums)
            self.stored.mark_verified(extent)
            self.good[index] = True
        else:
            assert index in self.wrong
            self.wrong.discard(index)
            self.left.append(index)
        self.memory.give_view(data)

    async def send_all(self) -> None:
        while len(self.good) < COUNT:
            while self.left and (buffer := self.memory.take(CHUNK)) is not None:
                index = self.left.pop(self.random.randrange(len(self.left)))
                view = aligned(buffer)
                view[:] = self.chunk(index)
                if index in self.wrong:
                    view[self.random.randrange(CHUNK)] ^= 1
                before = self.verifier._handed_out
                self.verifier.submit(
                    index, urgent=self.random.random() < 0.3, data=view, kept=self.random.random() < 0.5
                )
                self.by_crew += self.verifier._handed_out - before
                if self.random.random() < 0.1:
                    self.verifier.forget(index)
            await trio.sleep(0.001)


async def _harass(seed: int) -> None:
    chance = random.Random(seed)
    while True:
        await trio.sleep(chance.random() * 0.05)
        for pid in hands_of(os.getpid()):
            if chance.random() < 0.3:
                os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM]))


@pytest.mark.parametrize("harassed", [False, True])
async def test_all_is_judged_whatever_becomes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harassed: bool
) -> None:
    """Wrong chunks are found, right ones are in the data file with their sums, though they are killed or stopped."""
    monkeypatch.setattr(crews, "STUCK", 0.1 if harassed else 10.0)
    monkeypatch.setattr(crews, "REST", 0.01)
    store = Store(tmp_path)
    async with at_work(chunks=12) as (crew, memory):
        stored = store.open(KEY, COUNT * CHUNK, "sha-256/test")
        judged = Judged(stored, memory, crew, seed=5)
        monkeypatch.setattr(judged.verifier, "awaited", lambda: time.monotonic_ns() % 3 == 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(judged.verifier.hear)
            for _ in range(4):
                nursery.start_soon(judged.verifier.run)
            if harassed:
                nursery.start_soon(_harass, 7)
            with trio.fail_after(120):
                await judged.send_all()
            nursery.cancel_scope.cancel()
        assert not judged.wrong
        stored.close()
    store.close()
    [data] = (tmp_path / "contents").rglob("*.data")
    assert data.read_bytes() == b"".join(judged.chunk(index) for index in range(COUNT))
    if not harassed and stored._data._bypass._direct:
        assert judged.by_crew > COUNT // 2
