"""HTTP/1.1 heads, by h11: a request to bytes, bytes to a response head and how its body is framed.

Law: h11 judges every head (RFC 9112); bodies of known length never pass through it. No I/O here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import h11

LONGEST_HEAD = 1 << 16
"""Bytes of one answer's heads, interim ones included; nginx and Apache themselves accept 8-32 KiB."""

# RFC 9112 section 2.2: a bare LF may end a line.
_BLANK_LINE = re.compile(rb"\n\r?\n")

Headers = Sequence[tuple[bytes, bytes]]


class BadHead(Exception):
    """Bytes that are no HTTP/1.1 head; its text says why in a few words."""


@dataclass(frozen=True, slots=True)
class Head:
    """A final response head. *length* is the body's where Content-Length alone frames it, else None.

    *reusable*: the server keeps the connection after the body.
    """

    status: int
    headers: Headers
    length: int | None
    reusable: bool


class Dialogue:
    """One request and its answer on one connection, as far as h11 is concerned."""

    __slots__ = ("_is_head", "_machine", "outgoing")

    def __init__(self, method: bytes, target: bytes, headers: Headers) -> None:
        self._machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._is_head = method == b"HEAD"
        try:
            request = h11.Request(method=method, target=target, headers=list(headers))
            self.outgoing = self._machine.send(request) or b""
            self._machine.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise BadHead("the request can't be written") from error

    def head(self, data: bytes) -> Head | None:
        """Take the bytes of one head, blank line included; None when it is an interim one (1xx)."""
        try:
            self._machine.receive_data(data)
            event = self._machine.next_event()
        except h11.RemoteProtocolError as error:
            raise BadHead("what it sent is not HTTP") from error
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            return None
        if not isinstance(event, h11.Response):
            raise BadHead("what it sent is not an answer")
        return self._framed(event)

    def _framed(self, event: h11.Response) -> Head:
        headers = list(event.headers)
        names = dict(headers)
        length: int | None = None
        if self._is_head or event.status_code in {204, 304}:
            length = 0
        elif b"transfer-encoding" not in names and b"content-length" in names:
            length = int(names[b"content-length"])
        keep = event.http_version >= b"1.1" and b"close" not in names.get(b"connection", b"").lower()
        framed = length is not None or b"transfer-encoding" in names
        return Head(event.status_code, headers, length, keep and framed)

    def body(self, data: bytes | None) -> tuple[bytes, bool]:
        """Take more bytes of a body without known length; b"" says that the connection ended, None brings nothing.

        Returns what it holds and whether it is complete.
        """
        parts: list[bytes] = []
        try:
            if data is not None:
                self._machine.receive_data(data)
            while True:
                event = self._machine.next_event()
                if isinstance(event, h11.Data):
                    parts.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    return b"".join(parts), True
                else:
                    return b"".join(parts), event is not h11.NEED_DATA
        except h11.RemoteProtocolError as error:
            if parts:
                return b"".join(parts), False
            raise BadHead("closed the connection early" if data == b"" else "broken framing of the body") from error

    @property
    def leftover(self) -> bool:
        """Say whether bytes came after the end of the answer: the connection can't be used again."""
        return bool(self._machine.trailing_data[0])


def end_of_head(buffer: bytearray, start: int, stop: int) -> int | None:
    """Return the offset after the blank line that ends the head in buffer[start:stop], or None."""
    found = _BLANK_LINE.search(buffer, start, stop)
    return found.end() if found else None
