"""Bodies of answers: from a connection through one buffer to whoever takes them.

Law: a body of known length goes from the socket into the buffer and from there to the sink, nothing
between and no copy; any other framing passes h11. A body that was not read to its end takes its connection
with it. Closing is synchronous and never waits. Knows no URL and no pool: it is told whom to tell.
"""

from collections.abc import Callable
from typing import Protocol

import httpx
import trio

from mountdl.sources.base import Paced, Sink, hold
from mountdl.sources.http.connection import Connection
from mountdl.sources.http.heads import LONGEST_HEAD, BadHead, Dialogue, Head, end_of_head
from mountdl.sources.http.patience import Pace, Patience
from mountdl.sources.tunnel import reason_of

SMALL_REST = 1 << 16
"""Bytes of an unwanted rest that are read over, if they are here already, to keep the connection."""

_FAIR_RUN = 1 << 20
# Bytes after which others get a turn: about 1 ms with a sink that writes to page cache.

_PARSED_AT_ONCE = 1 << 14
# A hostile body of 1-byte chunks then keeps the loop for 30 ms at most.

_NOTHING = memoryview(b"")


class Closed(Exception):
    """The server closed the connection where a head should come; *clean*: not a byte of one had come."""

    def __init__(self, reason: str, *, clean: bool) -> None:
        super().__init__(reason)
        self.clean = clean


class Reader:
    """The bytes of one answer as they come, through *buffer*, with patience."""

    __slots__ = ("_buffer", "_connection", "_pace", "_patience", "_run", "_start", "_stop", "_view")

    def __init__(self, connection: Connection, buffer: bytearray, patience: Patience) -> None:
        self._connection = connection
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._patience = patience
        self._pace = Pace(patience, trio.current_time())
        self._run = 0
        # Invariant: buffer[_start:_stop] came and was not given out yet.
        self._start = 0
        self._stop = 0

    @property
    def leftover(self) -> bool:
        """Say whether bytes are here that nobody asked for."""
        return self._start < self._stop

    async def head(self) -> bytes:
        """Return the bytes of the next head. Raises Closed, BadHead. The caller sets the deadline."""
        searched = self._start
        while True:
            stop = end_of_head(self._buffer, max(self._start, searched - 2), self._stop)
            if stop is not None:
                data = bytes(self._view[self._start : stop])
                self._start = stop
                return data
            searched = self._stop
            if self._stop - self._start >= LONGEST_HEAD or self._stop == len(self._view):
                raise BadHead(f"its head is longer than {LONGEST_HEAD} bytes")
            await self._more_of_head()

    async def _more_of_head(self) -> None:
        clean = self._stop == 0
        try:
            while (count := self._connection.read_now(self._view[self._stop :])) is None:
                await self._connection.wait()
        except OSError as error:
            raise Closed(reason_of(error), clean=clean) from error
        if not count:
            raise Closed("closed the connection without an answer", clean=clean)
        self._stop += count

    def rested(self, seconds: float) -> None:
        """Take in that nothing was asked of the connection for *seconds*."""
        self._pace.rested(seconds)

    async def some(self, most: int, room: memoryview | None = None) -> memoryview:
        """Return the next bytes, at least one and at most *most*; none at the end of the connection.

        They are received into *room*, if given, unless they are here already. The view is good until the
        next call. Raises httpx.ReadError, httpx.ReadTimeout.
        """
        if self._start < self._stop:
            return self.here(most)
        if self._run >= _FAIR_RUN:
            self._run = 0
            await trio.lowlevel.checkpoint()
        room = (self._view if room is None else room)[:most]
        try:
            while (count := self._connection.fill_now(room)) is None:
                self._run = 0
                await self._pause()
        except OSError as error:
            raise httpx.ReadError(reason_of(error)) from error
        self._run += count
        self._pace.came(count)
        return room[:count]

    def here(self, most: int) -> memoryview:
        """Return up to *most* bytes that are here without waiting; perhaps none."""
        if self._start == self._stop:
            try:
                count = self._connection.read_now(self._view[:most])
            except OSError:
                count = 0
            self._start, self._stop = 0, count or 0
        start = self._start
        self._start = min(self._stop, start + most)
        return self._view[start : self._start]

    async def _pause(self) -> None:
        if self._pace.too_slow(trio.current_time()):
            raise httpx.ReadTimeout(f"slower than {self._patience.rate:g} bytes a second")
        with trio.move_on_after(self._patience.silence) as scope:
            await self._connection.wait()
        if scope.cancelled_caught:
            raise httpx.ReadTimeout(f"silent for {self._patience.silence:g} s")


