"""One login on one FTP server: what it can do, what it says of files, and the one transfer it carries at a time.

Law: a transfer ends by closing its data connection and asking NOOP, never by ABOR: vsftpd answers that only after
it has sent the whole rest. With NOOP goes the EPSV of the next transfer, so that both are answered by the time they
are needed; a data connection is begun together with the order to send. A port is all that is taken from the answers
to EPSV and PASV; the address is the one that the control connection leads to. Every wait here is bounded.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from mountdl.extents import Extent
from mountdl.sources.credentials import Login as Credential
from mountdl.sources.ftp.address import Login
from mountdl.sources.ftp.channel import Broken, Control, arrived, begun, dial, secured
from mountdl.sources.ftp.wire import (
    Reply,
    command,
    extended_port,
    features_of,
    modified_of,
    passive_port,
    size_of,
)
from mountdl.sources.http.connection import Connection, Origin
from mountdl.sources.http.patience import Patience
from mountdl.sources.proxies import Proxy

_NOT_KNOWN = {500, 501, 502, 503, 504, 522}
_DEMANDS_TLS = {522, 530, 533, 534, 550}
_VERDICTS = {225, 226, 250, 426, 451}
_MOST_LATE = 6
"""Replies that may come up to those to NOOP and EPSV: what became of the transfer, said once or twice, perhaps late."""

_PORT_KEPT = 10.0
"""Seconds that a port asked for ahead is believed to be open."""


class Refused(Exception):
    """The server will not do it; the text is a short phrase."""


class Crowded(Exception):
    """The server has too many connections."""


class _TooEarly(Broken):
    """The server wants the data connection to be there before it is told to send."""


class DemandsTls(Refused):
    """The server admits nobody on a connection without TLS."""


class NoRest(Exception):
    """The server begins at the first byte only."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every session needs: *context* makes the TLS context when it is first needed, *proxy* leads to a host.

    *login* says who we are at a URL.
    """

    context: Callable[[], ssl.SSLContext]
    patience: Patience
    proxy: Callable[[str, str, int], Proxy | None]
    login: Callable[[str], Credential | None]


@dataclass(slots=True)
class Transfer:
    """A data connection on which *path* comes; *offset* is the file's next byte. *stop* where RANG ends it.

    *secure*: within TLS.
    """

    path: bytes
    offset: int
    stop: int | None
    connection: Connection
    secure: bool = False


@asynccontextmanager
async def bounded(seconds: float, doing: str) -> AsyncIterator[None]:
    """Raise Broken when the body takes more than *seconds*."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise Broken(f"no {doing} within {seconds:g} s")


