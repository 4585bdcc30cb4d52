"""`--cache-size`: files that are larger than the quota are read right, and the disk holds no more than it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.mirrors import Mirror, Mirrors, paced
from tests.support.mounts import LONGEST, Mounts, eventually, needs_fuse, run
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"
QUOTA = 8 * MIB
MARGIN = 8 * MIB
"""Far less than is promised (64 MiB): threads may have put 4 MiB, and one chunk each, that the loop has yet to count."""


def taken(cache: Path) -> int:
    total = 0
    for path in (cache / "contents").rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


@contextmanager
def watched(look: Callable[[], int]) -> Iterator[list[int]]:
    """Look every 20 ms while the block runs."""
    seen: list[int] = []
    ended = threading.Event()

    def body() -> None:
        while not ended.wait(0.02):
            seen.append(look())

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_a_file_larger_than_the_quota(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """It can be read from end to end, twice, and never takes more room than it may."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, cache_size=QUOTA)
    with watched(lambda: taken(mount.cache)) as seen:
        assert mount.read(NAME) == film_bytes
        run("sh", "-c", f"echo 1 > /proc/sys/vm/drop_caches; cmp {mount / NAME} {mount / NAME}")
        time.sleep(1.5)
        eventually(5, lambda: len(seen) > 20)

    assert max(seen) <= QUOTA + MARGIN


def at_rest(mirror: Mirror) -> bool:
    """Wait for three seconds; say whether *mirror* sent next to nothing meanwhile."""
    before = mirror.sent
    time.sleep(3)
    return mirror.sent - before < MIB


def test_background_work_does_not_go_in_circles(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """What can't be complete within the quota is not fetched again and again."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, cache_size=QUOTA, background="all")
    mount.read(NAME, 0, 5 * MIB)
    eventually(10, lambda: taken(mount.cache) > QUOTA // 2)
    eventually(10, lambda: at_rest(mirror))
    assert taken(mount.cache) <= QUOTA + MARGIN


def test_a_quota_of_less_than_a_chunk(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """It works, slowly; the file says so."""
    data = film_bytes[: 3 * MIB]
    mirror = mirrors.add("only", {NAME: data})
    publish(source, NAME, data, [mirror.of(NAME)])
    mount = mounted(source, cache_size="64K")

    assert mount.read(NAME) == data
    assert mount.read(NAME, 5, 100) == data[5:105]
    assert "--cache-size" in mount.why(NAME)


READER = """
import mmap, os, random, sys, time
path, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
original = open(sys.argv[4], "rb").read()
choice = random.Random(seed)
end = time.monotonic() + seconds
fd = os.open(path, os.O_RDONLY)
direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
page = mmap.mmap(-1, 1 << 20)
count = 0
while time.monotonic() < end or count < 40:
    length = min(int(2 ** choice.uniform(0, 20)), len(original))
    offset = choice.randrange(len(original) - length + 1)
    how = choice.randrange(4)
    if how == 0:
        got = os.pread(fd, length, offset)
    elif how == 1:
        got = mapped[offset : offset + length]
    elif how == 2:
        offset, length = offset // 4096 * 4096, max(4096, length // 4096 * 4096)
        got = page[: os.preadv(direct, [memoryview(page)[:length]], offset)]
        length = min(length, len(original) - offset)
    else:
        again = os.open(path, os.O_RDONLY)
        os.posix_fadvise(again, 0, 0, os.POSIX_FADV_DONTNEED)
        got = os.pread(again, length, offset)
        os.close(again)
    assert got == original[offset : offset + length], (how, offset, length)
    count += 1
print(count)
"""


def test_many_readers_while_chunks_come_and_go(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path
) -> None:
    """Random reads by read, mmap and O_DIRECT in three processes get the original's bytes, at a sixth of the room."""
    original = tmp_path / "original"
    original.write_bytes(film_bytes)
    mirror = mirrors.add("only", {NAME: film_bytes}, paced(100 * MIB))
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, cache_size=QUOTA)
    with watched(lambda: taken(mount.cache)) as seen:
        arguments = [sys.executable, "-c", READER, str(mount / NAME)]
        readers = [
            subprocess.Popen(
                [*arguments, str(seed), "6", str(original)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for seed in range(3)
        ]
        told = [reader.communicate(timeout=LONGEST) for reader in readers]

    assert [error for _, error in told] == ["", "", ""]
    assert sum(int(count) for count, _ in told) > 100
    assert max(seen) <= QUOTA + MARGIN
