"""Connections: dialled with a race of addresses, plain or TLS, read without ever blocking the loop.

Law: reading is a plain call that takes what is there; only when nothing is does anybody wait. (Measured:
`recv_into` on a non-blocking socket with a wait only on EAGAIN takes 0.75 of the CPU of a trio socket.)
A TLS connection is read record by record until it has no more, because each wake-up costs more than a record.
"""

import errno
import os
import socket
import ssl
from typing import NamedTuple

import httpx
import trio

from mountdl.sources.http.patience import Patience


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


async def dial(origin: Origin, patience: Patience, context: ssl.SSLContext | None) -> Connection:
    """Connect to *origin*, by TLS if *context* is given. Raises httpx.TransportError with a short reason."""
    with trio.move_on_after(patience.connect) as scope:
        try:
            # Happy eyeballs (RFC 8305), TCP_NODELAY; SO_RCVBUF is left to the kernel's tuning.
            stream = await trio.open_tcp_stream(origin.host, origin.port)
        except (OSError, ValueError) as error:
            raise httpx.ConnectError(reason_of(error)) from error
    if scope.cancelled_caught:
        raise httpx.ConnectTimeout(f"no connection within {patience.connect:g} s")
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)  # the object of a detached descriptor starts as a blocking one
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


def reason_of(error: BaseException) -> str:
    """Say in a few words what went wrong on a socket."""
    cause = error
    # trio wraps what each address answered; the first one is as good as any.
    while not isinstance(cause, ssl.SSLError) and getattr(cause, "errno", None) is None:
        inner = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
        if inner is None:
            break
        cause = inner
    if isinstance(cause, socket.gaierror):
        return "name not resolved"
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "connection closed").lower().replace("_", " ")
    number = cause.errno if isinstance(cause, OSError) else None
    known = {
        errno.ECONNREFUSED: "connection refused",
        errno.ECONNRESET: "connection reset",
        errno.EPIPE: "connection reset",
    }
    if number is None:
        return "not an address that can be connected to"
    return known.get(number) or os.strerror(number).lower()
