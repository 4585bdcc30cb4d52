"""A mirror that says nothing holds up nobody but who waits for its bytes, and those no longer than promised."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.machine import patience, slowness
from tests.support.mirrors import Mirror, Mirrors, changing, dripping, honest, paced, stalling
from tests.support.mounts import LONGEST, Mount, Mounts, eventually, lives, needs_fuse, run, within
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

STUCK = pattern(9 * MIB, seed=1)
READ = "import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY | int(sys.argv[2])); print('go', flush=True); os.pread(fd, 4096, int(sys.argv[3]))"
Readers = list[subprocess.Popen[str]]
READ_MANY = """
import os, sys, threading
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
for i in range(int(sys.argv[2])):
    threading.Thread(target=os.pread, args=(fd, 4096, (4 << 20) + i * 12288)).start()
print("go", flush=True)
"""


@pytest.fixture
def readers() -> Iterator[list[subprocess.Popen[str]]]:
    """Keep readers in this list: they end with the test."""
    kept: list[subprocess.Popen[str]] = []
    yield kept
    for reader in kept:
        reader.kill()
        reader.communicate(timeout=LONGEST)


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a reader; return once it is about to read."""
    command = [sys.executable, "-S", "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert within(LONGEST, process.stdout.readline) == "go\n"
    return process


def killed(process: subprocess.Popen[str]) -> float:
    """Kill a reader; return the seconds until it was gone."""
    start = time.monotonic()
    process.send_signal(signal.SIGKILL)
    assert process.wait(LONGEST) == -signal.SIGKILL
    process.communicate()
    return time.monotonic() - start


@pytest.fixture
def stalled(mirrors: Mirrors, source: Path, film_bytes: bytes) -> Mirror:
    """Make a mirror that stalls for `stuck.bin`, and another that serves `fine.bin`."""
    stuck = mirrors.add("stuck", {"stuck.bin": STUCK}, changing([stalling(0)]))
    fine = mirrors.add("fine", {"fine.bin": film_bytes})
    publish(source, "stuck.bin", STUCK, [stuck.of("stuck.bin")])
    publish(source, "fine.bin", film_bytes, [fine.of("fine.bin")])
    return stuck


def waiting(mount: Mount) -> bool:
    return int(mount.file("stuck.bin")["readers"]) > 0


def prompt(mount: Mount, data: bytes) -> None:
    """Names, attributes and another file's bytes come at once."""
    start = time.monotonic()
    listed = run("ls", "-l", mount.path)
    assert "stuck.bin" in listed.stdout
    assert run("stat", mount / "stuck.bin").returncode == 0
    assert mount.read("fine.bin", 7 * MIB, 4096) == data[7 * MIB : 7 * MIB + 4096]
    assert time.monotonic() - start < patience(5)


@pytest.mark.parametrize("flag", [0, os.O_DIRECT], ids=["buffered", "direct"])
def test_every_read_ends_within_the_read_timeout(
    stalled: Mirror, mounted: Mounts, film_bytes: bytes, flag: int
) -> None:
    """EIO after --read-timeout, whatever the mirror's own time-out; the kernel trying again does not double it."""
    mount = mounted(mounted.home / "source", read_timeout=5, timeout=60)

    def read() -> int:
        fd = os.open(mount / "stuck.bin", os.O_RDONLY | flag)
        try:
            os.preadv(fd, [memoryview(bytearray(4096))], 0) if not flag else direct(fd)
        except OSError as error:
            return error.errno or -1
        finally:
            os.close(fd)
        return 0

    start = time.monotonic()
    assert within(LONGEST, read) == errno.EIO
    assert 4.5 < time.monotonic() - start < 5 + 4.5 * slowness()
    assert "did not arrive within 5 s" in mount.xattr("stuck.bin", "error")


def test_hundreds_of_reads_of_one_open_file_end_in_time(stalled: Mirror, mounted: Mounts, readers: Readers) -> None:
    """All fail together, and the kernel asks again for each."""
    mount = mounted(mounted.home / "source", read_timeout=8, timeout=60)
    readers.append(started(READ_MANY, mount / "stuck.bin", 200))
    start = time.monotonic()
    readers[0].wait(LONGEST)
    assert time.monotonic() - start < 8 + 7 * slowness()


def direct(fd: int) -> None:
    import mmap

    with mmap.mmap(-1, 4096) as page:
        os.preadv(fd, [page], 0)


def test_nobody_else_waits(stalled: Mirror, mounted: Mounts, film_bytes: bytes, readers: Readers) -> None:
    """While eight readers hang on a stalled mirror."""
    mount = mounted(mounted.home / "source", timeout=60)
    readers += [started(READ, mount / "stuck.bin", 0, at * MIB) for at in range(8)]
    eventually(5, lambda: waiting(mount))

    prompt(mount, film_bytes)
    assert all(reader.poll() is None for reader in readers)
    for reader in readers:
        killed(reader)


@pytest.mark.parametrize("flag", [0, os.O_DIRECT], ids=["buffered", "direct"])
def test_a_killed_reader_dies_at_once(
    stalled: Mirror, mounted: Mounts, film_bytes: bytes, readers: Readers, flag: int
) -> None:
    """And nothing waits for its bytes any more."""
    mount = mounted(mounted.home / "source", timeout=60)
    reader = started(READ, mount / "stuck.bin", flag, MIB)
    readers.append(reader)
    eventually(5, lambda: stalled.asked)

    assert killed(reader) < patience(5)
    eventually(5, lambda: not waiting(mount) and mount.file("stuck.bin")["readers"] == 0)
    prompt(mount, film_bytes)


def test_a_mount_that_is_gone_keeps_no_daemon(stalled: Mirror, mounted: Mounts, readers: Readers) -> None:
    """A read of a killed reader waits for nobody once it is unmounted, whoever has a file of that name open elsewhere."""
    mount = mounted(mounted.home / "source", timeout=300, read_timeout=300)
    (namesake := mounted.home / "stuck.bin").touch()
    reader = started(READ, mount / "stuck.bin", 0, MIB)
    readers.append(reader)
    eventually(5, lambda: stalled.asked)
    with namesake.open("rb"):
        killed(reader)
        eventually(5, lambda: run("umount", mount.path).returncode == 0)
        eventually(5, lambda: not lives(mount.pid))


def test_hundreds_of_killed_readers(stalled: Mirror, mounted: Mounts, film_bytes: bytes, readers: Readers) -> None:
    """Three times 200 reads that hang, killed: the mount serves on, and the file when its mirror does."""
    manners = [stalling(0)]
    stalled.manner = changing(manners)
    mount = mounted(mounted.home / "source", timeout=60)
    for _ in range(3):
        reader = started(READ_MANY, mount / "stuck.bin", 200)
        readers.append(reader)
        time.sleep(0.5)
        prompt(mount, film_bytes)
        assert killed(reader) < patience(5)
    eventually(8, lambda: mount.file("stuck.bin")["readers"] == 0 and not waiting(mount))

    manners.append(honest)
    assert mount.read("stuck.bin", 4 * MIB, MIB) == STUCK[4 * MIB : 5 * MIB]
    prompt(mount, film_bytes)


def test_a_mirror_that_drips(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """A few bytes a second are never silence: a read still ends in time, and another mirror takes over."""
    drip = mirrors.add("drip", {"drip.bin": STUCK}, dripping)
    publish(source, "drip.bin", STUCK, [drip.of("drip.bin")])
    mount = mounted(source, read_timeout=5)
    start = time.monotonic()
    assert mount.errno("drip.bin", 0, 4096) == errno.EIO
    assert time.monotonic() - start < patience(6)

    good = mirrors.add("good", {"drip.bin": STUCK})
    publish(source, "drip.bin", STUCK, [drip.of("drip.bin"), good.of("drip.bin")])
    eventually(3, lambda: "/good/" in mount.xattr("drip.bin", "sources"))
    assert mount.read("drip.bin") == STUCK


def test_a_mapped_page_that_can_not_be_had(stalled: Mirror, mounted: Mounts, film_bytes: bytes) -> None:
    """Kills its reader with SIGBUS in time, as every file system does, and nothing else."""
    mount = mounted(mounted.home / "source", read_timeout=8)
    code = "import mmap, sys; f = open(sys.argv[1], 'rb'); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[5]"
    start = time.monotonic()
    done = run(sys.executable, "-S", "-c", code, mount / "stuck.bin")

    assert done.returncode == -signal.SIGBUS
    assert time.monotonic() - start < 8 + 14 * slowness()  # the kernel asks three times for a mapped page
    prompt(mount, film_bytes)


def test_a_reader_that_inherited_its_file(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Who opened it is gone, as in `exec <FILE` of a shell that ends; a slow mirror's bytes still reach the other."""
    data = pattern(MIB, seed=7)
    slow = mirrors.add("slow", {"slow.bin": data}, paced(None, latency=1.5))
    publish(source, "slow.bin", data, [slow.of("slow.bin")])
    mount = mounted(source)
    done = run("sh", "-c", 'exec 3<"$0"; sha256sum <&3 & exit 0', mount / "slow.bin")

    assert (done.stdout.split()[:1], done.stderr) == ([hashlib.sha256(data).hexdigest()], "")


def test_many_that_read_one_page_wait_no_longer_than_one(
    stalled: Mirror, mounted: Mounts, source: Path, readers: Readers
) -> None:
    """The kernel has them wait for each other's page; each then asked anew, one after another: ten took ten time-outs."""
    mount = mounted(source, read_timeout=3)
    start = time.monotonic()
    readers += [started(READ, mount / "stuck.bin", 0, 4 << 20) for _ in range(6)]
    for reader in readers:
        reader.wait(LONGEST)
    assert time.monotonic() - start < 3 + 12 * slowness()
