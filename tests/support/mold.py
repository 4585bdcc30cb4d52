"""Mounting without starting Python anew for each mount: a process that imported mountdl, of which each is a copy.

To start and to import take 0.3 s of the 0.4 that `mountdl mount` takes, and there are hundreds of mounts. The mold has
imported what every mount imports, has no threads and never mounts itself. A copy does what `python -m mountdl` would,
with the arguments, environment, folder, umask and limit of files of whoever asks. What starts by itself, as users start
it, is for test_starting.py.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

LONGEST_ORDER = 1 << 20
IMPORTED = "mountdl.app", "mountdl.control.cli", "mountdl.control.mounting"


@dataclass
class Mold:
    """The process, and where it is asked."""

    process: subprocess.Popen[bytes]
    asked: socket.socket

    def run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run `mountdl ARGUMENTS` to its end; subprocess.TimeoutExpired when that takes too long."""
        order = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask()}
        order["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, ours:
            with theirs:
                streams = [theirs.fileno(), out.fileno(), err.fileno()]
                socket.send_fds(self.asked, [json.dumps(order).encode()], streams)
            ours.settimeout(timeout)
            try:
                pid = int(ours.recv(100))
                status = ours.recv(100)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            assert status, "the mold has lost a copy"
            told = [Path(f"/proc/self/fd/{each.fileno()}").read_text() for each in (out, err)]
        return subprocess.CompletedProcess(["mountdl", *arguments], int(status), *told)

    def end(self) -> None:
        """Have it end; what it was copied to goes on."""
        self.asked.close()
        self.process.wait()


@cache
def mold() -> Mold:
    """Return the mold of this process; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST_ORDER)
        process = subprocess.Popen([sys.executable, "-m", __name__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    made = Mold(process, ours)
    atexit.register(made.end)
    return made


def umask() -> int:
    """Return this process's."""
    os.umask(found := os.umask(0o077))
    return found


def serve(asked: socket.socket) -> None:
    """Make a copy for each order, until nobody can ask any more."""
    for name in IMPORTED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a copy is not this process
    while True:
        order, descriptors, _, _ = socket.recv_fds(asked, LONGEST_ORDER, 3)
        if not order:
            return
        if os.fork() == 0:
            asked.close()
            tend(json.loads(order), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def tend(order: dict[str, Any], answer: int, out: int, err: int) -> NoReturn:
    """Make the copy, and tell which process it is and what it ended with."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    copy = os.fork()
    if copy == 0:
        os.close(answer)
        become(order, out, err)
    os.write(answer, b"%d" % copy)
    _, status = os.waitpid(copy, 0)
    with contextlib.suppress(OSError):
        os.write(answer, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(order: dict[str, Any], out: int, err: int) -> NoReturn:
    """Be `mountdl` with the arguments that *order* names."""
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ |= order["environment"]
    os.chdir(order["folder"])
    os.umask(order["umask"])
    resource.setrlimit(resource.RLIMIT_NOFILE, order["files"])
    sys.argv = ["mountdl", *order["arguments"]]
    status = 1
    try:
        from mountdl.__main__ import main

        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
