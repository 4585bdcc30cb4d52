"""Hash chunks in worker threads, or by the crew where there is one, and hand the verdicts back; hash whole files there.

A thread touches the queues here, its jobs' memory and the store's bytes (`hash_extent`, `put`), nothing else. It takes
one chunk after another without asking the loop, which may be busy for longer than a chunk takes (512 MiB over loopback:
with batches that the loop handed out 23 MiB waited for the threads, which waited for the loop, measured). A chunk that
is still in memory is hashed there and written only if it is good. A thread without work rests for a moment before it
goes, and what it found waits to be heard of, unless a reader does: to start one and to wake the loop costs more than a
tenth of a chunk's hash.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock

import trio

from mountdl.engine.crew import CREW, Crew, Found, Order
from mountdl.errors import StoreError
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap, Digest, WholeCheck
from mountdl.store.stored import Stored
from mountdl.store.sums import LEAF, inner_leaves

in_thread = trio.to_thread.run_sync

MOST_UNTOLD = 4 << 20
"""Bytes that were judged before the loop hears of any, beside one chunk of each thread: so much may be on the disk that
the quota has yet to count."""
REST = 0.01
"""Seconds that a thread waits for another chunk: several come in that time where the hops would tell."""

COURTESY = 0.0005
"""Seconds for which a thread leaves its processor to the loop, which has a reader to answer: to write 1 MiB first kept
the answer back for 3 ms where the kernel had both on one processor and the other idle, traced."""

WHOLE_STEP = 32 << 20
"""Bytes of a whole file hashed in one hop: short enough to stop soon when the mount goes away."""


@dataclass(eq=False, frozen=True, slots=True)
class Job:
    """Chunk *index* to be judged by *data*, its bytes in memory, or None for those in the data file.

    *kept*: they stay in memory for a reader, so that the page cache need not hold them. *awaited*: one waits for them.
    *good*: they are known to be right, and have only to be written.
    """

    index: int
    data: memoryview | None
    kept: bool
    awaited: bool
    good: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chunk of *job* is *good*; *stale*: it was forgotten meanwhile, so that nobody cares.

    One that was judged in memory is in the data file only if it is good and there is no *error*. *sums* are those of
    the leaves of one that is there. *unwritten*: it is good and on its way there; another verdict follows.
    """

    job: Job
    good: bool
    error: StoreError | None = None
    stale: bool = False
    unwritten: bool = False
    sums: dict[int, int] = field(default_factory=dict)


