"""Connect to a host: directly by the first address that answers, or through a proxy.

Law: what comes back is a connected, non-blocking socket on which not a byte of the other side was lost, or
`Unconnected` with a short reason; a proxy's login is said to the proxy only. Knows no protocol beyond it.
"""

import errno
import ipaddress
import os
import re
import socket
import ssl
import struct
from contextlib import suppress

import trio

from mountdl.sources.proxies import Proxy, password_wanted

_LONGEST_ANSWER = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r|\n)")
_ASKED = re.compile(rb"\r\nProxy-Authenticate:[ \t]*([^\r\n]*)", re.IGNORECASE)
# RFC 1928 section 6.
_SOCKS_REPLIES = {
    1: "the proxy failed",
    2: "the proxy does not allow this",
    3: "network unreachable",
    4: "no route to host",
    5: "connection refused",
    6: "the proxy timed out",
}
_NEVER = {2}


class Unconnected(Exception):
    """There is no connection; its text is a short reason. *final*: asking again will not help."""

    def __init__(self, reason: str, *, final: bool = False, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.final = final
        self.timed_out = timed_out


async def connect(host: str, port: int, proxy: Proxy | None = None, *, patience: float = 15.0) -> socket.socket:
    """Return a connected non-blocking socket to *host*:*port* within *patience* seconds. Raises Unconnected.

    Addresses are tried side by side (RFC 8305), so that a dead family costs a quarter of a second.
    """
    with trio.move_on_after(patience):
        if proxy is None:
            return await _dialled(host, port)
        try:
            connected = await _dialled(proxy.host, proxy.port)
        except Unconnected as error:
            raise Unconnected(f"the proxy can't be reached: {error}") from error
        try:
            await (_asked_http if proxy.kind == "http" else _asked_socks)(connected, host, port, proxy)
        except BaseException:
            connected.close()
            raise
        return connected
    by = " by way of the proxy" if proxy is not None else ""
    raise Unconnected(f"no connection within {patience:g} s{by}", timed_out=True)


async def _dialled(host: str, port: int) -> socket.socket:
    try:
        # SO_RCVBUF is left to the kernel's tuning; TCP_NODELAY is set by trio.
        stream = await trio.open_tcp_stream(host, port)
    except (OSError, ValueError) as error:
        raise Unconnected(reason_of(error)) from error
    connected = socket.socket(fileno=stream.socket.detach())
    connected.setblocking(False)  # the object of a detached descriptor starts as a blocking one
    return connected


async def _asked_http(connected: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Have the HTTP proxy at *connected* connect us (RFC 9110 section 9.3.6)."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    authorisation = basic(proxy)
    if authorisation is not None:
        lines.append(f"Proxy-Authorization: {authorisation}")
    await _send(connected, "\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
    head = await _head(connected)
    found = _STATUS.match(head)
    if found is None:
        raise Unconnected("what the proxy answered is not HTTP")
    status = int(found[1])
    if status in {401, 407}:  # tinyproxy says the former
        asked = b", ".join(_ASKED.findall(head)).decode("latin-1")
        raise Unconnected(password_wanted(asked, status, said=authorisation is not None), final=True)
    if not 200 <= status < 300:
        raise Unconnected(f"the proxy answered {status}", final=status in {403, 405})


def basic(proxy: Proxy) -> str | None:
    """Return the value of Proxy-Authorization for *proxy*, None when it has no login."""
    return None if proxy.login is None else proxy.login.basic


async def _head(connected: socket.socket) -> bytes:
    """Read up to the blank line and not a byte further: what follows is the other side's."""
    head = bytearray()
    while True:
        await trio.lowlevel.wait_readable(connected)
        seen = _received(connected, 4096, socket.MSG_PEEK)
        if seen is None:
            continue
        if not seen:
            raise Unconnected("the proxy closed the connection")
        known = len(head)
        end = (head + seen).find(b"\r\n\r\n", max(0, known - 3))
        take = len(seen) if end < 0 else end + 4 - known
        head += _received(connected, take, 0) or b""
        if end >= 0:
            return bytes(head)
        if len(head) > _LONGEST_ANSWER:
            raise Unconnected("the proxy's answer has no end")


async def _asked_socks(connected: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Have the SOCKS5 proxy at *connected* connect us (RFC 1928); it resolves the name."""
    methods = b"\x00\x02" if proxy.login is not None else b"\x00"
    await _send(connected, b"\x05" + bytes([len(methods)]) + methods)
    version, method = await _exactly(connected, 2)
    if version != 5:
        raise Unconnected("what the proxy answered is not SOCKS5", final=True)
    if method == 2 and proxy.login is not None:
        await _logged_in(connected, proxy)
    elif method != 0:
        raise Unconnected("the proxy wants a user name and a password", final=True)
    await _send(connected, b"\x05\x01\x00" + _address(host) + struct.pack(">H", port))
    _, reply, _, kind = await _exactly(connected, 4)
    if reply != 0:
        raise Unconnected(_SOCKS_REPLIES.get(reply, f"the proxy answered {reply}"), final=reply in _NEVER)
    # Its own end of the connection, which is of no use: RFC 1928 section 6.
    length = {1: 4, 4: 16}.get(kind) or (await _exactly(connected, 1))[0]
    await _exactly(connected, length + 2)


async def _logged_in(connected: socket.socket, proxy: Proxy) -> None:
    """Say who we are (RFC 1929)."""
    login = proxy.login
    user, password = (login.user.encode(), login.password.encode()) if login is not None else (b"", b"")
    if not (0 < len(user) < 256 and len(password) < 256):
        raise Unconnected("the proxy's user name or password is too long", final=True)
    await _send(connected, b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
    if (await _exactly(connected, 2))[1] != 0:
        raise Unconnected("the proxy refused the user name and password", final=True)


def _address(host: str) -> bytes:
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return (b"\x01" if address.version == 4 else b"\x04") + address.packed
    name = host.encode("ascii", "replace")
    if not 0 < len(name) < 256:
        raise Unconnected("not an address that can be connected to", final=True)
    return b"\x03" + bytes([len(name)]) + name


async def _send(connected: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[connected.send(view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(connected)
        except OSError as error:
            raise Unconnected(f"the proxy: {reason_of(error)}") from error


async def _exactly(connected: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        await trio.lowlevel.wait_readable(connected)
        more = _received(connected, count - len(data), 0)
        if more is None:
            continue
        if not more:
            raise Unconnected("the proxy closed the connection")
        data += more
    return data


def _received(connected: socket.socket, most: int, flags: int) -> bytes | None:
    try:
        return connected.recv(most, flags)
    except BlockingIOError:
        return None
    except OSError as error:
        raise Unconnected(f"the proxy: {reason_of(error)}") from error


UNRESOLVED = "name not resolved"


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
        return UNRESOLVED
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
