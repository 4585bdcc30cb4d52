"""Loopback mirrors for tests that wait for a mount, which waits for them: a trio loop in a thread of its own.

Each mirror serves files below a folder of its own name, so that `mountdl why` names it; how it answers is a
`Manner`. What it sent is counted as it goes out.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, unquote

import trio

from tests.support.httpserver import Request, Server, Stream, answer, partial, serving

Files = Mapping[str, bytes]
T = TypeVar("T")

STEP = 64 << 10
"""Bytes of a body that are sent at once."""


class Died(Exception):
    """A mirror takes its connections and its port with it."""


@dataclass
class Mirror:
    """A mirror called *name*. *sent* counts the bytes of bodies, *asked* the requests, also over restarts."""

    name: str
    manner: Manner
    files: Files
    tls: ssl.SSLContext | None = None
    port: int = 0
    sent: int = 0
    asked: list[Request] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def url(self) -> str:
        """Where its folder is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/{self.name}"

    def of(self, file: str) -> str:
        """Return the URL of *file*."""
        return f"{self.url}/{quote(file)}"

    def file(self, request: Request) -> bytes | None:
        """Return the bytes that *request* names."""
        return self.files.get(unquote(request.path).removeprefix(f"/{self.name}/"))

    async def send(self, stream: Stream, body: bytes | memoryview, rate: float | None = None) -> None:
        """Send *body*, at most *rate* bytes a second."""
        for at in range(0, len(body), STEP):
            part = body[at : at + STEP]
            if rate is not None:
                await trio.sleep(len(part) / rate)
            await stream.send_all(part)
            self.sent += len(part)

    async def handle(self, request: Request, stream: Stream) -> bool:
        """Answer one request as its manner says."""
        self.asked.append(request)
        data = self.file(request)
        if data is None:
            await stream.send_all(answer("404 Not Found"))
            return True
        try:
            return await self.manner(self, data, request, stream)
        except Died:
            self.scope.cancel()
            return False


Manner = Callable[[Mirror, bytes, Request, Stream], Awaitable[bool]]
"""Answers one request for data; says whether the connection stays open."""


def span(request: Request, size: int) -> tuple[int, int]:
    """Return start and stop of the bytes that *request* wants."""
    if "range" not in request.headers:
        return 0, size
    first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
    return int(first), min(int(last) if last else size - 1, size - 1) + 1


def head(request: Request, size: int, *more: str) -> bytes:
    """Return the right head for *request*."""
    start, stop = span(request, size)
    if "range" not in request.headers:
        return answer("200 OK", *more, length=size)
    return answer("206 Partial Content", f"Content-Range: bytes {start}-{stop - 1}/{size}", *more, length=stop - start)


