"""Connections: dialled with a race of addresses, plain or TLS, read without ever blocking the loop.

Law: reading is a plain call that takes what is there; only when nothing is does anybody wait. (Measured:
`recv_into` on a non-blocking socket with a wait only on EAGAIN takes 0.75 of the CPU of a trio socket.)
A TLS connection is read record by record until it has no more, because each wake-up costs more than a record.
"""

import socket
import ssl
from typing import NamedTuple

import httpx
import trio

from mountdl.sources.http.patience import Patience
from mountdl.sources.proxies import Proxy
from mountdl.sources.tunnel import Unconnected, connect, reason_of


class Origin(NamedTuple):
    """Where a connection leads. *host* is ASCII without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Untrusted(httpx.ConnectError):
    """The server could not prove by its certificate who it is."""


class Connection:
    """A connected non-blocking socket to *origin*; *idle_since* is set while a pool holds it."""

    __slots__ = ("_socket", "_wants_write", "idle_since", "origin", "used")

    def __init__(self, origin: Origin, connected: socket.socket) -> None:
        self.origin = origin
        self.used = False
        self.idle_since = 0.0
        self._socket = connected
        self._wants_write = False

    def read_now(self, view: memoryview) -> int | None:
        """Read what is there into *view*: the count, 0 at the end, None when nothing is there yet.

        Raises OSError, of which ssl.SSLError is a kind.
        """
        try:
            return self._socket.recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return None

    def fill_now(self, view: memoryview) -> int | None:
        """Like `read_now`, but go on until *view* is full or nothing more is there."""
        filled = self.read_now(view)
        if not filled:
            return filled
        while filled < len(view):
            try:
                count = self.read_now(view[filled:])
            except OSError:
                break  # what came before a reset is good; the next call meets the end of the connection
            if not count:
                break
            filled += count
        return filled

    async def wait(self) -> None:
        """Return when reading again may bring something."""
        if self._wants_write:
            self._wants_write = False
            await trio.lowlevel.wait_writable(self._socket)
        else:
            await trio.lowlevel.wait_readable(self._socket)

    async def send(self, data: bytes) -> None:
        """Send all of *data*. Raises OSError."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self._socket)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._socket)

    def quiet(self) -> bool:
        """Say whether it is open and nothing unasked-for came: it may carry another request."""
        try:
            return self.read_now(memoryview(bytearray(1))) is None
        except OSError:
            return False

    def close(self) -> None:
        """Drop it at once: no farewell of TLS, which would have to be waited for."""
        self._socket.close()


async def dial(
    origin: Origin, patience: Patience, context: ssl.SSLContext | None, proxy: Proxy | None = None
) -> Connection:
    """Connect to *origin*, by TLS if *context* is given, by way of *proxy* if that is. Raises httpx.TransportError.

    An HTTP proxy is told the whole URL of each plain request, so the connection to it is all there is to do.
    """
    host, port, tunnel = origin.host, origin.port, proxy
    if proxy is not None and forwards(proxy, origin):
        host, port, tunnel = proxy.host, proxy.port, None
    try:
        connected = await connect(host, port, tunnel, patience=patience.connect)
    except Unconnected as error:
        kind = httpx.ProxyError if error.final else httpx.ConnectTimeout if error.timed_out else httpx.ConnectError
        by = "the proxy can't be reached: " if host != origin.host or port != origin.port else ""
        raise kind(f"{by}{error}") from error
    if context is None:
        return Connection(origin, connected)
    try:
        return Connection(origin, await _secured(connected, origin, patience, context))
    except BaseException:
        connected.close()
        raise


async def _secured(plain: socket.socket, origin: Origin, patience: Patience, context: ssl.SSLContext) -> ssl.SSLSocket:
    with trio.move_on_after(patience.connect):
        try:
            secured = context.wrap_socket(plain, server_hostname=origin.host, do_handshake_on_connect=False)
        except (ValueError, OSError) as error:
            raise httpx.ConnectError(f"TLS is not possible: {reason_of(error)}") from error
        try:
            await _handshake(secured)
            return secured
        except ssl.SSLCertVerificationError as error:
            secured.close()
            raise Untrusted(f"certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            secured.close()
            raise httpx.ConnectError(f"TLS failed: {reason_of(error)}") from error
        except BaseException:
            secured.close()
            raise
    raise httpx.ConnectTimeout(f"no TLS within {patience.connect:g} s")


async def _handshake(secured: ssl.SSLSocket) -> None:
    while True:
        try:
            return secured.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secured)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secured)


def forwards(proxy: Proxy, origin: Origin) -> bool:
    """Say whether *proxy* asks *origin* itself (RFC 9112 section 3.2.2) and makes no tunnel."""
    return proxy.kind == "http" and origin.scheme == "http"
