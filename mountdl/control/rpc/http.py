"""HTTP/1.1 of the control server: a connection from its first request to its last.

Law: heads, bodies and times are bounded; whatever a client sends is answered or ends its connection, and only that.
h11 reads and writes (RFC 9112); nothing here knows what is asked.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11
import trio

MOST_BODY = 2 << 20
"""Bytes of a body; aria2's --rpc-max-request-size."""
MOST_HEAD = 32 << 10
IDLE = 60.0
"""Seconds for a request to arrive whole, and between two."""
PATIENCE = 30.0
"""Seconds for a client to take `AT_ONCE` bytes of an answer."""
LONGEST = 120.0
"""Seconds for it to take all of one: it is in memory as long."""
AT_ONCE = 64 << 10
A_TURN = 32
"""Chunks or frames of one receipt that are taken in before others get a turn: 0.5 ms. `AT_ONCE` holds 11,000."""
REST = 0.1
"""Seconds that such a client waits then: 24 of them cost a tenth of a core."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, its names of fields in lower case. *rest* is what came behind it on the connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back; *close* ends the connection behind it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False


Handle = Callable[[Request], Awaitable[Reply | None]]
"""Answers a request; None: the connection is another protocol's from here on, and over."""


class Connection:
    """One client on *stream*."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)

    async def serve(self, handle: Handle) -> None:
        """Answer requests by *handle* until either side is done. Raises what trio's streams do."""
        while (request := await self._request()) is not None:
            if isinstance(request, Reply):
                await self._send(request)
                return
            reply = await handle(request)
            if reply is None:
                return
            await self._send(reply)
            if reply.close or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _request(self) -> Request | Reply | None:
        """Return the next request, the reply to one that can't be answered, or None when there is none."""
        with trio.move_on_after(IDLE):
            try:
                return await self._received()
            except h11.RemoteProtocolError as error:
                return Reply(error.error_status_hint, close=True)
        return None

    async def _received(self) -> Request | Reply | None:
        head, body, pace = None, bytearray(), Pace()
        while True:
            event = self._h11.next_event()
            await pace.step()
            if event is h11.NEED_DATA:
                pace = Pace()
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await self._stream.send_all(self._h11.send(go_on) or b"")
                self._h11.receive_data(bytes(await self._stream.receive_some(AT_ONCE)))
            elif isinstance(event, h11.Request):
                head = event
                if _length(event) > MOST_BODY:
                    return Reply(413, close=True)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MOST_BODY:
                    return Reply(413, close=True)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return self._made(head, bytes(body))
            else:
                return None

    def _made(self, head: h11.Request, body: bytes) -> Request:
        headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers}
        return Request(head.method.decode("ascii"), head.target.decode("latin-1"), headers, body, self.rest)

    @property
    def rest(self) -> bytes:
        """What came behind the last request, of another protocol."""
        return self._h11.trailing_data[0]

    async def _send(self, reply: Reply) -> None:
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        if reply.close or reply.status >= 400:
            headers["Connection"] = "close"
        if self._h11.our_state is not h11.IDLE and self._h11.our_state is not h11.SEND_RESPONSE:
            return
        with contextlib.suppress(h11.LocalProtocolError):
            head = h11.Response(status_code=reply.status, headers=list(headers.items()))
            data = (self._h11.send(head) or b"") + (self._h11.send(h11.Data(data=reply.body)) or b"")
            data += self._h11.send(h11.EndOfMessage()) or b""
            await patiently(self._stream, data)


def _length(head: h11.Request) -> int:
    # h11 has refused a Content-Length that is no number of at most 20 digits.
    return next((int(value) for name, value in head.headers if name.lower() == b"content-length"), 0)


class Pace:
    """How much one client had done since it was last waited for."""

    def __init__(self) -> None:
        self._steps = 0

    async def step(self) -> None:
        """Let others have their turns when it was much."""
        self._steps += 1
        if self._steps % A_TURN == 0:
            await trio.sleep(REST)


async def patiently(stream: trio.abc.Stream, data: bytes) -> None:
    """Send *data*. Raises TooSlowError when the client does not take it."""
    with trio.fail_after(LONGEST):
        for start in range(0, len(data), AT_ONCE):
            with trio.fail_after(PATIENCE):
                await stream.send_all(data[start : start + AT_ONCE])