class Body(Protocol):
    """What an answer carries. Take it by `pour`, then `aclose` it, in every case."""

    async def pour(self, sink: Sink, offset: int, *, skip: int, limit: int) -> int:
        """Drop *skip* bytes, give up to *limit* to *sink* from *offset* on; return how many.

        Fewer than *limit* only at the regular end of the body. Raises httpx.TransportError, and lets pass what
        the sink raises. If it raises or is cancelled, bytes already given stay given.
        """

    async def aclose(self) -> None:
        """Be done with it, even when cancelled. May be called twice."""


class PlainBody:
    """A body of known length (RFC 9112 section 6.2). *done* is called once, with whether all is in order."""

    __slots__ = ("_done", "_reader", "_rest")

    def __init__(self, reader: Reader, length: int, done: Callable[[bool], None]) -> None:
        self._reader = reader
        self._rest = length
        self._done: Callable[[bool], None] | None = done

    async def more(self, room: memoryview | None = None) -> memoryview:
        """Return the next bytes, good until the next call, in *room* if possible; none at the end.

        Raises httpx.TransportError.
        """
        if not self._rest:
            return _NOTHING
        view = await self._reader.some(self._rest, room)
        if not view:
            raise httpx.RemoteProtocolError(f"closed the connection {self._rest} bytes early")
        self._rest -= len(view)
        return view

    async def pour(self, sink: Sink, offset: int, *, skip: int, limit: int) -> int:
        """See `Body`."""
        written = 0
        paced = sink if isinstance(sink, Paced) else None
        while written < limit:
            if paced is not None and (pause := await hold(paced)):
                self._reader.rested(pause)
            view = await self.more(None if skip else sink.room(offset + written))
            if not view:
                break
            if skip:
                dropped = min(skip, len(view))
                skip -= dropped
                view = view[dropped:]
            if len(view) > limit - written:
                view = view[: limit - written]
            if view:
                sink.write(offset + written, view)
                written += len(view)
        return written

    async def aclose(self) -> None:
        """See `Body`."""
        self.close()

    def close(self) -> None:
        """Be done with it without waiting. A small rest that is here already is read over."""
        if self._done is None:
            return
        done, self._done = self._done, None
        while 0 < self._rest <= SMALL_REST and (view := self._reader.here(self._rest)):
            self._rest -= len(view)
        done(self._rest == 0 and not self._reader.leftover)


class ParsedBody(PlainBody):
    """A chunked body, or one that ends with the connection (RFC 9112 section 6.3): h11 reads it."""

    __slots__ = ("_dialogue",)

    def __init__(self, reader: Reader, dialogue: Dialogue, done: Callable[[bool], None]) -> None:
        super().__init__(reader, 1, done)  # the rest is not known: 1 until it is 0
        self._dialogue = dialogue

    async def more(self, room: memoryview | None = None) -> memoryview:
        """See `PlainBody.more`."""
        del room  # h11 has its own
        while self._rest:
            await trio.lowlevel.checkpoint()  # tiny chunks cost h11 far more time than their bytes say
            data = self._parsed(bytes(await self._reader.some(_PARSED_AT_ONCE)))
            if data:
                return memoryview(data)
        return _NOTHING

    def _parsed(self, raw: bytes) -> bytes:
        try:
            data, complete = self._dialogue.body(raw)
        except BadHead as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        self._rest = 0 if complete else 1
        return data

    def close(self) -> None:
        """See `PlainBody.close`."""
        if self._done is None:
            return
        done, self._done = self._done, None
        try:
            raw = bytes(self._reader.here(_PARSED_AT_ONCE)) if self._rest else b""
            if raw:
                self._parsed(raw)
        except httpx.RemoteProtocolError:
            self._rest = 1
        done(self._rest == 0 and not self._dialogue.leftover and not self._reader.leftover)


def body_of(head: Head, dialogue: Dialogue, reader: Reader, done: Callable[[bool], None]) -> PlainBody:
    """Return the body that follows *head*."""
    if head.length is None:
        return ParsedBody(reader, dialogue, done)
    return PlainBody(reader, head.length, done)
