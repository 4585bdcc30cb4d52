"""The server of the RPC: HTTP and WebSocket as clients speak them, bounded whatever they do."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, RejectConnection, Request, TextMessage

from mountdl.control.rpc import serving
from mountdl.control.rpc.http import IDLE, MOST_BODY
from mountdl.control.rpc.rows import gid_of
from mountdl.control.rpc.serving import MOST_CLIENTS, MOST_SESSIONS, Server
from mountdl.control.rpc.websocket import RHYTHM
from mountdl.errors import ExitStatus, UsageError
from mountdl.settings import RpcSettings
from tests.support.ports import free_port
from tests.support.rpcs import Desk, metalink

VERSION = b'{"jsonrpc":"2.0","id":1,"method":"aria2.getVersion"}'


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[int]:
    """Serve *desk* on a port of loopback."""
    server = Server(desk.settings.rpc, desk.board)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(server.tell)
        nursery.start_soon(trio.serve_listeners, server.welcome, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def post(body: bytes, path: str = "/jsonrpc", *fields: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


class Http:
    """A client that reads answers one by one."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._pending = b""

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        await self.stream.send_all(data)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._pending:
            self._pending += await self._more()
        head, _, rest = self._pending.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        length = int(fields.get("content-length", 0))
        while len(rest) < length:
            rest += await self._more()
        self._pending = rest[length:]
        return int(first.split()[1]), fields, rest[:length]

    async def _more(self) -> bytes:
        data = await self.stream.receive_some(1 << 16)
        assert data, "the connection ended"
        return bytes(data)

    async def ended(self) -> bool:
        try:
            return not await self.stream.receive_some(1 << 16)
        except trio.BrokenResourceError:
            return True


async def over_and_over(stream: trio.abc.Stream, data: bytes, pause: float = 0.0) -> None:
    """Send *data* again and again until the other side has had enough."""
    while True:
        await stream.send_all(data)
        await trio.sleep(pause)


def part_of_a_message() -> bytes:
    """Return a frame that continues a message, of 64 KiB (RFC 6455 section 5.2)."""
    return b"\x00\xff" + (1 << 16).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * (1 << 16)


class Stuck(trio.abc.Stream):
    """A stream whose other side stops taking anything once `stuck`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.stuck = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.stuck:
            await trio.sleep_forever()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def client(desk: Desk) -> AsyncIterator[Http]:
    async with served(desk) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Http(stream)


async def test_a_connection_is_kept_and_requests_may_come_at_once() -> None:
    """Answers come in the order of the requests, whoever waits for them."""
    async with client(Desk()) as http:
        status, fields, body = await http.ask(post(VERSION))
        assert (status, fields["content-type"]) == (200, "application/json-rpc")
        assert json.loads(body)["result"]["version"] == "1.37.0"
        await http.stream.send_all(b"".join(post(VERSION.replace(b":1,", b":%d," % n)) for n in range(5)))
        assert [json.loads((await http.answer())[2])["id"] for _ in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (post(b"{"), 500, -32700),
        (post(b"[]"), 200, None),
        (post(b'{"id":1}'), 400, -32600),
        (post(b'{"id":1,"method":"x"}'), 400, 1),
        (post(b'{"id":1,"method":"aria2.tellStatus","params":{}}'), 500, -32602),
        (post(b"<", "/rpc"), 400, None),
        (post(VERSION, "/x"), 404, None),
        (b"PUT /jsonrpc HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, None),
        (b"nonsense\r\n\r\n", 400, None),
        (b"POST /jsonrpc HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, None),
        (b"GET /jsonrpc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 403, None),
        (post(b"", "/jsonrpc", "Origin: http://evil.example"), 403, None),
        (b"POST /jsonrpc HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1), 413, None),
        (b"POST /jsonrpc HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000, 431, None),
    ],
)
async def test_what_goes_wrong_has_a_status(request_: bytes, status: int, code: int | None) -> None:
    """aria2's where it has one; a failure ends the connection."""
    async with client(Desk()) as http:
        got, fields, body = await http.ask(request_)

        assert got == status
        if code is not None:
            assert json.loads(body)["error"]["code"] == code
        if got >= 400:
            assert fields["connection"] == "close"
            assert await http.ended()


