"""One SSH connection to a host with its open files, and the bytes on their way over it.

Law: a read that was sent is counted until it is answered, whoever still wants it; nothing is sent that the
pace does not admit, first come, first served. A line that falls silent is dropped, with all that is on it:
SSH's keep-alive is answered even where the SFTP server is stopped. Runs on the island.
"""

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TypeVar

import asyncssh

from mountdl.settings import SftpSettings
from mountdl.sources.sftp.address import Place
from mountdl.sources.sftp.connecting import Dial, connect
from mountdl.sources.sftp.failures import LOST, Ended, Stalled
from mountdl.sources.sftp.pace import Pace, Sent

T = TypeVar("T")

PART = 256 << 10
HANDLES = 64
"""Files kept open at a host: an open costs a round trip, and OpenSSH allows a process 1024."""

LAST_LOOK = 0.1
"""Seconds: what came while we did not run ourselves, stopped or late, takes some turns of the loop to be seen."""

AGAIN = 30.0
"""Seconds after which a connection that failed before anybody used it is tried again."""

STALE = 60.0
"""Seconds without use after which a file is opened anew: it may have been replaced."""


@dataclass(slots=True)
class Handle:
    """An open file, its size and date when it was opened; how many read it, and whether the next opens it anew."""

    file: asyncssh.SFTPClientFile
    size: int
    mtime: int
    used: float
    readers: int = 0
    old: bool = False

    def unused(self) -> bool:
        """Say whether it can be closed."""
        return self.old and not self.readers


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one read."""

    pace: Pace
    sent: Sent


class Line:
    """A connection that is made when it is first needed, and again after it was lost."""

    def __init__(self, place: Place, settings: SftpSettings, dial: Dial) -> None:
        self._place = place
        self._settings = settings
        self._dial = dial
        self._making: asyncio.Task[tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]] | None = None
        self._handles: OrderedDict[bytes, asyncio.Task[Handle]] = OrderedDict()
        self._queue: deque[tuple[int, asyncio.Future[Ticket]]] = deque()
        self._arrived = self._tried = 0.0
        self.pace = Pace()
        self.used = time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether it is connected."""
        making = self._making
        return making is not None and making.done() and not making.cancelled() and making.exception() is None

    @property
    def _failed(self) -> bool:
        return self._making is not None and self._making.done() and not self.ready

    def begin_connecting(self) -> None:
        """Connect, if it is not yet; failures show when it is used, and are past after a while."""
        self.used = time.monotonic()
        if self._failed and self.used >= self._tried + AGAIN:
            self._making = None
        if self._making is None:
            self._tried = self.used
            self._making = asyncio.create_task(connect(self._place, self._settings, self._dial))
            self._making.add_done_callback(_noted)

    async def client(self) -> asyncssh.SFTPClient:
        """Return the SFTP client, connected. Raises what `connect` raises."""
        self.begin_connecting()
        making = self._making
        assert making is not None  # noqa: S101  # it was just made
        try:
            async with asyncio.timeout(self._settings.connect_timeout * 2):
                return (await asyncio.shield(making))[1]
        except asyncio.CancelledError:
            raise
        except BaseException:
            if self._making is making:
                self.drop()
            raise

    async def handle(self, path: bytes) -> Handle:
        """Return the file at *path*, open; one that was not used for a minute is opened anew."""
        task = self._handles.get(path)
        self.used = now = time.monotonic()
        if task is not None and task.done() and not _fresh(task, now):
            self._forget(path)
            task = None
        if task is None:
            task = self._handles[path] = asyncio.create_task(self._opened(path))
            task.add_done_callback(_noted)
        self._handles.move_to_end(path)
        while len(self._handles) > HANDLES:
            self._forget(next(iter(self._handles)))
        try:
            handle = await asyncio.shield(task)
        except (asyncssh.Error, OSError) as error:
            if self._handles.get(path) is task:  # else the line was dropped meanwhile, and may be another by now
                self.lost(error)
            raise
        handle.used = now
        return handle

    async def _opened(self, path: bytes) -> Handle:
        client = await self.client()
        # Both at once: one round trip.
        file, known = await self._timely(asyncio.gather(client.open(path, "rb", block_size=0), client.stat(path)))
        return Handle(file, known.size or 0, known.mtime or 0, time.monotonic())

    async def _timely(self, answer: "asyncio.Future[T]") -> T:
        seconds = self._settings.stall_timeout
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            self.drop()
            raise Stalled(seconds) from None

    def begin(self, handle: Handle, offset: int, ticket: Ticket) -> "asyncio.Task[bytes]":
        """Send the read that *ticket* is for, at *offset*, and return the task of its answer."""
        task = asyncio.create_task(self._part(handle, offset, ticket))
        task.add_done_callback(_noted)
        return task

    @property
    def longest(self) -> int:
        """Bytes that one read may ask for."""
        making = self._making
        most = making.result()[1].limits.max_read_len if self.ready and making is not None else 0
        return min(PART, most or 32 << 10)

    async def admitted(self, length: int) -> Ticket:
        """Return when a read of *length* bytes may be sent, with what counts it. Waits in turn."""
        if not self._queue and self.pace.admits(length):
            return Ticket(self.pace, self.pace.sent(length, time.monotonic()))
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        self._queue.append((length, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                turn.result().pace.failed(turn.result().sent)
                self._wake()  # perhaps nothing else is on its way that would
            raise

    async def _part(self, handle: Handle, offset: int, ticket: Ticket) -> bytes:
        try:
            data = await self._read(handle, offset, ticket.sent.length)
        except BaseException:
            ticket.pace.failed(ticket.sent)
            raise
        else:
            ticket.pace.came(ticket.sent, time.monotonic())
            return data
        finally:
            self._wake()

    async def _read(self, handle: Handle, offset: int, length: int) -> bytes:
        """Read *length* bytes: servers may answer with fewer, as OpenSSH does near the end of a file."""
        parts: list[bytes] = []
        stop = offset + length
        while offset < stop:
            data = await self._watched(asyncio.ensure_future(handle.file.read(stop - offset, offset)))
            if not data:
                raise Ended(offset)
            parts.append(data)
            offset += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _watched(self, answer: "asyncio.Future[bytes]") -> bytes:
        """Return *answer*; drop the line when neither it nor any other came for the stall time-out."""
        answer.add_done_callback(_noted)  # it goes on where who waits here is cancelled
        asked = time.monotonic()
        seconds = self._settings.stall_timeout
        while True:
            left = max(asked, self._arrived) + seconds - time.monotonic()
            done, _ = await asyncio.wait((answer,), timeout=max(left, LAST_LOOK))
            if done:
                self._arrived = time.monotonic()
                return answer.result()
            if left <= 0 and max(asked, self._arrived) + seconds <= time.monotonic():
                answer.cancel()
                self.drop()
                raise Stalled(seconds)

    def _wake(self) -> None:
        while self._queue and (self._queue[0][1].done() or self.pace.admits(self._queue[0][0])):
            length, turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(Ticket(self.pace, self.pace.sent(length, time.monotonic())))

    def lost(self, error: BaseException | None) -> None:
        """Take in that *error* came of this line: it is not used again if that says it is gone."""
        if isinstance(error, (*LOST, OSError, asyncssh.DisconnectError)):
            self.drop()

    def drop(self) -> None:
        """Close the connection at once; the next use makes another."""
        making, self._making = self._making, None
        self._handles.clear()
        self.pace = Pace()
        for _, turn in self._queue:
            if not turn.done():
                turn.set_exception(ConnectionResetError("the connection was lost"))
                turn.exception()
        self._queue.clear()
        if making is None:
            return
        if not making.done():
            making.cancel()
        elif not making.cancelled() and making.exception() is None:
            making.result()[0].abort()

    def _forget(self, path: bytes) -> None:
        task = self._handles.pop(path)
        if task.done() and not task.cancelled() and task.exception() is None:
            handle = task.result()
            handle.old = True
            self.tidy(handle)

    def tidy(self, handle: Handle) -> None:
        """Close *handle* if it is old and nobody reads it any more."""
        if handle.unused():
            closing = asyncio.create_task(handle.file.close())
            closing.add_done_callback(_noted)


def _fresh(task: "asyncio.Task[Handle]", now: float) -> bool:
    return not task.cancelled() and task.exception() is None and now - task.result().used < STALE


def _noted(task: "asyncio.Future[T]") -> None:
    """Look at how *task* ended, so that asyncio does not complain where nobody waits any more."""
    if not task.cancelled():
        task.exception()
