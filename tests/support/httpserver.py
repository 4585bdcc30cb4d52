"""A loopback HTTP server that misbehaves exactly as a test tells it to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.support.ports import free_port


@dataclass(frozen=True)
class Request:
    """A request as it came; header names in lower case, *number* counts all requests from 0."""

    method: str
    path: str
    headers: dict[str, str]
    number: int

    @property
    def span(self) -> tuple[int, int]:
        """First and last byte of the Range header."""
        first, _, last = self.headers["range"].removeprefix("bytes=").partition("-")
        return int(first), int(last)


Stream = trio.abc.Stream
Handler = Callable[[Request, Stream], Awaitable[bool]]
"""Answers one request; says whether the connection stays open."""


@dataclass
class Server:
    """A running server: where it is and what came."""

    url: str
    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


def answer(status: str, *headers: str, body: bytes = b"", length: int | None | str = "body") -> bytes:
    """Return a raw answer. Content-Length is the body's unless *length* gives another or None."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == 'body' else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def partial(request: Request, content: bytes, *headers: str, total: int | str | None = None) -> bytes:
    """Return the right 206 to *request* for *content*."""
    first, last = request.span
    last = min(last, len(content) - 1)
    told = len(content) if total is None else total
    return answer(
        "206 Partial Content", f"Content-Range: bytes {first}-{last}/{told}", *headers, body=content[first : last + 1]
    )


def saying(*answers: bytes, close: bool = False) -> Handler:
    """Return a handler that gives the answers in turn, the last one for ever; with *close* one a connection."""

    async def handle(request: Request, stream: Stream) -> bool:
        await stream.send_all(answers[min(request.number, len(answers) - 1)])
        return not close

    return handle


def computing(react: Callable[[Request], bytes], *, close: bool = False) -> Handler:
    """Return a handler that answers what *react* returns."""

    async def handle(request: Request, stream: Stream) -> bool:
        await stream.send_all(react(request))
        return not close

    return handle


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Server]:
    """Serve on *port* of 127.0.0.1, a free one for 0, until the block ends."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port or free_port(), host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        server = Server(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port)

        async def talk(plain: trio.SocketStream) -> None:
            server.connections += 1
            stream: Stream = (
                plain if tls is None else trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
            )
            try:
                await _converse(server, handler, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
                pass  # the client hung up, as some tests want
            finally:
                await plain.aclose()

        nursery.start_soon(trio.serve_listeners, talk, listeners)
        yield server
        nursery.cancel_scope.cancel()


async def _converse(server: Server, handler: Handler, stream: Stream) -> None:
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some(65536)
            if not more:
                return
            data += bytes(more)
        head, _, data = data.partition(b"\r\n\r\n")
        request = _parsed(head.decode("latin-1"), len(server.requests))
        server.requests.append(request)
        if not await handler(request, stream):
            return


def _parsed(head: str, number: int) -> Request:
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, path, {name.lower(): value.strip() for name, _, value in pairs}, number)
