"""Processes that hash and write what comes faster than threads can, which take turns with the loop.

Law: a chunk is theirs from `take` until its order is answered, and its memory with it. They are started when chunks
come that fast, and go when none did for a while. Whatever becomes of them, each order is answered: with None when
nobody carried it out and nobody will. (Measured, 512 MiB over loopback, two processors: threads that hash made the
loop wait for the interpreter's lock for a sixth of the time; without them a copy takes 4 to 8 % less.)
"""

import errno
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import trio

from mountdl.engine.arena import Arena
from mountdl.engine.assembly import LONGEST_CHUNK, MEMORY, Memory
from mountdl.extents import Extent
from mountdl.store import hand
from mountdl.store.place import SLICE
from mountdl.store.sums import LEAF

log = logging.getLogger(__name__)

HANDS: Final = 2
"""Processes: with one a copy over loopback is not faster than with threads, as it waits for the disk now and then."""
MOST_OUT: Final = 4 * LONGEST_CHUNK
"""Bytes that they have at once, which may be on the disk and which the quota has yet to count."""
FAST: Final = 160e6
"""Bytes a second, of chunks that could be given to them, from which on they are worth their start: 15 ms each."""
SPAN: Final = 8 << 20
"""Bytes over which that is measured: more than what waits in a connection (tcp(7): 6 MiB)."""
IDLE: Final = 30.0
"""Seconds without an order after which they go."""
STUCK: Final = 5.0
"""Seconds without an answer after which they are called on: somebody stopped one, if the disk did not."""
REST: Final = 60.0
"""Seconds until others are started when one ended by itself."""
_LOOK: Final = 0.002


def _text() -> bytes:
    with suppress(OSError):  # who has taken away all but what was compiled
        return inspect.getsource(hand).encode()
    return b""


_HAND: Final = _text()
"""What they run: as it was when we were loaded, for an upgrade may come while a mount runs for months."""
_BEGIN: Final = f"import os, sys; exec(os.pread(int(sys.argv.pop(1)), {len(_HAND)}, 0))"