async def honest(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Do what it should."""
    return await paced(None)(mirror, data, request, stream)


def paced(rate: float | None, latency: float = 0.0) -> Manner:
    """Do what it should, *latency* seconds late, each connection at *rate* bytes a second."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        start, stop = span(request, len(data))
        await trio.sleep(latency)
        await stream.send_all(head(request, len(data)))
        if request.method != "HEAD":
            await mirror.send(stream, memoryview(data)[start:stop], rate)
        return True

    return manner


def corrupted(data: bytes, chunk: int, every: int = 10) -> bytes:
    """Return *data* with one byte flipped in each *every*-th chunk."""
    wrong = bytearray(data)
    for start in range((every - 1) * chunk, len(data), every * chunk):
        wrong[start + min(chunk, len(data) - start) // 2] ^= 0xFF
    return bytes(wrong)


def lying(chunk: int, every: int = 10, rate: float | None = None) -> Manner:
    """Flip a byte in each *every*-th chunk."""
    wrong: dict[int, bytes] = {}

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        bad = wrong.setdefault(id(data), corrupted(data, chunk, every))
        return await paced(rate)(mirror, bad, request, stream)

    return manner


def stalling(after: int) -> Manner:
    """Send *after* bytes in all and then nothing more, on any connection."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        start, stop = span(request, len(data))
        left = max(0, after - mirror.sent)
        if left:
            await stream.send_all(head(request, len(data)))
            await mirror.send(stream, memoryview(data)[start : min(stop, start + left)])
        if stop - start > left:
            await trio.sleep_forever()
        return True

    return manner


async def dripping(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Send 20 bytes a second."""
    start, stop = span(request, len(data))
    await stream.send_all(head(request, len(data)))
    for at in range(start, stop):
        await mirror.send(stream, data[at : at + 1])
        await trio.sleep(0.05)
    return True


def dying(after: int) -> Manner:
    """Be gone, port and all, in the middle of a body once *after* bytes were sent."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        start, stop = span(request, len(data))
        left = after - mirror.sent
        await stream.send_all(head(request, len(data)))
        await mirror.send(stream, memoryview(data)[start : min(stop, start + max(0, left))])
        if stop - start > left:
            raise Died
        return True

    return manner


async def deaf(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Answer 200 and the whole file to a range."""
    await stream.send_all(answer("200 OK", length=len(data)))
    await mirror.send(stream, data)
    return True


async def shifted(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Answer the wrong part, and say so in Content-Range."""
    start, stop = span(request, len(data))
    wrong = max(0, start - 1000)
    place = f"Content-Range: bytes {wrong}-{wrong + stop - start - 1}/{len(data)}"
    await stream.send_all(answer("206 Partial Content", place, length=stop - start))
    await mirror.send(stream, memoryview(data)[wrong : wrong + stop - start])
    return True


async def short(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
    """Promise all, send half of it and hang up."""
    start, stop = span(request, len(data))
    await stream.send_all(head(request, len(data)))
    await mirror.send(stream, memoryview(data)[start : (start + stop) // 2])
    return False


def refusing(status: str, *fields: str) -> Manner:
    """Answer *status* only."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        await stream.send_all(answer(status, *fields))
        return True

    return manner


def shrinking(to: int, after: int) -> Manner:
    """Be honest for *after* requests; from then on the file is only *to* bytes long."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        if len(mirror.asked) <= after:
            return await honest(mirror, data, request, stream)
        if span(request, len(data))[0] >= to:
            await stream.send_all(answer("416 Range Not Satisfiable", f"Content-Range: bytes */{to}"))
        else:
            await stream.send_all(partial(request, data[:to]))
        return True

    return manner


def changing(manners: list[Manner]) -> Manner:
    """Behave as the last of *manners* that was put into the list."""

    async def manner(mirror: Mirror, data: bytes, request: Request, stream: Stream) -> bool:
        return await manners[-1](mirror, data, request, stream)

    return manner


class Mirrors:
    """The loop and its thread; all mirrors end with the context."""

    def __init__(self) -> None:
        self._up: queue.SimpleQueue[trio.lowlevel.TrioToken] = queue.SimpleQueue()
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="mirrors", daemon=True)

    def __enter__(self) -> Mirrors:
        self._thread.start()
        self._token = self._up.get(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._nursery.cancel_scope.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._up.put(trio.lowlevel.current_trio_token())
            await trio.sleep_forever()

    def _call(self, verb: Callable[[], T]) -> T:
        return trio.from_thread.run_sync(verb, trio_token=self._token)

    def add(
        self, name: str, files: Files, manner: Manner = honest, *, tls: ssl.SSLContext | None = None, up: bool = True
    ) -> Mirror:
        """Make a mirror; unless *up* is false it serves when this returns."""
        mirror = Mirror(name, manner, files, tls)
        self.start(mirror)
        if not up:
            self.stop(mirror)
        return mirror

    def start(self, mirror: Mirror) -> None:
        """Let *mirror* serve, on the port it had."""
        trio.from_thread.run(self._nursery.start, self._serve, mirror, trio_token=self._token)

    def stop(self, mirror: Mirror) -> None:
        """Break all connections of *mirror* and close its port."""
        self._call(mirror.scope.cancel)
        trio.from_thread.run(trio.sleep, 0.02, trio_token=self._token)

    async def _serve(self, mirror: Mirror, *, task_status: trio.TaskStatus[Server]) -> None:
        mirror.scope = trio.CancelScope()
        with mirror.scope:
            async with serving(mirror.handle, mirror.tls, mirror.port) as server:
                mirror.port = server.port
                task_status.started(server)
                await trio.sleep_forever()
