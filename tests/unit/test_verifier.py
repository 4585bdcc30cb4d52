"""Verdicts by real threads: each chunk one, none lost, however the loop and the threads meet at the queue."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing

from mountdl.engine import verifier
from mountdl.engine.verifier import MOST_UNTOLD, Job, Verdict, Verifier
from mountdl.errors import StoreError
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.store.stored import Stored
from tests.support.content import pattern

CHUNK = 4096
COUNT = 400
DATA = pattern(CHUNK * COUNT)
BAD = {3, 77, 399}
PATIENCE = 60.0


def chunk_map() -> ChunkMap:
    digests = [bytes(32) if index in BAD else hashlib.sha256(chunk(index)).digest() for index in range(COUNT)]
    return ChunkMap(len(DATA), CHUNK, "sha-256", b"".join(digests))


def chunk(index: int) -> bytes:
    return DATA[index * CHUNK : (index + 1) * CHUNK]


class Disk:
    """A store that notes what threads put, and can make them wait or fail."""

    def __init__(self) -> None:
        self.put_at: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.entered = 0

    def put(self, offset: int, data: memoryview, **_: bool) -> dict[int, int]:
        self.entered += 1
        self.gate.wait(PATIENCE)
        if self.broken:
            raise StoreError("broken")
        self.put_at.append(offset)
        return {}

    def hash_extent(self, extent: Extent, hasher: Any) -> dict[int, int]:
        hasher.update(DATA[extent.start : extent.stop])
        return {extent.start: 7}


class Bench:
    """A verifier with four threads over *disk*, and the verdicts that came."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.verdicts, self.unwritten = disk, list[Verdict](), list[Verdict]()
        self.verifier = Verifier(chunk_map(), cast("Stored", disk), self.judge)

    def judge(self, verdict: Verdict) -> None:
        (self.unwritten if verdict.unwritten else self.verdicts).append(verdict)

    async def until(self, count: int) -> None:
        with trio.fail_after(PATIENCE):
            while len(self.verdicts) < count:
                await trio.sleep(0.001)

    def submit(self, index: int, *, urgent: bool = False, stored: bool = False) -> None:
        data = None if stored else memoryview(chunk(index))
        self.verifier.submit(index, urgent=urgent, data=data)


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench(Disk())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.verifier.hear)
        for _ in range(4):
            nursery.start_soon(bench.verifier.run)
        yield bench
        bench.disk.gate.set()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stored", [False, True])
async def test_each_chunk_gets_its_verdict_once(stored: bool) -> None:
    """Good and bad ones, from memory and from the data file; only good ones are put there."""
    async with running() as bench:
        for index in range(COUNT):
            bench.submit(index, stored=stored, urgent=index % 7 == 0)
            if index % 50 == 0:
                await trio.sleep(0)
        await bench.until(COUNT)
    assert Counter(verdict.job.index for verdict in bench.verdicts) == Counter(range(COUNT))
    assert {verdict.job.index for verdict in bench.verdicts if not verdict.good} == BAD
    assert not bench.verifier.pending
    assert sorted(bench.disk.put_at) == ([] if stored else [i * CHUNK for i in range(COUNT) if i not in BAD])


async def test_nothing_is_lost_when_chunks_trickle_in() -> None:
    """Threads end while the next chunk comes: whoever is about to wait must still see it."""
    async with running() as bench:
        for index in range(COUNT):
            bench.submit(index)
            await bench.until(index + 1 - index % 3)
        await bench.until(COUNT)
    assert len(bench.verdicts) == COUNT


async def test_who_is_forgotten_is_stale_whoever_has_it() -> None:
    """In the queue or in a thread's hands: one verdict, which counts for nothing; submitted again it counts."""
    dice = random.Random(7)
    async with running() as bench:
        bench.disk.gate.clear()
        for index in range(100):
            bench.submit(index)
        await trio.sleep(0.01)
        forgotten = dice.sample(range(100), 40)
        for index in forgotten:
            bench.verifier.forget(index)
        for index in forgotten[:20]:
            bench.submit(index, urgent=True)
        bench.disk.gate.set()
        await bench.until(120)
        await trio.sleep(0.01)
    counted = [verdict.job.index for verdict in bench.verdicts if not verdict.stale]
    assert len(bench.verdicts) == 120
    assert sorted(counted) == sorted((set(range(100)) - set(forgotten)) | set(forgotten[:20]))


async def test_the_loop_hears_before_too_much_was_put() -> None:
    """A loop that is busy bounds what is on the disk without its knowledge."""
    async with running() as bench:
        bench.verifier._most_told = 5
        bench.disk.gate.clear()
        for index in range(100, 200):
            bench.submit(index)
        while bench.disk.entered < 4:  # until each of four threads has one in its hands
            await trio.sleep(0.001)
        bench.disk.gate.set()
        pause = threading.Event()
        until = time.monotonic() + PATIENCE
        while len(bench.disk.put_at) < 4 and time.monotonic() < until:
            pause.wait(0.01)  # the loop is busy
        pause.wait(0.05)
        assert 4 <= len(bench.disk.put_at) <= 5 + 4
        await bench.until(100)
    assert MOST_UNTOLD // CHUNK > 5