class Session:
    """A session that is logged in, in binary; one task uses it at a time."""

    def __init__(self, control: Control, means: Means) -> None:
        self._control = control
        self._means = means
        self._features: frozenset[str] = frozenset()
        self._extended = True
        self._reached = False  # a port that EPSV named was connected to
        self._ahead = True  # orders may be given before the data connection is there
        self._owed = False
        self._ending = False
        self._pipelined = False  # EPSV was said with NOOP
        self._unheard = False  # what became of the last transfer may still be said
        self._port: tuple[int, float] | None = None
        self.transfer: Transfer | None = None
        self.seen: set[bytes] = set()
        self.idle_since = 0.0

    @property
    def ranged(self) -> bool:
        """Whether it can be told where a transfer ends."""
        return "RANG" in self._features

    async def begin(self, login: Login) -> None:
        """Log in and agree on binary. Raises Refused, Crowded, Broken, WireError."""
        reply = await self._ask("USER", login.user)
        if reply.code in _DEMANDS_TLS and not reply.crowded and not self._control.secure:
            raise DemandsTls("admits nobody without TLS")
        if reply.code == 331:
            reply = await self._ask("PASS", login.password)
        if reply.crowded:
            raise Crowded(f"too many connections: {reply.code} {reply.text}")
        if reply.code == 332:
            raise Refused("asks for an account besides user and password")
        if reply.code // 100 != 2:
            # What a server says of a login may repeat it.
            text = reply.text if login.user == b"anonymous" else ""
            raise Refused(f"login is refused: {reply.code} {text}".rstrip())
        if self._control.secure:
            await self._ask("PBSZ", b"0")
            if (private := await self._ask("PROT", b"P")).code != 200:
                raise Refused(f"does not protect its data: {private.code} {private.text}")
        if (binary := await self._ask("TYPE", b"I")).code // 100 != 2:
            raise Refused(f"does not send files as they are: {binary.code} {binary.text}")
        self._features = features_of(await self._ask("FEAT"))

    async def describe(self, path: bytes) -> tuple[int | None, str | None, str]:
        """Return size and time stamp of *path*, None where it does not tell, and what it answered to the former.

        Raises like `retrieve`.
        """
        await self.settle()
        await self._say(command("SIZE", path) + command("MDTM", path))
        size, modified = await self._hear(), await self._hear()
        return size_of(size), modified_of(modified), f"{size.code} {size.text}"

    async def retrieve(self, path: bytes, extent: Extent, *, bounded_by_server: bool) -> Transfer:
        """Begin to read *path* at *extent*; with *bounded_by_server* just that much, where it can be told so.

        Raises NoRest, Refused, Crowded, Broken, WireError.
        """
        await self.settle()
        stop = extent.stop if bounded_by_server and self.ranged else None
        try:
            data = await self._ordered(path, extent, stop)
        except _TooEarly:
            self._ahead = False
            data = await self._ordered(path, extent, stop)
        self._owed = True
        if self._control.secure:
            data = await self._secured(data)
        connection = Connection(Origin("ftp", self._control.host, 0), data)
        self.transfer = Transfer(path, extent.start, stop, connection, self._control.secure)
        return self.transfer

    async def _secured(self, data: socket.socket) -> socket.socket:
        try:
            async with bounded(self._means.patience.connect, "TLS for data"):
                host, session = self._control.host, self._control.session
                return await secured(data, host, self._means.context(), session)
        except BaseException:
            data.close()
            raise
        raise AssertionError  # bounded raised

    async def _ordered(self, path: bytes, extent: Extent, stop: int | None) -> socket.socket:
        """Return a data connection on which the server begins to send."""
        ahead = self._ahead and self._reached and self._control.address is not None
        data = begun(self._control.address or (), await self._extended_port()) if ahead else await self._data_socket()
        try:
            await self._order(path, extent, stop)
            if ahead:
                await arrived(data, self._means.patience.connect)
            await self._accepted(extent.start > 0 or stop is not None, ahead=ahead)
        except BaseException:
            data.close()
            raise
        return data

    async def _order(self, path: bytes, extent: Extent, stop: int | None) -> None:
        if stop is not None:
            where = command("RANG", b"%d %d" % (extent.start, stop - 1))
        else:
            where = command("REST", b"%d" % extent.start) if extent.start else b""
        await self._say(where + command("RETR", path))

    async def _accepted(self, placed: bool, *, ahead: bool) -> None:
        """Hear what is answered to RETR, and, if it was *placed*, to the REST or RANG before it."""
        heard = await self._hear_next() if placed else None
        started = await self._hear() if placed else await self._hear_next()
        if heard is not None and heard.code != 350:
            self._owed = self._owed or started.preliminary  # it begins to send what nobody asked for
            raise NoRest("sends whole files only")
        if ahead and started.code == 425:
            raise _TooEarly(f"answered {started.code} {started.text}")
        self._judge(started)

    async def _hear_next(self) -> Reply:
        """Return the next reply that is not about the transfer before."""
        reply = await self._hear()
        if self._unheard and reply.code in _VERDICTS:
            reply = await self._hear()
        self._unheard = False
        return reply

    def _judge(self, reply: Reply) -> None:
        if reply.preliminary:
            return
        if reply.crowded:
            raise Crowded(f"too many connections: {reply.code} {reply.text}")
        phrase = f"answered {reply.code} {reply.text}"
        if reply.code == 522 or reply.code // 100 == 4:
            raise Broken(phrase)
        raise Refused(phrase)

    async def settle(self) -> None:
        """End what is being transferred, and hear what the server has to say of it. Raises Broken, WireError."""
        await self.wind_up()
        if not self._owed:
            return
        self._unheard, awake, asked = True, False, self._pipelined
        for _ in range(_MOST_LATE):
            reply = await self._hear()
            if reply.code == 229 and asked:
                self._port, asked = (extended_port(reply), trio.current_time()), False
            elif reply.code == 200:
                awake = True
            elif awake and not self._unheard:
                asked = False  # EPSV is refused now: it will be asked again
            else:
                self._unheard = False
            if awake and not asked:
                self._owed = self._ending = False
                return
        raise Broken("does not come to an end")

    async def wind_up(self) -> None:
        """End what is being transferred; `settle` hears later what the server has to say of it. Raises Broken."""
        self.stop()
        if self._owed and not self._ending:
            self._ending = True
            self._pipelined = self._reached and self._extended
            await self._say(command("NOOP") + (command("EPSV") if self._pipelined else b""))

    def stop(self) -> None:
        """Close the data connection, if there is one; `settle` hears what that brings."""
        if self.transfer is not None:
            self.transfer.connection.close()
            self.transfer = None

    async def verdict(self) -> Reply:
        """Return what the server says at the end of a data connection. Raises Crowded, Broken, WireError."""
        self.stop()
        reply = await self._hear()
        self._owed = False
        if reply.crowded:
            raise Crowded(f"too many connections: {reply.code} {reply.text}")
        return reply

    def alive(self) -> bool:
        """Say whether it may be used again."""
        return self.transfer is not None or self._owed or self._control.quiet()

    def close(self) -> None:
        """Drop it at once."""
        self.stop()
        self._control.close()

    async def _data_socket(self) -> socket.socket:
        """Return a connection to the port that EPSV names, or PASV where that is not known or leads nowhere."""
        if self._extended:
            reply = await self._ask("EPSV")
            if reply.code == 229:
                try:
                    data = await self._dial(extended_port(reply))
                    self._reached = True
                    return data
                except Broken:
                    if self._control.ipv6:
                        raise
            else:
                self._judge_passive(reply)
            self._extended = False
        if self._control.ipv6:
            raise Refused("has no EPSV, without which there is no FTP over IPv6")
        reply = await self._ask("PASV")
        if reply.code != 227:
            raise Broken(f"opens no port for data: {reply.code} {reply.text}")
        return await self._dial(passive_port(reply))

    async def _extended_port(self) -> int:
        """Return a port that EPSV names, where that has worked before: perhaps one that was asked for ahead."""
        known, self._port = self._port, None
        if known is not None and trio.current_time() - known[1] < _PORT_KEPT:
            return known[0]
        reply = await self._ask("EPSV")
        if reply.code != 229:
            self._judge_passive(reply)
            raise Broken(f"opens no port for data: {reply.code} {reply.text}")
        return extended_port(reply)

    def _judge_passive(self, reply: Reply) -> None:
        if reply.crowded:
            raise Crowded(f"too many connections: {reply.code} {reply.text}")
        if reply.code not in _NOT_KNOWN:
            raise Broken(f"opens no port for data: {reply.code} {reply.text}")

    async def _dial(self, port: int) -> socket.socket:
        control, patience = self._control, self._means.patience.connect
        if control.address is None:
            return await dial(control.host, port, control.proxy, patience)
        data = begun(control.address, port)
        try:
            await arrived(data, patience)
        except BaseException:
            data.close()
            raise
        return data

    async def _ask(self, verb: str, argument: bytes | None = None) -> Reply:
        await self._say(command(verb, argument))
        return await self._hear_next()

    async def _say(self, commands: bytes) -> None:
        with trio.move_on_after(self._means.patience.head):
            return await self._control.say_all(commands)
        raise Broken(self._silence)

    async def _hear(self) -> Reply:
        reply = self._control.heard()
        if reply is not None:
            return reply
        with trio.move_on_after(self._means.patience.head):
            return await self._control.hear()
        raise Broken(self._silence)

    @property
    def _silence(self) -> str:
        return f"no answer within {self._means.patience.head:g} s"