NAMES: Final = {"sha-1": "sha1", "sha-224": "sha224", "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
"""The algorithms that they know, by what hashlib calls them."""


class Order(NamedTuple):
    """Bytes *data* to be hashed and, if all are right, written at *offset*.

    The digests of each *step* bytes by *algorithm* should be *expected*. *summed*: of which of the bytes to take sums,
    one of each leaf. *cached*: the page cache is to keep them. *awaited*: somebody waits for the verdict, and need not
    wait for the disk.
    """

    data: memoryview
    offset: int
    algorithm: str | None
    step: int
    expected: bytes
    summed: Extent
    cached: bool
    awaited: bool


class Found(NamedTuple):
    """Whether the bytes are *good*, and *written*, which took so many *seconds*; *last*: nothing more is to come.

    *sums*: those that were asked for, of what is written.
    """

    good: bool
    written: bool
    last: bool
    seconds: float
    sums: tuple[int, ...]


Told = Callable[[Found | None], None]
"""Called with what was found, once or twice: before and after bytes that are right are written. None: nobody did
anything, and nobody will."""


class _Given(NamedTuple):
    data: memoryview  # nobody else's while it is in use
    told: Told
    at: float


class Haste:
    """Finds out whether bytes come at `FAST`."""

    def __init__(self) -> None:
        self._came, self._since = 0, 0.0

    def came(self, length: int, now: float) -> bool:
        """Take in that *length* bytes came, and say whether the last `SPAN` came that fast."""
        if not self._came or now - self._since > SPAN / FAST:
            self._came, self._since = length, now
            return False
        self._came += length
        if self._came < SPAN:
            return False
        self._came = 0
        return True


class Crew:
    """The processes, and what they have been given: chunks in the shared *memory*."""

    def __init__(self, memory: Memory, processors: int) -> None:
        self._memory, self._worthwhile = memory, processors > 1
        self._haste, self._wanted = Haste(), trio.Event()
        self._orders: socket.socket | None = None
        self._out: dict[int, _Given] = {}
        self._given, self._number, self._latest = 0, 0, 0.0
        self._running = self._taking = False

    def came(self, length: int) -> None:
        """Take in that a chunk of *length* bytes came which could be given to them."""
        if self._running and self._orders is None and self._haste.came(length, trio.current_time()):
            self.call()

    def call(self) -> None:
        """Have them start, if they run."""
        self._wanted.set()

    @property
    def ready(self) -> bool:
        """Whether they are there to `take` orders."""
        return self._taking

    def take(self, order: Order, fd: int, told: Told) -> bool:
        """Have them carry *order* out in the file *fd*; say whether they will.

        Until *told* for the last time the memory is theirs. It is called from a task that is not the giver's.
        """
        at = None if self._memory.arena is None else self._memory.arena.offset(order.data)
        name, length = NAMES.get(order.algorithm or ""), len(order.data)
        if at is None or name is None or self._given + length > MOST_OUT or not self._sent(order, at, name, fd):
            return False
        self._latest = trio.current_time()
        self._out[self._number] = _Given(order.data, told, self._latest)
        self._given += length
        return True

    def _sent(self, order: Order, at: int, name: str, fd: int) -> bool:
        self._number += 1
        length, summed = len(order.data), order.summed
        where = at, order.offset, length, order.step, summed.start, summed.stop, LEAF
        most = SLICE if order.cached else length
        head = hand.ORDER.pack(self._number, *where, most, order.awaited, name.encode())
        if self._orders is None or len(head) + len(order.expected) > hand.LONGEST:
            return False
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
        try:
            self._orders.sendmsg([head, order.expected], control)
        except OSError as error:  # no room, or nobody there any more, which their end will tell
            if error.errno not in {errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ETOOMANYREFS, errno.ENOBUFS}:
                log.info("a chunk could not be handed over: %s", error)
            return False
        return True

    def _hear(self) -> bool:
        """Tell what they found until now; say whether any of them is there."""
        try:
            while self._orders is not None and (found := self._orders.recv(hand.LONGEST)):
                self._tell(found)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _tell(self, found: bytes) -> None:
        number, verdict, seconds = hand.FOUND.unpack_from(found)
        sums = tuple(array("I", found[hand.FOUND.size :]))
        given = self._out[number]
        last = verdict != hand.GOOD
        if last:
            del self._out[number]
            self._given -= len(given.data)
        given.told(Found(verdict != hand.BAD, verdict == hand.WRITTEN, last, seconds, sums))

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Start them whenever it is worthwhile, until cancelled; none is left then."""
        self._running = self._worthwhile and bool(sys.executable and _HAND)
        task_status.started()
        try:
            while True:
                await self._wanted.wait()
                if not await self._shift():
                    await trio.sleep(REST)
                self._wanted = trio.Event()
        finally:
            self._running, self._wanted = False, trio.Event()

    async def _shift(self) -> bool:
        """Have them work until they are idle; say whether none of them failed."""
        sound = False
        try:
            async with self._hired() as hands, trio.open_nursery() as nursery:
                for each in hands:
                    nursery.start_soon(self._watch, each, nursery.cancel_scope)
                nursery.start_soon(self._listen, nursery.cancel_scope)
                await self._idle(hands)
                sound = True
                nursery.cancel_scope.cancel()
        except (OSError, RuntimeError) as error:  # the latter where no thread can be started to start them
            log.info("chunks are hashed by threads alone: %s", error)
        except Exception:  # nothing needs them so much that it should end with them
            log.exception("a defect of mountdl: chunks are hashed by threads alone")
        return sound

    async def _watch(self, process: trio.Process, over: trio.CancelScope) -> None:
        status = await process.wait()
        log.info("a process that hashed chunks ended with %s; threads go on without it", status)
        over.cancel()

    async def _listen(self, over: trio.CancelScope) -> None:
        while self._orders is not None and self._hear():
            await trio.lowlevel.wait_readable(self._orders)
        over.cancel()

    async def _idle(self, hands: list[trio.Process]) -> None:
        """Return once *hands* had nothing to do for a while; see to it that nobody stops them."""
        self._latest = trio.current_time()
        while self._out or trio.current_time() - self._latest <= IDLE:
            await trio.sleep(STUCK / 4)
            if self._out and trio.current_time() - next(iter(self._out.values())).at > STUCK:
                # Not killed: on NFS its write would go on, from memory that others have then.
                for each in hands:
                    each.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def _hired(self) -> AsyncIterator[list[trio.Process]]:
        """Yield them, at work, and see to it that none is left and each order is answered. Raises OSError."""
        arena = self._memory.arena
        if arena is None:
            raise OSError(errno.ENOSYS, "no memory can be shared here")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        hands: list[trio.Process] = []
        try:
            with theirs, os.fdopen(os.memfd_create("mountdl-hand"), "wb") as program:
                program.write(_HAND)
                program.flush()
                while len(hands) < HANDS:
                    hands.append(await _start(arena, theirs, program.fileno()))
            self._orders, self._taking = ours, True
            yield hands
        finally:
            with trio.CancelScope(shield=True):
                await self._dismiss(hands)
            ours.close()

    async def _dismiss(self, hands: list[trio.Process]) -> None:
        """Let them finish what they have, if they do; what is left when they are gone nobody will do."""
        self._taking = False
        deadline = trio.current_time() + STUCK
        while self._out and all(each.returncode is None for each in hands) and trio.current_time() < deadline:
            if not self._hear():
                break
            await trio.sleep(_LOOK)
        for each in hands:
            each.kill()
        for each in hands:
            await each.wait()  # else one could still write what others put there since
        self._hear()
        self._orders = None
        left, self._out, self._given = list(self._out.values()), {}, 0
        for given in left:
            given.told(None)


async def _start(arena: Arena, orders: socket.socket, program: int) -> trio.Process:
    """Start one by the text in the file *program*. Raises OSError, or RuntimeError where no thread can be started."""
    isal = find_spec("isal")
    libraries = str(Path(isal.origin).parent.parent) if isal is not None and isal.origin else "/"
    arguments = map(str, (program, arena.fd, arena.size, os.getpid(), libraries))
    # Without site and what the environment says it is at work after 15 ms. Signals of a terminal are not for it.
    return await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", "-c", _BEGIN, *arguments],
        stdin=orders.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(program, arena.fd),
        cwd="/",
        start_new_session=True,
    )


CREW: Final = Crew(MEMORY, len(os.sched_getaffinity(0)))
"""One for the process, as `MEMORY` is."""
