"""The control server of a mount that speaks aria2's RPC: sockets, paths, and who is told of what.

Law: nothing that a client does or leaves undone keeps the mount from working: connections, bodies, times and work at
once are bounded, errors stay with who caused them. It listens before the mount says that it is there, or the mount
does not begin.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from mountdl.catalog.watch import Watch
from mountdl.control.crowd import Crowd
from mountdl.control.logs import NOTICE
from mountdl.control.rpc import answering, jsonwire
from mountdl.control.rpc.access import Gate, foreign, refusal
from mountdl.control.rpc.answering import Answer
from mountdl.control.rpc.board import Board
from mountdl.control.rpc.drop import Drop
from mountdl.control.rpc.http import Connection, Reply, Request
from mountdl.control.rpc.keeper import Keeper
from mountdl.control.rpc.notices import events
from mountdl.control.rpc.websocket import Session
from mountdl.control.text import shown
from mountdl.engine.engine import Engine
from mountdl.errors import ExitStatus, UsageError
from mountdl.openfiles import share
from mountdl.settings import RpcSettings, Settings, is_remote

log = logging.getLogger(__name__)

MOST_CLIENTS = 64
MOST_SESSIONS = 24
"""Clients of those that may listen by WebSocket."""
MOST_KNOWN = 1000
"""Addresses that are remembered for a good token."""
RHYTHM = 1.0
"""Seconds between two looks at what became of files, while somebody listens."""
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})


def listen(settings: RpcSettings) -> list[trio.SocketListener]:
    """Return listeners on the port that *settings* name: loopback's, or all. Raises UsageError."""
    wanted = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    if settings.listen_all:
        wanted = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104  # the user asked for it
    sockets: list[socket.socket] = []
    try:
        for family, address in wanted:
            made = _bound(family, address, settings.port, needed=not sockets)
            sockets += [made] if made is not None else []
    except OSError as error:
        for each in sockets:
            each.close()
        taken = "; another program has it: choose another --rpc-listen-port" if error.errno == errno.EADDRINUSE else ""
        raise UsageError(
            f"--enable-rpc: can't listen on port {settings.port}: {error.strerror}{taken}", ExitStatus.IO
        ) from error
    return [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets]


def _bound(family: int, address: str, port: int, *, needed: bool) -> socket.socket | None:
    """Return a socket that listens, None where this machine has no such *address*. Raises OSError."""
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if needed or error.errno not in _NO_SUCH_ADDRESS:
            raise
        return None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(MOST_CLIENTS)
    except OSError as error:
        made.close()
        if needed or error.errno not in _NO_SUCH_ADDRESS:
            raise
        return None
    return made


async def serve(
    settings: Settings, watch: Watch, engine: Engine, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer clients of the mount that *settings* made until cancelled. Raises UsageError when it can't listen."""
    listeners = listen(settings.rpc)
    drop, reason = await trio.to_thread.run_sync(_drop, settings.mount.source)
    board = Board(settings, watch, engine, drop, reason)
    if drop is not None:
        board.marks = await trio.to_thread.run_sync(drop.marks)
    server = Server(settings.rpc, board)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Keeper(board, engine).run)
        nursery.start_soon(server.tell)
        await nursery.start(trio.serve_listeners, server.welcome, listeners)
        where = "all addresses" if settings.rpc.listen_all else "127.0.0.1"
        log.log(NOTICE, "clients of aria2 are answered on port %d of %s", settings.rpc.port, where)
        task_status.started()