async def test_a_body_that_grows_too_large_is_cut_off() -> None:
    """Also where no length was given."""
    async with client(Desk()) as http:
        await http.stream.send_all(b"POST /jsonrpc HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await over_and_over(http.stream, b"1000\r\n" + b"x" * 4096 + b"\r\n")


async def test_who_asks_first_is_told_to_go_on() -> None:
    """Curl does before it sends a torrent."""
    async with client(Desk()) as http:
        await http.stream.send_all(post(VERSION, "/jsonrpc", "Expect: 100-continue")[: -len(VERSION)])
        assert (await http.answer())[0] == 100
        assert (await http.ask(VERSION))[0] == 200


async def test_get_and_pages() -> None:
    """With a secret GET is answered, as script too; other origins are told that they may only with the option."""
    params = quote(base64.b64encode(b'["token:s"]').decode())
    target = f"/jsonrpc?method=aria2.getVersion&id=1&params={params}"
    request = f"GET {target}&jsoncallback=f HTTP/1.1\r\nHost: evil\r\n\r\n".encode()
    asking = b"OPTIONS /jsonrpc HTTP/1.1\r\nHost: a\r\nOrigin: null\r\nAccess-Control-Request-Headers: x-a\r\n\r\n"
    async with client(Desk(secret="s")) as http:
        status, fields, body = await http.ask(request)
        assert (status, fields["content-type"]) == (200, "text/javascript")
        assert body.startswith(b'/**/f({"id":"1"')
        assert "access-control-allow-origin" not in fields
        assert "access-control-allow-origin" not in (await http.ask(asking))[1]
    async with client(Desk(allow_origin_all=True)) as http:
        fields = (await http.ask(asking))[1]
        assert fields["access-control-allow-origin"] == "*"
        assert fields["access-control-allow-headers"] == "x-a"
        assert (await http.ask(post(VERSION)))[1]["access-control-allow-origin"] == "*"


async def test_one_more_client_takes_the_place_of_who_is_idle_longest() -> None:
    """So nobody keeps others out by doing nothing."""
    async with served(Desk()) as port:
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MOST_CLIENTS + 1)]
        async with idle[0]:
            assert await Http(idle[0]).ended()
        assert (await Http(idle[-1]).ask(post(VERSION)))[0] == 200
        for each in idle:
            await each.aclose()


async def test_who_sends_a_head_in_drops_is_let_go(clock: trio.testing.MockClock) -> None:
    """A request arrives whole within a minute or not at all."""
    desk = Desk()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(desk.settings.rpc, desk.board).welcome, theirs)
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await over_and_over(ours, b"x", pause=1.0)
        assert trio.current_time() - start <= IDLE + 2


GOOD = post(VERSION)
HELLO = (
    b"GET /jsonrpc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@settings(max_examples=50)
@given(st.sampled_from([b"", GOOD, HELLO]), st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 250))
def test_any_bytes_are_no_defect(before: bytes, inside: bytes, after: bytes, at: int) -> None:
    """Whatever comes on a connection, in a request, behind it or as frames: it ends, and nothing is logged."""
    told: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = told.append  # type: ignore[method-assign]

    async def body() -> None:
        desk = Desk()
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(desk.settings.rpc, desk.board).welcome, theirs)
            await ours.send_all(before[:at] + inside + before[at:] + after)
            await ours.send_eof()
            while await ours.receive_some(1 << 16):
                pass

    logging.getLogger("mountdl").addHandler(handler)
    try:
        trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("mountdl").removeHandler(handler)
    assert told == []


