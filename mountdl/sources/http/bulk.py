"""The transport for bulk bodies: HTTP/1.1, GET and HEAD, under httpx or without it.

Law: h11 parses the head, the body never passes a parser when its length is known; every phase has a
deadline; a connection comes back to the pool only after a whole answer. Knows no httpx client, no store,
no redirect; which proxy leads where it is told. (Measured: four times httpx's own transport, plain and TLS.)
"""

import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

import httpx
import trio

from mountdl.sources.http.body import Closed, PlainBody, Reader, body_of
from mountdl.sources.http.connection import Connection, Origin, dial, forwards
from mountdl.sources.http.heads import BadHead, Dialogue, Head, Headers
from mountdl.sources.http.patience import Patience
from mountdl.sources.http.pool import Buffers, Pool
from mountdl.sources.proxies import Proxy
from mountdl.sources.tunnel import basic

BODY = "mountdl.body"
"""Key in `httpx.Response.extensions` under which the body's fast way out is found, see `body.Body`."""
ANSWERED = "mountdl.answered"
"""Key in `httpx.Request.extensions` of the answer that it had already, which httpx is to look at."""

_MOST_WARM = 8
_MOST_INTERIM = 20
_SWEEP_SECONDS = 5.0
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """A final head and the body that follows; whoever gets it closes the body."""

    head: Head
    body: PlainBody


class _Warming:
    """A connection being dialled ahead; *claimed* once somebody waits for it."""

    __slots__ = ("claimed", "ended")

    def __init__(self) -> None:
        self.claimed = False
        self.ended = trio.Event()


