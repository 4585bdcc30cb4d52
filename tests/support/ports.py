"""Ports of loopback that stay free until a server of a test takes them.

The kernel gives one of `ip_local_port_range` to whoever connects or asks for any. A port from there can be gone before
a server listens on it, and while none does, a client that asks for it can end up connected to itself. So these are
from below that range, and none is given twice.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

LOWEST = 10_000
PATIENCE = 60.0
"""Seconds that a server gets to listen."""


def _numbers() -> Iterator[int]:
    try:
        above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        above = 32_768
    if above - LOWEST < 1000:
        return itertools.repeat(0)
    # Where each process begins is left to chance: tests of several checkouts may run side by side.
    start = random.Random(os.urandom(8)).randrange(above - LOWEST)
    return (LOWEST + (start + step) % (above - LOWEST) for step in itertools.count())


_next = _numbers()


def free_port() -> int:
    """Return a port that is free for TCP and UDP, and that nobody gets by asking for any."""
    while True:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            number = next(_next)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
                probe.bind(("", number))
                number = probe.getsockname()[1]
            return number


def await_port(process: subprocess.Popen[bytes], port: int, host: str = "127.0.0.1") -> None:
    """Return once something listens on *port*; RuntimeError when *process* ended before, or takes more than a minute."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
            return
        time.sleep(0.01)
    ended = "runs" if process.returncode is None else f"ended with status {process.returncode}"
    raise RuntimeError(f"{Path(str(process.args[0])).name} does not listen on port {port}; it {ended}")  # type: ignore[index]


def end(process: subprocess.Popen[bytes]) -> None:
    """Have *process* end; kill it if it takes more than ten seconds."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)
