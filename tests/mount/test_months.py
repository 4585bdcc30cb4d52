"""What happens to a mount that stays for months: names that go under readers, other ways to it, much of everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mountdl.filesystem.mount import NAMES_LOOK
from tests.support.content import pattern
from tests.support.mirrors import Mirrors, paced
from tests.support.mounts import LONGEST, Mounts, eventually, lives, mounted_on, needs_fuse, run, within
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

FILM = pattern(2 * MIB, seed=7)
# The C library's read, for Python's own asks again by itself when a signal, or what looks like one, interrupted it.
READ = """
import ctypes, mmap, os, sys
buffer = mmap.mmap(-1, 4096)
place = ctypes.addressof((ctypes.c_char * 4096).from_buffer(buffer))
libc = ctypes.CDLL(None, use_errno=True)
libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
print("open", flush=True)
sys.stdin.readline()
print(libc.pread(fd, place, 4096, 1 << 20), ctypes.get_errno())
"""


@contextmanager
def reader(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that has *path* open and reads once it gets a line."""
    command = [sys.executable, "-S", "-c", READ, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert within(LONGEST, process.stdout.readline) == "open\n"
            yield process
        finally:
            process.kill()


def test_a_reader_waits_on_though_the_name_is_gone(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Its descriptor was removed and somebody looked for the file: who has it open still reads it."""
    mirror = mirrors.add("slow", {"film": FILM}, paced(None, latency=2.0))
    publish(source, "film", FILM, [mirror.of("film")])
    mount = mounted(source)
    with reader(mount / "film") as process:
        next(source.iterdir()).unlink()
        eventually(20, lambda: not (mount / "film").exists())
        assert within(LONGEST, lambda: process.communicate("read\n"))[0] == "4096 0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may bind a mount")
def test_a_reader_waits_by_another_path(mirrors: Mirrors, mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """As in a container: the file has a path there that the mount knows nothing of."""
    mirror = mirrors.add("slow", {"film": FILM}, paced(None, latency=2.0))
    publish(source, "film", FILM, [mirror.of("film")])
    mount = mounted(source)
    other = tmp_path / "other"
    other.mkdir()
    assert run("mount", "--bind", mount.path, other).returncode == 0
    try:
        with reader(other / "film") as process:
            assert within(LONGEST, lambda: process.communicate("read\n"))[0] == "4096 0\n"
    finally:
        run("umount", "-l", other)


def test_names_that_went_and_come_again(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """What the kernel was told to forget is found again, also by who stands in its folder or has that open."""
    mirror = mirrors.add("mirror", {"film": FILM})
    for name in ("folder/a", "folder/b", "c"):
        publish(source, name, FILM, [mirror.of("film")])
    mount = mounted(source)
    assert FILM == mount.read("folder/a")
    folder = os.open(mount / "folder", os.O_RDONLY | os.O_DIRECTORY)
    stander = subprocess.Popen(["sleep", "100"], cwd=mount / "folder")
    try:
        assert sorted(os.listdir(folder)) == ["a", "b"]
        for each in source.rglob("*.meta4"):
            each.unlink()
        eventually(20, lambda: os.listdir(mount.path) == [])
        time.sleep(NAMES_LOOK + 1)
        for name in ("folder/a", "folder/b", "c"):
            publish(source, name, FILM, [mirror.of("film")])
        eventually(20, lambda: (mount / "folder/b").exists())
        assert FILM == mount.read("folder/a") == mount.read("c")
    finally:
        os.close(folder)
        stander.kill()
        stander.wait(LONGEST)


def test_unmounted_and_mounted_again_at_once(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """As `systemctl restart` does: nobody need wait for the daemon before, which still puts its store on record."""
    mirror = mirrors.add("mirror", {"film": FILM})
    for number in range(20):
        publish(source, f"{number}", pattern(MIB, seed=number), [mirror.of("film")])
    publish(source, "film", FILM, [mirror.of("film")])
    place = mounted.place()
    for _ in range(3):
        mount = mounted(source, on=place)
        assert FILM == mount.read("film")
        assert run("fusermount3", "-u", place).returncode == 0


def test_mounted_again_while_a_file_is_open(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """The mount was taken away regardless (umount -l): its open files go on, and their daemon harms the new mount never."""
    mirror = mirrors.add("mirror", {"film": FILM, "other": FILM[1:]})
    publish(source, "film", FILM, [mirror.of("film")])
    publish(source, "other", FILM[1:], [mirror.of("other")])
    place = mounted.place()
    first = mounted(source, on=place)
    film = os.open(first / "film", os.O_RDONLY)
    try:
        assert run("fusermount3", "-u", "-z", place).returncode == 0
        second = mounted(source, on=place)
        assert second.pid != first.pid
        assert FILM[1:] == second.read("other")
        assert FILM == within(LONGEST, lambda: os.pread(film, len(FILM), 0))
        os.kill(first.pid, signal.SIGTERM)
        eventually(20, lambda: not lives(first.pid))
    finally:
        with suppress(OSError):  # its daemon is gone
            os.close(film)
    assert mounted_on(place)
    assert FILM[1:] == second.read("other")
    second.unmount()
