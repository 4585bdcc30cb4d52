"""A place that mounts what belongs there when somebody looks, as systemd's x-systemd.automount makes it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounts import LONGEST

_READY, _FAIL, _CATATONIC = 0x9360, 0x9361, 0x9362
# linux/auto_fs.h, autofs_v5_packet: header (version, type), token, dev, ino, five numbers, a name.
_PACKET = struct.Struct("@iiIIQIIIII256s4x")

needs_autofs = pytest.mark.skipif(
    os.geteuid() != 0 or "\tautofs\n" not in Path("/proc/filesystems").read_text(),
    reason="only root can mount autofs, where the kernel has it",
)

_HELPER = "import sys; from mountdl.__main__ import mount_helper; sys.argv[0] = 'mount.mountdl'; mount_helper()"


def helper(*arguments: object) -> list[str]:
    """Return the command line of `mount.mountdl ARGUMENTS`."""
    return [sys.executable, "-c", _HELPER, *map(str, arguments)]


@contextlib.contextmanager
def automount(
    place: Path, line: list[str], inside: str | None = None
) -> Iterator[list[subprocess.CompletedProcess[str]]]:
    """Run *line* when somebody outside our process group looks at *place*; yield the list of what became of it.

    Until *line* has ended, only processes of our group can look at *place*: others wait for that. With *inside* it is
    the folder of that name in *place* that they look at, made as they do: so does automount(8), systemd the former.
    """
    hears, tells = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    options = f"fd={tells},pgrp={os.getpgrp()},minproto=5,maxproto=5,{'direct' if inside is None else 'indirect'}"
    _call("mount", b"mountdl-test", os.fsencode(place), b"autofs", ctypes.c_ulong(0), options.encode())
    os.close(tells)
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    ran: list[subprocess.CompletedProcess[str]] = []

    def act() -> int:
        if inside is not None:
            (place / inside).mkdir(exist_ok=True)
        ran.append(_run(line))
        return ran[-1].returncode

    thread = threading.Thread(target=_serve, args=(hears, root, act), daemon=True)
    thread.start()
    try:
        yield ran
    finally:
        fcntl.ioctl(root, _CATATONIC, 0)  # who waits still is let go
        os.close(root)
        _call("umount2", os.fsencode(place), 2)
        thread.join(LONGEST)
        os.close(hears)


def _serve(hears: int, root: int, act: Callable[[], int]) -> None:
    """Answer requests until the autofs is gone, which closes the other end of the pipe."""
    while packet := os.read(hears, 4096):
        answer = _FAIL
        try:
            answer = _READY if act() == 0 else _FAIL
        finally:
            fcntl.ioctl(root, answer, _PACKET.unpack_from(packet)[2])


def _run(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, capture_output=True, text=True, timeout=LONGEST, stdin=subprocess.DEVNULL, check=False)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
