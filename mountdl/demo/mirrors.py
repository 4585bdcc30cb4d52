"""Loopback mirrors of the demo: HTTP/1.1 with ranges and kept connections, each with its own manners.

They run on a trio loop in a thread of their own, so that the demo may wait for its mount, which waits for
them. Other threads only read the counters and call the verbs of `Mirrors`. They know no descriptor; that one
lies is a property of the bytes it holds.
"""

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

import trio

from mountdl.errors import ExitStatus, UsageError
from mountdl.extents import Extent

LOOPBACK = "127.0.0.1"
LIE_EVERY = 10
LIE_FIRST = 7
"""The lying mirror flips a byte in chunk 7, 17, 27...: not in the first, so that a reader meets it on its way."""

_MIB = 1 << 20
_SEND = 32 << 10
_LONGEST_HEAD = 16 << 10
_IDLE = 60.0
_START = 10.0
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manners:
    """How a mirror called *name* behaves: *rate* in bytes a second over all connections, *latency* in seconds.

    *lies* has it flip bytes, *mortal* lets `Mirrors.doom` end it; *what* tells the user.
    """

    name: str
    what: str
    rate: float
    latency: float = 0.0
    lies: bool = False
    mortal: bool = False


LYING = Manners("lying", "flips a byte in every tenth chunk", 24 * _MIB, lies=True)
HONEST = Manners("honest", "does what it should, at 24 MiB/s", 24 * _MIB)
DYING = Manners("dying", "will die in the middle of an answer", 16 * _MIB, mortal=True)
SLOW = Manners("slow", "limited to 1 MiB/s, answers late", 1 * _MIB, latency=0.1)
MANNERS = (LYING, HONEST, DYING, SLOW)
"""In the order in which the metalink prefers them: the liar first, or it might not be asked."""


