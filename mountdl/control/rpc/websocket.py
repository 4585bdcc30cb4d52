"""A session over WebSocket: requests one after the other, and notices in between (RFC 6455).

Law: messages, silence and what waits to be sent are bounded. No extension and no subprotocol is agreed on.
"""

from collections.abc import Awaitable, Callable

import h11
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from mountdl.control.rpc.http import AT_ONCE, MOST_BODY, Pace, patiently

MOST_WAITING = 1000
"""Notices that wait for a client; of a slower one further ones are lost. It asks anew anyway, each second."""
RHYTHM = 30.0
"""Seconds between two pings; who says nothing for three is gone."""

Respond = Callable[[bytes], Awaitable[bytes]]


class Session:
    """One client on *stream*. `tell` and `run` are all that others need."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._ws = WSConnection(ConnectionType.SERVER)
        self._send, self._notices = trio.open_memory_channel[str](MOST_WAITING)
        self._turn = trio.Lock()  # two tasks write, and a message must not begin inside another
        self._heard = 0.0

    def tell(self, text: str) -> None:
        """Have *text* sent, unless too much waits already."""
        try:
            self._send.send_nowait(text)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return

    async def run(self, headers: dict[str, str], target: str, rest: bytes, respond: Respond) -> None:
        """Shake hands by the *headers* of the request for *target*, then answer by *respond* until somebody ends it."""
        try:
            self._ws.initiate_upgrade_connection(
                [(k.encode(), v.encode("latin-1")) for k, v in headers.items()], target
            )
            for event in self._ws.events():
                if isinstance(event, Request):
                    await self._say(AcceptConnection())
        except RemoteProtocolError as error:
            hint = error.event_hint or RejectConnection(status_code=400)
            await patiently(self._stream, self._ws.send(hint))
            return
        except (ValueError, h11.ProtocolError):
            # What fields with bytes that are no ASCII become in wsproto 1.3.
            await patiently(self._stream, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
        self._heard = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notify)
            nursery.start_soon(self._watch, nursery.cancel_scope)
            await self._converse(rest, respond)
            nursery.cancel_scope.cancel()

    async def _converse(self, rest: bytes, respond: Respond) -> None:
        message = bytearray()
        data = rest or bytes(await self._stream.receive_some(AT_ONCE))
        while data:
            self._heard = trio.current_time()
            try:
                self._ws.receive_data(data)
                pace = Pace()
                for event in self._ws.events():
                    await pace.step()
                    if not await self._take(event, message, respond):
                        return
            except RemoteProtocolError as error:
                await self._say(error.event_hint or CloseConnection(CloseReason.PROTOCOL_ERROR))
                return
            data = bytes(await self._stream.receive_some(AT_ONCE))

    async def _take(self, event: Event, message: bytearray, respond: Respond) -> bool:
        """Act on *event*; *message* is what came of a message so far. Say whether the session goes on."""
        if isinstance(event, CloseConnection):
            await self._say(event.response())
            return False
        if isinstance(event, Ping):
            await self._say(event.response())
        if isinstance(event, TextMessage | BytesMessage):
            message += event.data.encode(errors="replace") if isinstance(event.data, str) else event.data
            if len(message) > MOST_BODY:
                await self._say(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
                return False
            if event.message_finished:
                asked = bytes(message)
                message.clear()
                await self._say(TextMessage((await respond(asked)).decode()))
                self._heard = trio.current_time()
        return True

    async def _notify(self) -> None:
        async for text in self._notices:
            await self._say(TextMessage(text))

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End the session when the client is gone without a word."""
        while trio.current_time() - self._heard < 3 * RHYTHM:
            await trio.sleep(RHYTHM)
            await self._say(Ping())
        scope.cancel()

    async def _say(self, event: Event) -> None:
        async with self._turn:
            try:
                data = self._ws.send(event)
            except LocalProtocolError:
                return  # it is closing, and says nothing more
            await patiently(self._stream, data)
