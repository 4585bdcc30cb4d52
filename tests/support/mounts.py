"""Real mounts by the real commands, with a time limit on everything and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.mold import mold

T = TypeVar("T")

needs_fuse = [
    pytest.mark.fuse,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="there is no /dev/fuse to use"),
]
LONGEST = 90.0
"""Seconds that any one command or read of these tests may take; none should need two but on a busy machine."""
GOING = 60.0
"""Seconds that a daemon gets to end."""


def command(*arguments: object) -> list[str]:
    """Return the command line of `mountdl ARGUMENTS`."""
    return [sys.executable, "-m", "mountdl", *map(str, arguments)]


def run(*arguments: object, timeout: float = LONGEST) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; subprocess.TimeoutExpired when that takes too long."""
    return subprocess.run(
        list(map(str, arguments)),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def mountdl(*arguments: object, timeout: float = LONGEST) -> subprocess.CompletedProcess[str]:
    """Run `mountdl ARGUMENTS`."""
    return run(*command(*arguments), timeout=timeout)


def copied(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `mountdl ARGUMENTS` in a process that need not begin with Python, which saves 0.3 s."""
    return mold().run(list(map(str, arguments)), LONGEST)


def within(seconds: float, act: Callable[[], T]) -> T:
    """Return what *act* does, or raise what it raises, or AssertionError when it takes more than *seconds*.

    It runs in a thread: one that hangs in the kernel is left to the end of its mount. Not for touching
    mapped files, which stops all threads of a Python process, the mirrors' too.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def body() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=body, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"it took more than {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def eventually(seconds: float, condition: Callable[[], T]) -> T:
    """Return the first truth of *condition*, asked every 20 ms.

    It should come within *seconds*. A machine that is busy is late, so AssertionError comes after LONGEST at least.
    """
    patience = max(seconds, LONGEST)
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"it did not come true within {patience:g} s: {found!r}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Say whether process *pid* runs; one that only waits to be collected does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}


def hands_of(pid: int) -> list[int]:
    """Return the processes that *pid* has hash for it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == pid and name == "mountdl-hand":
            found.append(int(stat.parent.name))
    return found


def mounted_on(path: Path) -> bool:
    """Say whether something is mounted there. Asks no mount."""
    return any(line.split(" ")[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def cold_read(path: Path, offset: int, length: int) -> bytes:
    """Read once, with as little readahead as the kernel can be told."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


@dataclass
class Mount:
    """A mount of *source* on *path* by the daemon *pid*, with its store in *cache* and its messages in *log*."""

    source: Path
    path: Path
    cache: Path
    log: Path
    pid: int
    took: float
    """Seconds from the command to its exit 0."""

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str, offset: int = 0, length: int = -1, timeout: float = LONGEST) -> bytes:
        """Return bytes of a file; AssertionError when that takes more than *timeout* seconds."""
        path = self.path / name
        return within(timeout, (lambda: cold_read(path, offset, length)) if length >= 0 else path.read_bytes)

    def errno(self, name: str, offset: int = 0, length: int = 4096, timeout: float = LONGEST) -> int:
        """Return what number reading ends with, 0 for success."""
        try:
            self.read(name, offset, length, timeout)
        except OSError as error:
            return error.errno or -1
        return 0

    def status(self) -> dict[str, Any]:
        """Return what `mountdl status --json` says of it."""
        done = mountdl("status", "--json", self.path)
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)["mounts"][0]
        return document

    def file(self, name: str) -> dict[str, Any]:
        """Return what `mountdl status --json` says of one file."""
        done = mountdl("status", "--json", self.path / name)
        assert done.returncode == 0, done.stderr
        [told] = json.loads(done.stdout)["mounts"][0]["files"]
        return told  # type: ignore[no-any-return]

    def why(self, name: str) -> str:
        """Return what `mountdl why` says of a file."""
        done = mountdl("why", self.path / name)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def xattr(self, name: str, attribute: str) -> str:
        """Return user.mountdl.*attribute*."""
        return within(LONGEST, lambda: os.getxattr(self.path / name, f"user.mountdl.{attribute}")).decode()

    def data_files(self) -> list[Path]:
        """Return the data files of its store."""
        return sorted((self.cache / "contents").rglob("*.data"))

    def unmount(self) -> None:
        """Run `mountdl unmount`, which must work and leave no daemon."""
        done = mountdl("unmount", self.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not lives(self.pid)
        assert not mounted_on(self.path)

    def kill(self) -> None:
        """Kill the daemon as kill -9 does; its mount stays, dead."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(GOING, lambda: not lives(self.pid))


@dataclass
class Mounts:
    """Makes mounts below *home* by *command*, and takes them away."""

    home: Path
    command: Callable[..., subprocess.CompletedProcess[str]] = copied
    made: list[Mount] = field(default_factory=list)

    def place(self) -> Path:
        """Return a fresh empty directory to mount on."""
        path = self.home / f"mnt{len(list(self.home.glob('mnt*')))}"
        path.mkdir()
        return path

    def __call__(self, source: Path, *, cache: Path | None = None, on: Path | None = None, **options: object) -> Mount:
        """Mount; *options* are those of the command with "_" for "-". AssertionError when it does not work."""
        path, cache = on or self.place(), cache or self.home / "cache"
        log = self.home / f"{path.name}.log"
        given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        start = time.monotonic()
        done = self.command("mount", "--cache-dir", cache, "--log", log, *given, source, path)
        took = time.monotonic() - start
        assert done.returncode == 0, f"{done.stderr}{log.read_text() if log.exists() else ''}"
        mount = Mount(source, path, cache, log, daemon_of(path), took)
        self.made.append(mount)
        return mount

    def end(self) -> None:
        """Take all mounts away. AssertionError when a daemon stays, or told of a defect of its own."""
        for path in (mount.path for mount in self.made):
            while mounted_on(path):
                run("umount", "-l", path)
            with contextlib.suppress(OSError):
                # A container that began meanwhile took a copy along, for which the daemon stays. Copies go with the
                # folder that they are mounted on.
                path.rmdir()
        left = [mount.pid for mount in self.made if not _ended(mount.pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == [], "daemons stayed after their mounts had gone"
        for mount in self.made:
            said = mount.log.read_text() if mount.log.exists() else ""
            assert "Traceback" not in said, said
            assert "defect of mountdl" not in said, said


def _ended(pid: int) -> bool:
    with contextlib.suppress(AssertionError):
        return eventually(GOING, lambda: not lives(pid))
    return False


def daemon_of(path: Path) -> int:
    """Return the process that serves the mount on *path*."""
    done = mountdl("status", "--json", path)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["mounts"][0]["pid"])
