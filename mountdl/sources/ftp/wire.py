"""What FTP servers say and are told, as values. Pure: bytes go in, replies come out; no socket, no clock.

Law: nothing a server sends makes memory unbounded, and nothing a descriptor says makes a second command: an
argument with CR, LF or NUL is refused here, before any of it is sent. RFC 959 section 4.2 for replies,
2428 for EPSV, 3659 for SIZE, MDTM and REST STREAM.
"""

import re
from dataclasses import dataclass

MOST_LINE = 8192
"""Bytes of one line of a reply."""

MOST_REPLY = 65536
"""Bytes of one reply; greetings of archives have some 2 KiB of rules and thanks."""

_FIRST = re.compile(rb"([1-5]\d\d)([ -]|$)(.*)", re.DOTALL)
_EXTENDED = re.compile(r"\((.)\1\1(\d{1,5})\1\)")
_PASSIVE = re.compile(r"(?<!\d)\d{1,3},\d{1,3},\d{1,3},\d{1,3},(\d{1,3}),(\d{1,3})(?!\d)")
_FORBIDDEN = re.compile(rb"[\r\n\0]")
_CROWDED = re.compile(r"too many|maximum|limit|try again later|busy|full", re.IGNORECASE)


class WireError(Exception):
    """What came is no FTP, or what was to be sent is none; the text is a short phrase."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its *code* and its *lines* without codes and line ends."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The last line, for people: printable, of at most 120 characters."""
        return "".join(c if c.isprintable() else "?" for c in self.lines[-1])[:120]

    @property
    def preliminary(self) -> bool:
        """Whether another reply to the same command follows (1yz)."""
        return self.code < 200

    @property
    def crowded(self) -> bool:
        """Whether it says that there are too many connections: 421, or a 530 whose text tells so."""
        return self.code == 421 or (self.code in {530, 450} and any(_CROWDED.search(line) for line in self.lines))


class ReplyParser:
    """Cuts a stream of bytes into replies: `feed` what came, then ask `next_reply` until it says None."""

    __slots__ = ("_buffer", "_code", "_lines", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code: bytes | None = None
        self._lines: list[str] = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left over: no reply and no part of one."""
        return not self._buffer and self._code is None

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """Return the next whole reply, None when more must come first. Raises WireError, ever after too."""
        while (end := self._buffer.find(b"\n")) >= 0:
            if end > MOST_LINE:
                break
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            reply = self._take(line)
            del self._buffer[: end + 1]
            if reply is not None:
                return reply
        if len(self._buffer) > MOST_LINE:
            raise WireError("sends a line that does not end")
        return None

    def _take(self, line: bytes) -> Reply | None:
        self._size += len(line) + 2
        if self._size > MOST_REPLY:
            raise WireError("sends a reply that does not end")
        match = _FIRST.fullmatch(line)
        if self._code is None:
            if match is None:
                raise WireError("does not speak FTP")
            self._lines.append(_decoded(match[3]))
            if match[2] == b"-":
                self._code = match[1]
                return None
            return self._whole(match[1])
        # Only the same code and a space end it (RFC 959 section 4.2); lines between may begin with any digits.
        if match is not None and match[1] == self._code and match[2] != b"-":
            self._lines.append(_decoded(match[3]))
            return self._whole(self._code)
        self._lines.append(_decoded(line.removeprefix(self._code + b"-")))
        return None

    def _whole(self, code: bytes) -> Reply:
        reply = Reply(int(code), tuple(self._lines))
        self._code, self._size = None, 0
        self._lines.clear()
        return reply


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def command(verb: str, argument: bytes | None = None) -> bytes:
    """Return *verb* with *argument* as a line to be sent. Raises WireError when it would be more than one."""
    if argument is None:
        return verb.encode("ascii") + b"\r\n"
    if _FORBIDDEN.search(argument):
        raise WireError("has a line break or NUL in its address")
    return verb.encode("ascii") + b" " + argument + b"\r\n"


def extended_port(reply: Reply) -> int:
    """Return the port that a 229 names. Raises WireError."""
    match = _EXTENDED.search(reply.lines[-1])
    return _port(int(match[2]) if match else 0)


def passive_port(reply: Reply) -> int:
    """Return the port that a 227 names. Its address is never looked at: it may be of another's. Raises WireError."""
    match = _PASSIVE.search(reply.lines[-1])
    high, low = (int(match[1]), int(match[2])) if match else (0, 0)
    return _port(high * 256 + low if max(high, low) < 256 else 0)


def _port(port: int) -> int:
    if not 0 < port < 65536:
        raise WireError("names no port for its data")
    return port


def size_of(reply: Reply) -> int | None:
    """Return the size that a 213 tells, None for any other reply (RFC 3659 section 4)."""
    text = reply.lines[-1].strip()
    return int(text) if reply.code == 213 and re.fullmatch(r"[0-9]{1,18}", text) else None


def modified_of(reply: Reply) -> str | None:
    """Return the time stamp that a 213 tells, as it is written there, None for any other reply."""
    text = reply.lines[-1].strip()
    return text if reply.code == 213 and re.fullmatch(r"[0-9]{14}(\.[0-9]{1,9})?", text) else None


def features_of(reply: Reply) -> frozenset[str]:
    """Return the first words of what a 211 lists, upper case (RFC 2389)."""
    if reply.code != 211:
        return frozenset()
    words = (line.split(maxsplit=1) for line in reply.lines[1:-1])
    return frozenset(word[0].upper() for word in words if word)
