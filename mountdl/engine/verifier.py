"""Hash chunks in worker threads and hand the verdicts back.

A thread touches nothing but the data file. A hop to a thread costs about 80 us, hashing a MiB 550 us
(measured, sha-256), so chunks are taken in batches when they queue up. A chunk that is still in memory is
hashed there and written only if it is good.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from mountdl.errors import StoreError
from mountdl.integrity import ChunkMap
from mountdl.store.stored import Stored

in_thread = trio.to_thread.run_sync

BATCH = 2 << 20
"""Bytes hashed in one hop, but at least one chunk. All threads together may have put so much each on the disk that the
quota has yet to count."""


@dataclass(eq=False, frozen=True, slots=True)
class Job:
    """Chunk *index* to be judged by *data*, its bytes in memory, or None for those in the data file.

    *kept*: they stay in memory for a reader, so that the page cache need not hold them.
    """

    index: int
    data: memoryview | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chunk of *job* is *good*; *stale*: it was forgotten meanwhile, so that nobody cares.

    One that was judged in memory is in the data file only if it is good and there is no *error*; *sums* is then
    what `Stored.put` returned.
    """

    job: Job
    good: bool
    error: StoreError | None = None
    stale: bool = False
    sums: dict[int, int] = field(default_factory=dict)


class Verifier:
    """The queue of chunks that wait for their verdict, which *judge* gets."""

    def __init__(self, chunk_map: ChunkMap, stored: Stored, judge: Callable[[Verdict], None]) -> None:
        self._chunk_map, self._stored, self._judge = chunk_map, stored, judge
        self._queue: deque[Job] = deque()
        self.pending: dict[int, Job] = {}
        self._alarm = trio.Event()

    def submit(self, index: int, *, urgent: bool, data: memoryview | None = None, kept: bool = False) -> None:
        """Queue chunk *index*, before all others if a reader waits for it. *data*: its bytes, else they are stored."""
        job = self.pending.get(index)
        if job is not None:
            if urgent and job in self._queue:
                self._queue.remove(job)
                self._queue.appendleft(job)
            return
        job = self.pending[index] = Job(index, data, kept)
        if urgent:
            self._queue.appendleft(job)
        else:
            self._queue.append(job)
        self._alarm.set()

    def forget(self, index: int) -> None:
        """Make what is pending for chunk *index* stale: its bytes are not what they were."""
        job = self.pending.pop(index, None)
        if job is not None and job in self._queue:
            self._queue.remove(job)
            self._judge(Verdict(job, good=False, stale=True))

    async def run(self) -> None:
        """Hash what is queued until cancelled. Several may run side by side."""
        while True:
            batch = self._batch()
            if not batch:
                if self._alarm.is_set():
                    self._alarm = trio.Event()
                await self._alarm.wait()
                continue
            for verdict in await in_thread(self._verdicts, batch):
                self._deliver(verdict)

    def _deliver(self, verdict: Verdict) -> None:
        job = verdict.job
        if self.pending.get(job.index) is job:
            del self.pending[job.index]
            self._judge(verdict)
        else:
            self._judge(replace(verdict, stale=True))

    def _batch(self) -> list[Job]:
        batch: list[Job] = []
        length = 0
        while self._queue and (not batch or length + self._chunk_map.length <= BATCH):
            batch.append(self._queue.popleft())
            length += self._chunk_map.length
        return batch

    def _verdicts(self, batch: list[Job]) -> list[Verdict]:
        return [self._stored_one(job) if job.data is None else self._placed(job, job.data) for job in batch]

    def _stored_one(self, job: Job) -> Verdict:
        check = self._chunk_map.check(job.index)
        try:
            self._stored.hash_extent(self._chunk_map.judged(job.index), check)
        except (StoreError, OSError):
            return Verdict(job, good=False)  # a data file that can't be read back is not sound either
        return Verdict(job, check.verified)

    def _placed(self, job: Job, data: memoryview) -> Verdict:
        """Judge *data* and put it into the data file if it is good."""
        if not self._chunk_map.matches(job.index, data):
            return Verdict(job, good=False)
        try:
            sums = self._stored.put(self._chunk_map.extent(job.index).start, data, cached=not job.kept)
        except StoreError as error:
            return Verdict(job, good=True, error=error)
        return Verdict(job, good=True, sums=sums)