class Verifier:
    """The queue of chunks that wait for their verdict, which *judge* gets.

    *awaited* tells, in any thread, whether a verdict is to be heard of at once. Else it is when `deliver` is called, or
    soon after no other chunk came.
    """

    def __init__(
        self, chunk_map: ChunkMap, stored: Stored, judge: Callable[[Verdict], None], crew: Crew = CREW
    ) -> None:
        self._chunk_map, self._stored, self._judge, self._crew = chunk_map, stored, judge, crew
        self._handed_out, self._hearing = 0, False
        self._queue: deque[Job] = deque()  # threads take from it: each change is a single step
        self._told: deque[Verdict] = deque()
        self._most_told = max(1, MOST_UNTOLD // chunk_map.length)
        # A lock for each thread that rests and was not called yet: to release it is to call. (No queue, for in CPython
        # 3.11 one of several threads that wait for a SimpleQueue may go on for ever after its timeout, seen.)
        self._resting: deque[Lock] = deque()
        self.pending: dict[int, Job] = {}
        self.awaited: Callable[[], bool] = lambda: True
        self._alarm, self._news = trio.Event(), trio.Event()

    def submit(
        self, index: int, *, urgent: bool, data: memoryview | None = None, kept: bool = False, good: bool = False
    ) -> None:
        """Queue chunk *index*, before all others if a reader waits for it. *data*: its bytes, else they are stored.

        *kept* and *good* are those of a `Job`.
        """
        job = self.pending.get(index)
        if job is None:
            job = self.pending[index] = Job(index, data, kept, urgent, good)
            if data is not None and not good and self._hand_out(job, data):
                return
        elif not (urgent and self._taken_back(job)):
            return
        self._put_in(job, urgent=urgent)

    def _put_in(self, job: Job, *, urgent: bool) -> None:
        if urgent:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self._rouse()

    def _hand_out(self, job: Job, data: memoryview) -> bool:
        """Have the crew do *job*, if it is there and that can be done; say whether it will."""
        self._crew.came(len(data))
        chunk = self._chunk_map.extent(job.index)
        if not (self._crew.ready and self._hearing) or chunk != self._chunk_map.judged(job.index):
            return False
        check, inner = self._chunk_map.check(job.index), inner_leaves(chunk, self._stored.size)
        summed = Extent(inner.start * LEAF, inner.stop * LEAF).intersection(chunk)
        start = summed.start - chunk.start if summed else 0
        order = Order(
            *(data, chunk.start, check.algorithm, check.piece, check.expected),
            summed=Extent(start, start + summed.length),
            cached=not job.kept,
            awaited=self.awaited(),
        )
        told = partial(self._found, job)
        given = self._stored.hand_out(chunk, lambda fd: self._crew.take(order, fd, told), cached=order.cached)
        self._handed_out += given
        return given

    def _found(self, job: Job, found: Found | None) -> None:
        """Take in what the crew *found* of *job*, or that it did nothing; what it could not do threads will."""
        if found is not None and not found.last:
            self._told.append(Verdict(job, good=True, unwritten=True))
        else:
            self._handed_out -= 1
            self._handed_back(job, found)
        self._news.set()

    def _handed_back(self, job: Job, found: Found | None) -> None:
        chunk = self._chunk_map.extent(job.index)
        if found is not None and found.written:
            self._stored.handed_back(chunk, found.seconds if job.kept else None)
            sums = dict(zip(inner_leaves(chunk, self._stored.size), found.sums, strict=False))
            self._told.append(Verdict(job, good=True, sums=sums))
        elif self.pending.get(job.index) is job:
            self._stored.taken_back(chunk)
            # Wrong by their word only: it is seldom, and mirrors are blamed for it.
            self.pending[job.index] = again = replace(job, good=found is not None and found.good)
            self._put_in(again, urgent=job.awaited)
        else:
            self._told.append(Verdict(job, good=True, stale=True))  # as far as it was written it has to go

    def _rouse(self) -> None:
        """Have somebody look at the queue: a thread that rests, else a task that starts one."""
        try:
            bell = self._resting.pop()
        except IndexError:
            self._alarm.set()
        else:
            bell.release()

    def forget(self, index: int) -> None:
        """Make what is pending for chunk *index* stale: its bytes are not what they were."""
        job = self.pending.pop(index, None)
        if job is not None and self._taken_back(job):
            self._judge(Verdict(job, good=False, stale=True))

    def withheld(self, extent: Extent) -> str | None:
        """Return why *extent* can't be read yet, if stored chunks of it are still to be hashed."""
        jobs = (self.pending.get(index) for index in self._chunk_map.touching(extent))
        stored = any(job is not None and job.data is None for job in jobs)
        return "the disk of the cache did not give back what it has of them" if stored else None

    def _taken_back(self, job: Job) -> bool:
        """Say whether *job* was still queued; then it is not any more."""
        try:
            self._queue.remove(job)
        except ValueError:
            return False
        return True

    async def run(self) -> None:
        """Hash what is queued until cancelled. Several may run side by side, and one `hear` beside them."""
        tell = partial(trio.lowlevel.current_trio_token().run_sync_soon, self._tell, idempotent=True)
        while True:
            job = self._pop()
            if job is not None:
                await self._hand_over(job, tell)
                continue
            if self._alarm.is_set():
                self._alarm = trio.Event()
            await self._alarm.wait()

    async def _hand_over(self, job: Job, tell: Callable[[], None]) -> None:
        try:
            if job.good:
                await trio.lowlevel.checkpoint()  # its reader first: to start a thread takes up to 0.4 ms
            await in_thread(self._work, job, tell)
        except trio.Cancelled:  # before a thread was free for it
            if self.pending.get(job.index) is not job:
                self._judge(Verdict(job, good=False, stale=True))
            raise
        self.deliver()

    async def hear(self) -> None:
        """Hand on what the crew and threads that go on found, until cancelled and nothing is the crew's any more."""
        self._hearing = True
        try:
            while True:
                await self._heard()
        finally:
            self._hearing = False  # a flight may bring something still
            with trio.CancelScope(shield=True):
                while self._handed_out:
                    await self._heard()
            self.deliver()

    async def _heard(self) -> None:
        await self._news.wait()
        self._news = trio.Event()
        self.deliver()

    def _tell(self) -> None:
        self._news.set()

    def _work(self, job: Job | None, tell: Callable[[], None]) -> None:
        """Judge *job* and what else is queued until nothing more comes, or the loop has much to hear."""
        while job is not None:
            if job.data is None:
                self._report(self._stored_one(job), tell)
            else:
                self._place(job, job.data, tell)
            job = self._next() if len(self._told) < self._most_told else None

    def _report(self, verdict: Verdict, tell: Callable[[], None]) -> None:
        self._told.append(verdict)
        if self.awaited():
            tell()

    def _next(self) -> Job | None:
        """Return the next chunk in the queue, or the first that comes while the thread rests."""
        job = self._pop()
        while job is None and self._called():
            job = self._pop()
        return job

    def _called(self) -> bool:
        """Rest for a moment, or until there is something to do, and say whether there was."""
        bell = Lock()
        bell.acquire()
        self._resting.append(bell)
        # Looked at once more, for what was queued just before nobody was called to.
        if bell.acquire(timeout=0.0 if self._queue else REST):
            return True
        try:
            self._resting.remove(bell)
        except ValueError:
            return True  # called just now
        return bool(self._queue)

    def _pop(self) -> Job | None:
        try:
            return self._queue.popleft()
        except IndexError:  # a thread was faster
            return None

    def deliver(self) -> None:
        """Hand on what was found until now."""
        while self._told:
            verdict = self._told.popleft()
            job = verdict.job
            if self.pending.get(job.index) is not job:
                self._judge(replace(verdict, stale=True))
                continue
            if not verdict.unwritten:
                del self.pending[job.index]
            self._judge(verdict)

    def _stored_one(self, job: Job) -> Verdict:
        check = self._chunk_map.check(job.index)
        try:
            sums = self._stored.hash_extent(self._chunk_map.judged(job.index), check)
        except (StoreError, OSError):
            return Verdict(job, good=False)  # a data file that can't be read back is not sound either
        return Verdict(job, check.verified, sums=sums)

    def _place(self, job: Job, data: memoryview, tell: Callable[[], None]) -> None:
        """Judge *data* and put it into the data file if it is good; who waits for it need not wait for the disk."""
        if not (job.good or self._chunk_map.matches(job.index, data)):
            self._report(Verdict(job, good=False), tell)
            return
        if not (job.good or self.awaited()):
            self._report(self._put(job, data), tell)
            return
        if not job.good:
            self._report(Verdict(job, good=True, unwritten=True), tell)
        time.sleep(COURTESY)
        self._told.append(self._put(job, data))  # nobody waits for this one

    def _put(self, job: Job, data: memoryview) -> Verdict:
        try:
            start = self._chunk_map.extent(job.index).start
            sums = self._stored.put(start, data, cached=not job.kept, awaited=job.awaited)
        except StoreError as error:
            return Verdict(job, good=True, error=error)
        return Verdict(job, good=True, sums=sums)


async def match_whole(stored: Stored, digest: Digest) -> bool | None:
    """Hash all of *stored* and return whether it matches; None if any went meanwhile: holes were hashed in its place.

    Raises StoreError when the store can't give it back.
    """
    check, losses = WholeCheck(digest, stored.size), stored.reading.losses
    for start in range(0, stored.size, WHOLE_STEP):
        await in_thread(stored.hash_extent, Extent(start, start + WHOLE_STEP).clip(stored.size), check)
    return check.verified if losses == stored.reading.losses else None
