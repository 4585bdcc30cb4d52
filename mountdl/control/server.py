"""The control server of a mount: answers the commands of the same user on a unix socket.

Law: nothing that a client does or leaves undone keeps the mount from working: lines, clients and times are
bounded, and a client that goes away takes what it waits for with it.
"""

import contextlib
import logging
import math
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from mountdl.control.crowd import Crowd
from mountdl.control.messages import A_TURN, MAX_REQUEST, WHAT, Control, Json, decoded, encoded, failure, sections
from mountdl.errors import ExitStatus, MountdlError, UsageError, write_status

log = logging.getLogger(__name__)

MAX_CLIENTS = 32
PATIENCE = 10.0
"""Seconds for a request to arrive whole and for an answer to be taken."""
MAX_WAIT = 7 * 86400.0
_CROWDED = UsageError(f"{MAX_CLIENTS} commands wait for this mount already; end one, or try again later", ExitStatus.IO)


async def serve(
    control: Control, path: Path, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer clients on the socket *path* until cancelled. The directory of *path* keeps others out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        own = _bind(listening, path)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        clients = Crowd(MAX_CLIENTS)
        try:
            await trio.serve_listeners(partial(_client, control, clients), [listener], task_status=task_status)  # type: ignore[arg-type]
        finally:
            _unlink(path, own)


def _unlink(path: Path, own: os.stat_result) -> None:
    """Remove the socket *path* unless it is another daemon's than *own*: one that serves the same place by now."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), own):
            path.unlink()


def _bind(listening: socket.socket, path: Path) -> os.stat_result:
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(MAX_CLIENTS)
        return path.lstat()
    except OSError as error:
        raise UsageError(f"can't listen on {path}: {error.strerror or error}", write_status(error)) from error


async def _client(control: Control, clients: Crowd, stream: trio.SocketStream) -> None:
    """Serve one client; whatever goes wrong with it stays with it."""
    client = trio.CancelScope()
    async with stream:
        try:
            if not _same_user(stream):
                return
            if clients.enter(client):
                with client:
                    await _converse(control, stream, partial(clients.answering, client))
            else:
                with trio.move_on_after(PATIENCE):
                    await stream.send_all(encoded(failure(_CROWDED)))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            log.debug("a client of the control socket went away")
        finally:
            clients.leave(client)


def _same_user(stream: trio.SocketStream) -> bool:
    # socket(7), SO_PEERCRED: struct ucred is pid, uid, gid of who connected.
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", bytes(credentials))
    return uid in {0, os.geteuid()}


async def _converse(
    control: Control, stream: trio.SocketStream, answering: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    pending = bytearray()
    while (line := await _line(stream, pending)) is not None:
        with answering():
            answer = await _while_connected(control, line, stream)
            if answer is None:
                return
            with trio.fail_after(PATIENCE):
                await stream.send_all(await _in_turns(answer))


async def _in_turns(answer: Json) -> bytes:
    """Return *answer* as a line, while others get turns."""
    parts = []
    for number, section in enumerate(sections(answer)):
        if number % A_TURN == 0:
            await trio.lowlevel.checkpoint()
        parts.append(section)
    return "".join(parts).encode()


async def _line(stream: trio.SocketStream, pending: bytearray) -> bytes | None:
    """Return the next line, or None when the client is done, too slow or says too much."""
    with trio.move_on_after(PATIENCE):
        while b"\n" not in pending:
            data = await stream.receive_some(MAX_REQUEST)
            if not data or len(pending) + len(data) > MAX_REQUEST:
                return None
            pending += data
        line, _, rest = bytes(pending).partition(b"\n")
        pending[:] = rest
        return line
    return None


async def _while_connected(control: Control, line: bytes, stream: trio.SocketStream) -> Json | None:
    """Return the answer to *line*, or None when the client hung up before there was one."""
    answer: Json | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_hung_up, stream, nursery.cancel_scope)
        answer = await _answered(control, line)
        nursery.cancel_scope.cancel()
    return answer


async def _until_hung_up(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    # Peek: a client that sends its next request early must not lose it.
    with contextlib.suppress(OSError):
        while await stream.socket.recv(1, socket.MSG_PEEK):  # noqa: ASYNC110  # a request that waits stays readable
            await trio.sleep(1.0)
    scope.cancel()


async def _answered(control: Control, line: bytes) -> Json:
    try:
        return {"result": await _obeyed(control, decoded(line))}
    except MountdlError as error:
        return failure(error)
    except Exception:
        log.exception("control request: a defect of mountdl")
        return {"error": "a defect of mountdl; its log has the details", "exit_status": int(ExitStatus.UNKNOWN)}


async def _obeyed(control: Control, request: Json) -> Json:
    verb = request.get("verb")
    if verb == "status":
        path = request.get("path")
        return await control.status(None if path is None else _path(request), brief=request.get("brief") is True)
    if verb == "why":
        return control.why(_path(request))
    if verb == "want":
        await control.want(_path(request), _what(request), _timeout(request))
        return {}
    if verb == "shutdown":
        control.shutdown()
        return {}
    raise UsageError(f"there is no verb {verb!r}")


def _path(request: Json) -> str:
    path = request.get("path")
    if not isinstance(path, str) or "\0" in path:
        raise UsageError("path must be a text")
    return path


def _what(request: Json) -> str:
    what = request.get("what")
    if what not in WHAT:
        raise UsageError(f"what must be {' or '.join(WHAT)}")
    return str(what)


def _timeout(request: Json) -> float:
    timeout = request.get("timeout")
    if timeout is None:
        return MAX_WAIT
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not math.isfinite(timeout) or timeout < 0:
        raise UsageError("timeout must be a number of seconds")
    return min(float(timeout), MAX_WAIT)