def corrupted(data: bytes, chunk: int) -> bytes:
    """Return *data* with one byte flipped in every tenth chunk of *chunk* bytes."""
    wrong = bytearray(data)
    for start in range(LIE_FIRST * chunk, len(data), LIE_EVERY * chunk):
        wrong[start + min(chunk, len(data) - start) // 2] ^= 0xFF
    return bytes(wrong)


@dataclass(eq=False)
class Mirror:
    """One mirror: its manners, the files it holds, and what it did so far."""

    manners: Manners
    files: Mapping[str, bytes]
    port: int = 0
    sent: int = 0
    """Bytes of bodies."""
    answers: int = 0
    dead: bool = False
    left: int | None = None
    """Bytes until it dies; None: it does not."""
    _free_at: float = 0.0
    _on: trio.Event = field(default_factory=trio.Event)
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.manners.name

    def url(self, file: str) -> str:
        """Return where *file* is; its name is part of it, for `mountdl status` and `mountdl why`."""
        return f"http://{LOOPBACK}:{self.port}/{self.name}/{file}"

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; while switched off, refuse connections on the port it keeps."""
        while not self.dead:
            listeners = await trio.open_tcp_listeners(self.port, host=LOOPBACK)
            self.port = listeners[0].socket.getsockname()[1]
            self._scope = trio.CancelScope()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with self._scope:
                await trio.serve_listeners(self._serve, listeners)
            await self._on.wait()

    def switch(self, on: bool) -> None:
        """Switch it on or off; off breaks its connections. On its loop only."""
        if on:
            self._on.set()
        else:
            self._on = trio.Event()
            self._scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, UnicodeDecodeError):
            rest = b""
            while True:
                with trio.move_on_after(_IDLE):
                    head, rest = await _head(stream, rest)
                    await trio.sleep(self.manners.latency)
                    if head and await self._answer(stream, head):
                        continue
                return

    async def _answer(self, stream: trio.SocketStream, head: str) -> bool:
        """Answer the request *head*; say whether the connection stays open."""
        self.answers += 1
        method, target, fields = _parsed(head)
        data = self.files.get(target.removeprefix(f"/{self.name}/"))
        if data is None or method not in {"GET", "HEAD"}:
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        extent = _asked(fields.get("range"), len(data))
        await stream.send_all(_answer_head(extent, fields.get("range"), len(data)))
        if extent is not None and method == "GET":
            await self._send(stream, memoryview(data)[extent.start : extent.stop])
        return fields.get("connection", "").lower() != "close"

    async def _send(self, stream: trio.SocketStream, body: memoryview) -> None:
        for at in range(0, len(body), _SEND):
            part = body[at : at + _SEND]
            self._free_at = max(self._free_at, trio.current_time()) + len(part) / self.manners.rate
            await trio.sleep_until(self._free_at)
            await stream.send_all(part)
            self.sent += len(part)
            self._age(len(part))

    def _age(self, length: int) -> None:
        if self.left is None:
            return
        self.left -= length
        if self.left <= 0:
            self.dead = True
            self.switch(on=False)


async def _head(stream: trio.SocketStream, data: bytes) -> tuple[str, bytes]:
    """Return the next request's head, "" when the client has left or says too much, and what came after it."""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(_LONGEST_HEAD)
        data += more
        if not more or len(data) > _LONGEST_HEAD:
            return "", b""
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("ascii"), rest


def _parsed(head: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.split("\r\n")
    method, target, _ = [*first.split(" "), "", ""][:3]
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, target, fields


def _asked(header: str | None, size: int) -> Extent | None:
    """Return the bytes that a Range header asks for, all without one; None when it asks for none there are."""
    found = _RANGE.fullmatch(header or "")
    if found is None:
        return Extent(0, size)
    first = int(found[1])
    last = min(int(found[2] or size), size - 1)
    return Extent(first, last + 1) if first <= last else None


def _answer_head(extent: Extent | None, header: str | None, size: int) -> bytes:
    if extent is None:
        lines = ["HTTP/1.1 416 Range Not Satisfiable", f"Content-Range: bytes */{size}", "Content-Length: 0"]
    elif header is None or extent.length == size:
        lines = ["HTTP/1.1 200 OK", "Accept-Ranges: bytes", f"Content-Length: {size}"]
    else:
        place = f"Content-Range: bytes {extent.start}-{extent.stop - 1}/{size}"
        lines = ["HTTP/1.1 206 Partial Content", place, f"Content-Length: {extent.length}"]
    return "\r\n".join([*lines, 'ETag: "1"', "", ""]).encode()


class Mirrors:
    """All mirrors; they serve while the context lasts."""

    def __init__(self, files: Mapping[str, bytes], chunk: int, manners: Sequence[Manners] = MANNERS) -> None:
        wrong = {name: corrupted(data, chunk) for name, data in files.items()}
        self.all = [Mirror(each, wrong if each.lies else files) for each in manners]
        self._up: queue.SimpleQueue[trio.lowlevel.TrioToken | UsageError] = queue.SimpleQueue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._thread = threading.Thread(target=self._live, name="mirrors", daemon=True)

    def __enter__(self) -> "Mirrors":
        """Start to serve. UsageError when that can't be."""
        self._thread.start()
        answer = self._up.get(timeout=_START)
        if isinstance(answer, UsageError):
            raise answer
        self._token = answer
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._scope is not None:
            self._command(self._scope.cancel)
        self._thread.join(_START)

    @property
    def sent(self) -> int:
        """The bytes that all of them sent so far."""
        return sum(mirror.sent for mirror in self.all)

    def named(self, name: str) -> Mirror:
        """Return the mirror called *name*. StopIteration when there is none."""
        return next(mirror for mirror in self.all if mirror.name == name)

    def doom(self, after: int) -> None:
        """Have the mortal ones die when they have sent *after* more bytes, whatever they are answering then."""
        for mirror in self.all:
            if mirror.manners.mortal:
                mirror.left = after

    def switch(self, *, on: bool) -> None:
        """Switch all off, or all that did not die on again."""
        for mirror in self.all:
            self._command(partial(mirror.switch, on))

    def _command(self, verb: Callable[[], None]) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                trio.from_thread.run_sync(verb, trio_token=self._token)

    def _live(self) -> None:
        try:
            trio.run(self._run)
        except* OSError as group:
            error = UsageError(f"can't listen on {LOOPBACK}: {group.exceptions[0]}", ExitStatus.UNKNOWN)
            error.__cause__ = group
            self._up.put(error)

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            for mirror in self.all:
                await nursery.start(mirror.run)
            self._scope = nursery.cancel_scope
            self._up.put(trio.lowlevel.current_trio_token())