def _drop(source: str) -> tuple[Drop | None, str]:
    """Return the folder that clients may add to; None, and why, where they can't. Blocking."""
    if is_remote(source):
        return None, "nothing can be added: this mount is of one URL; mount a folder"
    folder = Path(source)
    if not folder.is_dir():
        return None, f"nothing can be added: {shown(source)} is no folder; mount one"
    if not os.access(folder, os.W_OK):
        return None, f"nothing can be added: {shown(source)} can't be written to"
    return Drop(folder), ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what happens, once a token was right: its own, or that of somebody else at *host*, as aria2p has it.

    Not where a *foreign* page listens: that is on the same host as whoever looks at it.
    """

    gate: Gate
    host: str
    foreign: bool
    client: trio.CancelScope


def _host(stream: trio.abc.Stream) -> str:
    """Return the address of who is at the other end of *stream*; "" where there is none."""
    try:
        return str(stream.socket.getpeername()[0]) if isinstance(stream, trio.SocketStream) else ""
    except OSError:
        return ""


class Server:
    """Who is connected to one mount."""

    def __init__(self, settings: RpcSettings, board: Board) -> None:
        self._settings, self._board = settings, board
        # Where few files may be open, most are for those who read.
        most = share(8, MOST_CLIENTS)
        self._crowd = Crowd(most)
        self._most_sessions = max(1, most * MOST_SESSIONS // MOST_CLIENTS)
        self._sessions: dict[Session, Listener] = {}
        self._known: set[str] = set()

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one client; whatever goes wrong with it stays with it."""
        client = trio.CancelScope()
        async with stream:
            try:
                if self._crowd.enter(client):
                    with client:
                        await Connection(stream).serve(partial(self._handle, client, stream))
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                log.debug("a client of the RPC went away")
            except* Exception:
                log.exception("RPC: a defect of mountdl")
            finally:
                self._crowd.leave(client)

    async def tell(self) -> None:
        """Tell those who listen what becomes of files, until cancelled."""
        while True:
            try:
                if self._sessions:
                    await self._board.refresh()
                    self._spread(self._board.changes())
                else:
                    self._board.changes(listening=False)
            except Exception:
                log.exception("RPC: a defect of mountdl")
            await trio.sleep(RHYTHM)

    def _spread(self, changes: Iterable[tuple[str, str | None, str, bool]]) -> None:
        for gid, before, after, torrent in changes:
            for event in events(before, after, torrent=torrent):
                for session, listener in self._sessions.items():
                    if listener.gate.admitted or (listener.host in self._known and not listener.foreign):
                        session.tell(jsonwire.notice(event, gid))

    async def _handle(self, client: trio.CancelScope, stream: trio.abc.Stream, request: Request) -> Reply | None:
        with self._crowd.answering(client):
            refused = refusal(self._settings, request.method, request.headers)
            if refused is not None:
                return Reply(403, refused.encode(errors="replace"), {"Content-Type": "text/plain"}, close=True)
            path, _, query = request.target.partition("?")
            if request.headers.get("upgrade", "").lower() == "websocket" and path == "/jsonrpc":
                return await self._converse(client, stream, request, query)
            if request.method == "OPTIONS":
                return Reply(200, headers=self._preflight(request))
            answer = await self._answer(stream, request, path, query)
            return Reply(404, close=True) if answer is None else self._reply(answer)

    async def _answer(self, stream: trio.abc.Stream, request: Request, path: str, query: str) -> Answer | None:
        gate = Gate(self._settings.secret)
        try:
            return await self._asked(gate, request, path, query)
        finally:
            if gate.admitted and len(self._known) < MOST_KNOWN:
                self._known.add(_host(stream))

    async def _asked(self, gate: Gate, request: Request, path: str, query: str) -> Answer | None:
        if path == "/jsonrpc" and request.method == "POST":
            return await answering.of_json(self._board, gate, request.body)
        if path == "/jsonrpc" and request.method == "GET":
            return await answering.of_query(self._board, gate, query)
        if path == "/rpc" and request.method == "POST":
            return await answering.of_xml(self._board, gate, request.body)
        return None

    def _reply(self, answer: Answer) -> Reply:
        headers = {"Content-Type": answer.kind, "X-Content-Type-Options": "nosniff"}
        if self._settings.allow_origin_all:
            headers["Access-Control-Allow-Origin"] = "*"
        return Reply(answer.status, answer.body, headers, close=answer.status >= 400)

    def _preflight(self, request: Request) -> dict[str, str]:
        """Return what a browser is told that asks what a page of elsewhere may do (W3C Fetch, CORS)."""
        if not self._settings.allow_origin_all:
            return {}
        asked = request.headers.get("access-control-request-headers", "")
        told = {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
            "Access-Control-Max-Age": "1728000",
        }
        return {**told, "Access-Control-Allow-Headers": asked} if asked else told

    def _full(self) -> bool:
        """Say whether no more may listen; one that showed no token gives way."""
        if len(self._sessions) < self._most_sessions:
            return False
        stranger = next((session for session, each in self._sessions.items() if not each.gate.admitted), None)
        if stranger is not None:
            self._sessions.pop(stranger).client.cancel()
        return stranger is None

    async def _converse(
        self, client: trio.CancelScope, stream: trio.abc.Stream, request: Request, query: str
    ) -> Reply | None:
        if query:
            return Reply(404, close=True)
        if self._full():
            return Reply(503, close=True)
        session, gate = Session(stream), Gate(self._settings.secret)
        listener = Listener(gate, _host(stream), foreign(request.headers), client)

        async def respond(body: bytes) -> bytes:
            return (await answering.of_json(self._board, gate, body)).body

        self._sessions[session] = listener
        try:
            await session.run(request.headers, request.target, request.rest, respond)
        finally:
            self._sessions.pop(session, None)
        return None