class Ws:
    """A client over WebSocket."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._ws = WSConnection(ConnectionType.CLIENT)

    async def shake(self, target: str = "/jsonrpc", **fields: str) -> object:
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        await self.say(Request(host="127.0.0.1", target=target, extra_headers=headers))
        return await self.event()

    async def say(self, event: Any) -> None:
        await self.stream.send_all(self._ws.send(event))

    async def ask(self, method: str, *params: object) -> Any:
        await self.say(TextMessage(json.dumps({"id": method, "method": method, "params": params})))
        while True:
            event = await self.event()
            assert isinstance(event, TextMessage)
            if "id" in (told := json.loads(event.data)):
                return told

    async def event(self) -> object:
        whole = ""
        while True:
            for event in self._ws.events():
                if isinstance(event, TextMessage) and not event.message_finished:
                    whole += event.data
                elif isinstance(event, TextMessage):
                    return TextMessage(whole + event.data)
                else:
                    return event
            data = await self.stream.receive_some(1 << 16)
            if not data:
                return None
            self._ws.receive_data(data)


@asynccontextmanager
async def session(desk: Desk) -> AsyncIterator[Ws]:
    async with served(desk) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Ws(stream)


async def test_requests_over_websocket() -> None:
    """One after the other, with pings in between; no extension is agreed on."""
    async with session(Desk()) as ws:
        accepted = await ws.shake()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.extensions == []
        assert (await ws.ask("aria2.getVersion"))["result"]["version"]
        assert (await ws.ask("x"))["error"]["code"] == 1
        await ws.say(Ping(b"?"))
        assert await ws.event() == Pong(bytearray(b"?"))
        await ws.say(CloseConnection(1000))
        assert isinstance(await ws.event(), CloseConnection)


async def test_a_body_in_crumbs_gives_others_turns(clock: trio.testing.MockClock) -> None:
    """Eleven thousand chunks fit into what is received at once: they are taken in slowly, and a body as it is usual is not."""
    desk, crumbs = Desk(), b"".join(b"1\r\n%c\r\n" % each for each in VERSION + b" " * 1000)
    head = b"POST /jsonrpc HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    for request, least, most in ((post(VERSION), 0, 0), (head + crumbs + b"0\r\n\r\n", 3, 4)):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(desk.settings.rpc, desk.board).welcome, theirs)
            start = trio.current_time()
            assert (await Http(ours).ask(request))[0] == 200
            assert least <= trio.current_time() - start <= most
            nursery.cancel_scope.cancel()


async def test_frames_in_crumbs_give_others_turns(clock: trio.testing.MockClock) -> None:
    """Frames without a byte in them, and pongs that nobody asked for, are taken in slowly, too."""
    desk = Desk()
    for crumb in (b"\x00\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(desk.settings.rpc, desk.board).welcome, theirs)
            ws = Ws(ours)
            await ws.shake()
            start = trio.current_time()
            await ours.send_all(b"\x01\x80\0\0\0\0" + 1000 * crumb)
            await ws.say(Ping(b"?"))
            assert await ws.event() == Pong(bytearray(b"?"))
            assert 3 <= trio.current_time() - start <= 4
            nursery.cancel_scope.cancel()


async def test_notices(clock: trio.testing.MockClock) -> None:
    """Who listens is told what becomes of files, within a second or two; with a secret, who showed it."""
    for secret in (None, "s"):
        desk = Desk(secret=secret)
        desk.show({"a.bin.meta4": metalink("a.bin")})
        server = Server(desk.settings.rpc, desk.board)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.tell)
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(server.welcome, theirs)
            ws = Ws(ours)
            await ws.shake()
            await trio.sleep(1.5)
            desk.engine.becomes(desk.outline("a.bin"), "active")
            if secret is not None:
                await trio.sleep(3)
                await ws.ask("aria2.getVersion", "token:s")
                desk.engine.becomes(desk.outline("a.bin"), "complete", 1000)
            told = await ws.event()
            assert isinstance(told, TextMessage)
            assert json.loads(told.data) == {
                "jsonrpc": "2.0",
                "method": "aria2.onDownloadStart" if secret is None else "aria2.onDownloadComplete",
                "params": [{"gid": gid_of("a.bin")}],
            }
            nursery.cancel_scope.cancel()


async def test_who_listens_and_reads_nothing_harms_nobody(clock: trio.testing.MockClock) -> None:
    """What is told waits in a queue that ends; the connection does, too."""
    desk = Desk()
    desk.show({"a.bin.meta4": metalink("a.bin")})
    server = Server(desk.settings.rpc, desk.board)
    ours, theirs = trio.testing.memory_stream_pair()
    stuck = Stuck(theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.tell)
        nursery.start_soon(server.welcome, stuck)
        await Ws(ours).shake()
        assert server._sessions
        stuck.stuck = True
        for number in range(600):
            desk.engine.becomes(desk.outline("a.bin"), "active" if number % 2 else "waiting")
            await trio.sleep(0.1)
        assert not server._sessions
        nursery.cancel_scope.cancel()


async def test_who_is_gone_without_a_word_is_forgotten(clock: trio.testing.MockClock) -> None:
    """Three pings without an answer are enough."""
    desk = Desk()
    server = Server(desk.settings.rpc, desk.board)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.welcome, theirs)
        await Ws(ours).shake()
        assert server._sessions
        await trio.sleep(4 * RHYTHM + 1)
        assert not server._sessions


@pytest.mark.parametrize(
    "frames",
    [
        os.urandom(400),
        b"\x81\x05hello",  # no mask (RFC 6455 section 5.1)
        b"\x83\x80\0\0\0\0",  # a reserved opcode
        b"\xf1\x80\0\0\0\0",  # bits of an extension that nobody agreed on
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # nine exabytes
        b"\x89\xfe\x01\x00\0\0\0\0" + b"x" * 256,  # a ping that is too long
        b"\x81\x82\0\0\0\0\xff\xff",  # no UTF-8
    ],
)
async def test_bad_frames_end_that_session_only(frames: bytes) -> None:
    """The next client is served."""
    async with served(Desk()) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await Ws(stream).shake()
            await stream.send_all(frames)
            if frames[:2] == b"\x81\xff":
                await stream.send_eof()
            with trio.fail_after(20):
                assert await Http(stream).ended() or True
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert (await Http(stream).ask(post(VERSION)))[0] == 200


async def test_a_message_that_is_too_large_ends_the_session() -> None:
    """Before it is kept."""
    async with session(Desk()) as ws:
        await ws.shake()
        await ws.say(TextMessage("x", message_finished=False))
        with pytest.raises(trio.BrokenResourceError):
            await over_and_over(ws.stream, part_of_a_message())


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/jsonrpc?a=b", {}, 404),
        ("/other", {}, 403),
        ("/jsonrpc", {"Origin": "http://evil.example"}, 403),
    ],
)
async def test_handshakes_that_are_refused(target: str, fields: dict[str, str], status: int) -> None:
    """Another path, or a page from elsewhere."""
    async with session(Desk()) as ws:
        answer = await ws.shake(target, **fields)
        assert isinstance(answer, RejectConnection)
        assert answer.status_code in {status, 404}


@pytest.mark.parametrize(
    "line", [b"Connection: \x80", b"Sec-WebSocket-Extensions: \xff", b"Sec-WebSocket-Protocol: \xfe"]
)
async def test_a_handshake_with_odd_bytes(line: bytes) -> None:
    """It is answered, by whatever status, and it is no defect."""
    async with client(Desk()) as http:
        status, _, _ = await http.ask(HELLO[:-2] + line + b"\r\n\r\n")
        assert status in {101, 400}


async def test_an_old_version_is_refused() -> None:
    """RFC 6455 section 4.4: by a status, and the version that is spoken."""
    async with client(Desk()) as http:
        status, fields, _ = await http.ask(
            b"GET /jsonrpc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 8\r\n\r\n"
        )
        assert (status, fields["sec-websocket-version"]) == (426, "13")


async def test_so_many_may_listen_and_no_more() -> None:
    """Others are still answered over HTTP."""
    async with served(Desk()) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MOST_SESSIONS + 1)]
        answers = [await Ws(stream).shake() for stream in streams]
        assert [isinstance(each, AcceptConnection) for each in answers] == [True] * MOST_SESSIONS + [False]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert (await Http(stream).ask(post(VERSION)))[0] == 200
        for each in streams:
            await each.aclose()


async def test_strangers_keep_nobody_from_listening() -> None:
    """With a secret, who listens and showed none gives way to one more."""
    desk = Desk(secret="s")
    async with served(desk) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MOST_SESSIONS + 1)]
        first, second, *others = [Ws(stream) for stream in streams]
        assert isinstance(await first.shake(), AcceptConnection)
        assert (await first.ask("aria2.getVersion", "token:s"))["result"]
        for each in (second, *others):
            assert isinstance(await each.shake(), AcceptConnection)
        with trio.fail_after(20):
            assert await second.event() is None
        assert (await first.ask("aria2.getVersion", "token:s"))["result"]
        assert (await others[-1].ask("aria2.getVersion", "token:s"))["result"]
        for stream in streams:
            await stream.aclose()


async def test_a_wrong_token_holds_nobody_else() -> None:
    """It takes a second; others are answered meanwhile."""
    desk = Desk(secret="s")
    good = b'{"id":1,"method":"aria2.getVersion","params":["token:s"]}'
    async with served(desk) as port:
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as bad,
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
        ):
            await bad.send_all(post(VERSION))
            start = trio.current_time()
            assert (await Http(stream).ask(post(good)))[0] == 200
            status, _, body = await Http(bad).answer()
            assert trio.current_time() - start >= 0.9
            assert (status, json.loads(body)["error"]) == (400, {"code": 1, "message": "Unauthorized"})


def test_a_port_that_is_taken() -> None:
    """The sentence has the remedy, and no socket stays open."""
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(UsageError, match="choose another --rpc-listen-port") as caught,
    ):
        serving.listen(RpcSettings(port=port))
    assert caught.value.exit_status == ExitStatus.IO
