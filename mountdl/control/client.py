"""Ask a daemon something over its control socket."""

import socket
from pathlib import Path

from mountdl.control import mounttable
from mountdl.control.messages import MAX_ANSWER, Json, decoded, encoded, result
from mountdl.control.registry import Entry, Registry
from mountdl.control.text import shown
from mountdl.errors import ExitStatus, UsageError

PATIENCE = 30.0
"""Seconds that a daemon gets for an answer that needs no waiting."""


def ask(entry: Entry, request: Json, *, timeout: float | None = PATIENCE) -> Json:
    """Return what the daemon of *entry* answers to *request*.

    Raises the UsageError that it tells, or one that says why there is no answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(entry.socket)
            connection.sendall(encoded(request))
            return result(decoded(_line(connection)))
    except TimeoutError as error:
        raise UsageError(
            f"the daemon of {shown(entry.mountpoint)} (process {entry.pid}) does not answer", ExitStatus.TIMEOUT
        ) from error
    except OSError as error:
        raise UsageError(
            f"the daemon of {shown(entry.mountpoint)} (process {entry.pid}) is not reached: {error.strerror or error}",
            ExitStatus.IO,
        ) from error


def _line(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    count = 0
    while data := connection.recv(1 << 16):
        parts.append(data)
        count += len(data)
        if data.endswith(b"\n"):
            return b"".join(parts)
        if count > MAX_ANSWER:
            break
    raise OSError("it closed the connection without an answer")


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
        where = shown(mounted.mountpoint)
        raise UsageError(f"the daemon of {where} is dead: mount it again, or mountdl unmount {where}", ExitStatus.IO)
    raise UsageError(f"{shown(path)} is not in a mount of mountdl that you run", ExitStatus.NOT_FOUND)


def locate_file(path: Path, registry: Registry) -> tuple[Entry, str]:
    """Return the mount and the path inside it of a file. UsageError when *path* is none."""
    entry, inside = locate(path, registry)
    if not inside:
        raise UsageError(f"{shown(path)} is a mount, not a file in one")
    return entry, inside
