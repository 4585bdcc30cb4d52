"""Ask a daemon something over its control socket."""

import math
import socket
import time
from pathlib import Path

from mountdl.control import mounttable
from mountdl.control.messages import MAX_ANSWER, Json, decoded, encoded, result
from mountdl.control.registry import Entry, Registry
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, UsageError

PATIENCE = 30.0
"""Seconds that a daemon gets for an answer that needs no waiting."""
_LOOK = 2.0
"""Seconds of silence after which a daemon is looked at: one that is stopped will not answer."""


def ask(entry: Entry, request: Json, *, timeout: float | None = PATIENCE) -> Json:
    """Return what the daemon of *entry* answers to *request*.

    Raises the UsageError that it tells, or one that says why there is no answer.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(min(_LOOK, max(until - time.monotonic(), 0.01)))
            connection.connect(entry.socket)
            connection.sendall(encoded(request))
            return result(decoded(_line(connection, entry, until)))
    except (TimeoutError, BlockingIOError) as error:
        # Connecting says EAGAIN where as many wait already as may, unix(7).
        raise UsageError(stopped(entry) or f"{_who(entry)} does not answer", ExitStatus.TIMEOUT) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise UsageError(f"{_who(entry)} is just starting or ending; ask again", ExitStatus.IO) from error
    except OSError as error:
        raise UsageError(f"{_who(entry)} is not reached: {error.strerror or error}", ExitStatus.IO) from error


def _line(connection: socket.socket, entry: Entry, until: float) -> bytes:
    parts: list[bytes] = []
    count = 0
    while data := _received(connection, entry, until):
        parts.append(data)
        count += len(data)
        if data.endswith(b"\n"):
            return b"".join(parts)
        if count > MAX_ANSWER:
            break
    raise OSError("it closed the connection without an answer")


def _received(connection: socket.socket, entry: Entry, until: float) -> bytes:
    while True:
        try:
            return connection.recv(1 << 16)
        except TimeoutError:
            if time.monotonic() >= until or stopped(entry):
                raise


def _who(entry: Entry) -> str:
    return f"the daemon of {shown(entry.mountpoint)} (process {entry.pid})"


def stopped(entry: Entry) -> str | None:
    """Return what to say of a daemon that was stopped, by a signal or by who debugs it; None of one that runs."""
    return f"{_who(entry)} is stopped: kill -CONT {entry.pid} lets it go on" if entry.state in {"T", "t"} else None


def locate(path: Path, registry: Registry) -> tuple[Entry, str]:
    """Return the mount that *path* is or lies in, and the path inside it ("" for the mount itself).

    Raises UsageError when no living mount has it.
    """
    for candidate in (mounttable.resolved(path), path.absolute()):
        entry = registry.serving(candidate)
        if entry is not None:
            inside = candidate.relative_to(entry.mountpoint)
            return entry, "" if inside == Path() else str(inside)
    mounted = mounttable.around(mounttable.resolved(path))
    if mounted is not None and mounted.ours and mounttable.dead(mounted.mountpoint):
        raise bereft(mounted.mountpoint)
    if mounted is not None and mounted.ours and (stranger := mounted.stranger):
        made = f"{shown(path)} is in a mount that {stranger} made: ask as {stranger}"
        raise UsageError(made, ExitStatus.NOT_FOUND)
    raise UsageError(f"{shown(path)} is not in a mount of mountdl that you run", ExitStatus.NOT_FOUND)


def bereft(mountpoint: Path) -> UsageError:
    """Return what to say of a mount whose daemon is gone."""
    where = shown(mountpoint)
    return UsageError(f"the daemon of {where} is dead: mount it again, or mountdl unmount {where}", ExitStatus.IO)


def locate_file(path: Path, registry: Registry) -> tuple[Entry, str]:
    """Return the mount and the path inside it of a file. UsageError when *path* is none."""
    entry, inside = locate(path, registry)
    if not inside:
        raise UsageError(f"{shown(path)} is a mount, not a file in one")
    return entry, inside