async def test_a_thread_without_work_waits_for_the_next_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while it rests needs no other thread; what comes later does."""
    hops, ended, real = list[int](), list[int](), verifier.in_thread

    async def counted(work: Any, job: Job, *rest: Any) -> None:
        hops.append(job.index)
        await real(work, job, *rest)
        ended.append(job.index)

    monkeypatch.setattr(verifier, "in_thread", counted)
    monkeypatch.setattr(verifier, "REST", PATIENCE)
    async with running() as bench:
        for index in range(20):
            bench.submit(index, stored=True)
            await bench.until(index + 1)
            while not bench.verifier._resting:
                await trio.sleep(0.001)
        assert hops == [0]
        monkeypatch.setattr(verifier, "REST", 0.0)
        bench.submit(20, stored=True)
        await bench.until(21)
        while not ended:
            await trio.sleep(0.001)
        bench.submit(21, stored=True)
        await bench.until(22)
    assert hops == [0, 21]


async def test_a_verdict_that_nobody_waits_for_is_heard_of_when_the_loop_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sooner, for to wake the loop costs both; but without being asked for once the thread has no work."""
    monkeypatch.setattr(verifier, "REST", PATIENCE)
    async with running() as bench:
        bench.verifier.awaited = lambda: False
        bench.submit(1)
        while not bench.verifier._resting:
            await trio.sleep(0.001)
        assert not bench.verdicts
        bench.verifier.deliver()
        assert len(bench.verdicts) == 1

        bench.verifier.awaited = lambda: True
        bench.submit(2, stored=True)
        await bench.until(2)

        bench.verifier.awaited = lambda: False
        monkeypatch.setattr(verifier, "REST", 0.0)
        bench.submit(4)
        await bench.until(3)
    assert [1, 2, 4] == [verdict.job.index for verdict in bench.verdicts]


async def test_who_waits_hears_before_the_disk_has_the_chunk() -> None:
    """Once, that it is good; a second verdict tells what became of it. Who does not wait hears the second only."""
    async with running() as bench:
        bench.disk.gate.clear()
        bench.submit(1)
        with trio.fail_after(PATIENCE):
            while not bench.unwritten:
                await trio.sleep(0.001)
        assert bench.disk.put_at == []
        assert list(bench.verifier.pending) == [1]
        bench.submit(3)
        bench.disk.gate.set()
        await bench.until(2)

        bench.verifier.awaited = lambda: False
        bench.submit(2)
        await bench.until(3)
    assert [verdict.job.index for verdict in bench.unwritten] == [1]
    assert {verdict.job.index: verdict.good for verdict in bench.verdicts} == {1: True, 2: True, 3: False}


async def test_who_waits_is_answered_before_the_disk_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that judged a chunk leaves the processor to the loop: the two may have one between them."""
    left = threading.Event()
    monkeypatch.setattr("mountdl.engine.verifier.time.sleep", lambda _: left.wait(PATIENCE))
    async with running() as bench:
        bench.submit(1)
        with trio.fail_after(PATIENCE):
            while not bench.unwritten:
                await trio.sleep(0.001)
        assert not bench.disk.entered
        left.set()
        await bench.until(1)
    assert bench.disk.put_at == [CHUNK]


async def test_a_disk_that_fails_is_told_with_the_verdict() -> None:
    """The chunk was good; where it is to go is the loop's to decide."""
    async with running() as bench:
        bench.disk.broken = True
        bench.submit(5)
        await bench.until(1)
    assert bench.verdicts[0].good
    assert isinstance(bench.verdicts[0].error, StoreError)


async def test_what_no_thread_was_free_for_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten while it waits for a thread, it is stale when the verifier ends: somebody holds memory for it."""

    async def crowded(*_: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("mountdl.engine.verifier.in_thread", crowded)
    async with running() as bench:
        bench.submit(1)
        bench.submit(2)
        await trio.testing.wait_all_tasks_blocked()
        bench.verifier.forget(1)
        assert not bench.verdicts
    assert [(verdict.job.index, verdict.stale) for verdict in bench.verdicts] == [(1, True)]
    assert list(bench.verifier.pending) == [2]


def test_no_thread_rests_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the rest and however busy the machine: it could neither be stopped nor the mount end."""
    monkeypatch.setattr(verifier, "REST", 0.0002)
    tried, turns, over = Bench(Disk()).verifier, [0] * 4, threading.Event()

    def rest(number: int) -> None:
        while not over.is_set():
            tried._next()
            turns[number] += 1

    threads = [threading.Thread(target=rest, args=(number,), daemon=True) for number in range(len(turns))]
    for thread in threads:
        thread.start()
    try:
        for index in range(COUNT):
            tried.submit(index, urgent=False)
            before, until = list(turns), time.monotonic() + PATIENCE / 4
            while any(turn == earlier for turn, earlier in zip(turns, before, strict=True)):
                assert time.monotonic() < until, f"{turns}, and before that {before}"
                time.sleep(0.0005)
    finally:
        over.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