class BulkTransport(httpx.AsyncBaseTransport):
    """Pooled connections to any origin. *context* is asked for the TLS context when it is first needed.

    Patience comes from *patience*, not from the request's extensions. `run` keeps the pool tidy; without it
    everything works but `warm`.
    """

    def __init__(
        self,
        patience: Patience,
        context: Callable[[], ssl.SSLContext],
        pool: Pool | None = None,
        proxy: Callable[[Origin], Proxy | None] = lambda _: None,
    ) -> None:
        self._patience = patience
        self._context = context
        self._proxy = proxy
        self._pool = pool if pool is not None else Pool()
        self._buffers = Buffers()
        self._warming: dict[Origin, _Warming] = {}
        self._nursery: trio.Nursery | None = None
        self.connects = 0

    async def exchange(self, origin: Origin, method: bytes, target: bytes, headers: Headers) -> Answer:
        """Ask and return the answer once its head is here. Raises httpx.TransportError with a short reason.

        A kept connection that turns out to be closed is replaced once, when not a byte of an answer came.
        """
        proxy = self._proxy(origin)
        if proxy is not None and forwards(proxy, origin):
            target, headers = _forwarded(proxy, origin, target, headers)
        try:
            dialogue = Dialogue(method, target, headers)
        except BadHead as error:
            raise httpx.LocalProtocolError(str(error)) from error
        kept = await self._kept(origin)
        if kept is not None:
            try:
                return await self._converse(kept, dialogue)
            except Closed as closed:
                if not closed.clean:
                    raise httpx.RemoteProtocolError(str(closed)) from closed
        try:
            return await self._converse(await self._dial(origin), dialogue)
        except Closed as closed:
            raise httpx.RemoteProtocolError(str(closed)) from closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve httpx. Requests that carry a body are not for this transport."""
        if (answered := request.extensions.pop(ANSWERED, None)) is not None:
            return cast("httpx.Response", answered)
        if request.method not in {"GET", "HEAD"}:
            raise httpx.UnsupportedProtocol(f"no {request.method} here", request=request)
        url = request.url
        answer = await self.exchange(origin_of(url), request.method.encode(), url.raw_path, request.headers.raw)
        return httpx.Response(
            status_code=answer.head.status,
            headers=list(answer.head.headers),
            stream=_Stream(answer.body),
            extensions={BODY: answer.body, "http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        """Close every idle connection."""
        self._pool.close()

    def keep(self, connection: Connection) -> None:
        """Have the next request to its origin go over *connection*."""
        self._pool.give(connection, trio.current_time())

    def warm(self, origin: Origin) -> None:
        """Open one connection to *origin* ahead, unless there is one or enough are. Returns at once, never fails."""
        if self._nursery is None or origin in self._warming or self._pool.has(origin):
            return
        if len(self._warming) + self._pool.unused() >= _MOST_WARM:
            return
        self._warming[origin] = warming = _Warming()
        self._nursery.start_soon(self._warm, origin, warming)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Close idle connections in time and dial warm ones, until cancelled; close all then."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                while True:
                    await trio.sleep(_SWEEP_SECONDS)
                    self._pool.sweep(trio.current_time())
        finally:
            self._nursery = None
            self._pool.close()

    async def _warm(self, origin: Origin, warming: _Warming) -> None:
        try:
            self._pool.give(await self._dial(origin), trio.current_time())
        except httpx.TransportError:
            pass  # the first request will meet the same and say it
        finally:
            del self._warming[origin]
            warming.ended.set()

    async def _kept(self, origin: Origin) -> Connection | None:
        connection = self._pool.take(origin, trio.current_time())
        warming = self._warming.get(origin)
        if connection is None and warming is not None and not warming.claimed:
            warming.claimed = True
            await warming.ended.wait()
            connection = self._pool.take(origin, trio.current_time())
        return connection

    async def _dial(self, origin: Origin) -> Connection:
        self.connects += 1
        context = self._context() if origin.scheme == "https" else None
        return await dial(origin, self._patience, context, self._proxy(origin))

    async def _converse(self, connection: Connection, dialogue: Dialogue) -> Answer:
        connection.used = True
        buffer: bytearray | None = None

        def done(sound: bool) -> None:
            if buffer is not None:
                self._buffers.give(buffer)
            if sound:
                self._pool.give(connection, trio.current_time())
            else:
                connection.close()

        try:
            with trio.move_on_after(self._patience.head):
                await _send(connection, dialogue)
                buffer = self._buffers.take()  # a fresh one takes 0.2 ms, in which the server can be at it
                reader = Reader(connection, buffer, self._patience)
                head = await _head(reader, dialogue)
                return Answer(head, body_of(head, dialogue, reader, lambda sound: done(sound and head.reusable)))
            raise httpx.ReadTimeout(f"no answer within {self._patience.head:g} s")
        except BadHead as error:
            done(False)
            raise httpx.RemoteProtocolError(str(error)) from error
        except BaseException:
            done(False)
            raise


def _forwarded(proxy: Proxy, origin: Origin, target: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """Return a request as *proxy* wants it: the whole URL (RFC 9112 section 3.2.2), and who we are."""
    authorisation = basic(proxy)
    own = [] if authorisation is None else [(b"Proxy-Authorization", authorisation.encode())]
    return f"http://{origin}".encode() + target, [*headers, *own]


async def _send(connection: Connection, dialogue: Dialogue) -> None:
    try:
        await connection.send(dialogue.outgoing)
    except OSError as error:
        raise Closed("closed the connection before the request", clean=True) from error


async def _head(reader: Reader, dialogue: Dialogue) -> Head:
    for _ in range(_MOST_INTERIM):
        head = dialogue.head(await reader.head())
        if head is not None:
            return head
    raise BadHead("it sends interim answers without end")


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: PlainBody) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while view := await self._body.more():
            yield bytes(view)

    async def aclose(self) -> None:
        self._body.close()


def origin_of(url: httpx.URL) -> Origin:
    """Return where *url* leads. Raises httpx.UnsupportedProtocol for anything but http and https with a real host."""
    port = url.port or _DEFAULT_PORTS.get(url.scheme)
    host = url.raw_host.decode("latin-1")
    # httpx lets percent signs and longer ports through; no resolver need ever see those.
    if port is None or port > 65535 or url.scheme not in _DEFAULT_PORTS or _HOST.fullmatch(host) is None:
        raise httpx.UnsupportedProtocol("not an http address")
    return Origin(url.scheme, host, port)
