"""FTP's two kinds of connections: a control connection that is told and asked, and data connections to read from.

Law: what came in the plain before TLS never counts as said within it (RFC 4217 section 15.1). A data connection
takes the TLS session of its control connection, because servers use that to tell that both are of one client
(vsftpd answers 522 otherwise, ProFTPD 425). Time-outs are the caller's.
"""

import os
import socket
import ssl
from contextlib import suppress

import trio

from mountdl.sources.ftp.wire import Reply, ReplyParser, command
from mountdl.sources.http.connection import Connection, Origin
from mountdl.sources.proxies import Proxy
from mountdl.sources.tunnel import Unconnected, connect, reason_of

_READ = 16384


class Broken(Exception):
    """A connection does not work; the text is a short phrase. Another one may."""


class NoTls(Broken):
    """What answered speaks no TLS."""


class Untrusted(Exception):
    """The server could not prove by its certificate who it is."""


async def dial(host: str, port: int, proxy: Proxy | None, patience: float) -> socket.socket:
    """Return a connected non-blocking socket within *patience* seconds. Raises Broken."""
    try:
        return await connect(host, port, proxy, patience=patience)
    except Unconnected as error:
        raise Broken(str(error)) from error


def begun(address: tuple[str | int, ...], port: int) -> socket.socket:
    """Return a non-blocking socket that connects to *port* of the host at *address*; `arrived` waits. Raises Broken."""
    connecting = socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        with suppress(BlockingIOError):
            connecting.connect((address[0], port, *address[2:]))
    except OSError as error:
        connecting.close()
        raise Broken(reason_of(error)) from error
    return connecting


async def arrived(connecting: socket.socket, patience: float) -> None:
    """Return once what `begun` made is connected, within *patience* seconds. Raises Broken; closes nothing."""
    with suppress(OSError):
        connecting.getpeername()  # nearby it is there already
        return
    with trio.move_on_after(patience):
        await trio.lowlevel.wait_writable(connecting)
        if number := connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise Broken(reason_of(OSError(number, os.strerror(number))))
        return
    raise Broken(f"no connection within {patience:g} s")


async def secured(
    plain: socket.socket, host: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Return *plain* with TLS on it, which goes on in *session* if given. Closes it when that fails.

    Raises Untrusted, or Broken: NoTls where TLS is not what came.
    """
    try:
        wrapped = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False, session=session)
    except (ValueError, OSError) as error:
        plain.close()
        raise Broken(f"TLS is not possible: {reason_of(error)}") from error
    try:
        await _handshake(wrapped)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        raise Untrusted(f"certificate is not trusted: {error.verify_message}") from error
    except OSError as error:
        wrapped.close()
        kind = NoTls if isinstance(error, ssl.SSLError) else Broken
        raise kind(f"TLS failed: {reason_of(error)}") from error
    except BaseException:
        wrapped.close()
        raise
    return wrapped


async def _handshake(wrapped: ssl.SSLSocket) -> None:
    while True:
        try:
            return wrapped.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(wrapped)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(wrapped)


def _address_of(connected: socket.socket) -> tuple[str | int, ...]:
    try:
        address: tuple[str | int, ...] = connected.getpeername()
    except OSError as error:
        raise Broken("connection reset") from error  # by a server that died with us in its queue
    return address


class Control:
    """A control connection to *host*. Data comes from *address*: behind *proxy*, which leads to it, that is None.

    Making one raises Broken when *connected* is reset already.
    """

    def __init__(self, host: str, connected: socket.socket, proxy: Proxy | None = None) -> None:
        self.host = host
        self.proxy = proxy
        self.address = _address_of(connected) if proxy is None else None
        self.ipv6 = connected.family == socket.AF_INET6 if proxy is None else ":" in host
        self._socket = connected
        self._parser = ReplyParser()
        self._wrap()

    def _wrap(self) -> None:
        self._connection = Connection(Origin("ftp", self.host, 0), self._socket)

    @property
    def secure(self) -> bool:
        """Whether it is within TLS."""
        return isinstance(self._socket, ssl.SSLSocket)

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session that data connections go on in."""
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    async def secure_by(self, context: ssl.SSLContext) -> None:
        """Go on within TLS. Raises Broken, also when something was said already that TLS does not protect."""
        if not self._parser.empty or self._heard():
            raise Broken("sends unprotected words into TLS")
        self._socket = await secured(self._socket, self.host, context)
        self._wrap()

    async def say(self, verb: str, argument: bytes | None = None) -> None:
        """Send one command. Raises Broken, WireError when it would be more than one."""
        await self.say_all(command(verb, argument))

    async def say_all(self, commands: bytes) -> None:
        """Send *commands*, made by `wire.command`, at once. Raises Broken."""
        try:
            await self._connection.send(commands)
        except OSError as error:
            raise Broken(reason_of(error)) from error

    async def hear(self) -> Reply:
        """Return the next reply. Raises Broken at the end, WireError for what is none."""
        while (reply := self.heard()) is None:
            await self._connection.wait()
        return reply

    def heard(self) -> Reply | None:
        """Return the next reply if it is here, else None. Raises like `hear`."""
        while (reply := self._parser.next_reply()) is None:
            if not self._heard():
                return None
        return reply

    def _heard(self) -> bool:
        """Take in what is there; say whether something was."""
        buffer = bytearray(_READ)
        try:
            count = self._connection.read_now(memoryview(buffer))
        except OSError as error:
            raise Broken(reason_of(error)) from error
        if count == 0:
            raise Broken("closed the connection")
        self._parser.feed(bytes(buffer[: count or 0]))
        return bool(count)

    async def ask(self, verb: str, argument: bytes | None = None) -> Reply:
        """Send one command and return the reply to it. Raises Broken, WireError."""
        await self.say(verb, argument)
        return await self.hear()

    def quiet(self) -> bool:
        """Say whether it is open and nothing unasked-for came."""
        return self._parser.empty and self._connection.quiet()

    def close(self) -> None:
        """Drop it at once."""
        self._connection.close()
