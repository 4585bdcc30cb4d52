"""Every byte through a mount is the original's, however it is read and whatever the mirrors do."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.mirrors import Mirrors, deaf, dying, lying, paced, stalling
from tests.support.mounts import LONGEST, Mount, Mounts, command, daemon_of, needs_fuse, run, within
from tests.support.samples import CHUNK, MIB, publish

pytestmark = needs_fuse

READER = """
import mmap, os, random, sys
kind, path, original, seed = sys.argv[1:]
want = open(original, "rb").read()
size, step = len(want), 64 << 10
fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if kind == "direct" else 0))
assert os.fstat(fd).st_size == size
if kind == "reversed":
    for at in range((size - 1) // step * step, -1, -step):
        assert os.pread(fd, step, at) == want[at : at + step], at
elif kind == "random":
    chance = random.Random(int(seed))
    for _ in range(150):
        at, length = chance.randrange(size), chance.choice((1, 4096, 65536, 300_000))
        assert os.pread(fd, length, at) == want[at : at + length], (at, length)
elif kind == "mapped":
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:
        for at in (size - 1, 0, size // 2, *range(0, size, 999_983)):
            assert view[at : at + 5000] == want[at : at + 5000], at
        assert bytes(view) == want
elif kind == "direct":
    buffer = mmap.mmap(-1, 1 << 20)
    for at in range(0, size, 1 << 20):
        length = os.preadv(fd, [buffer], at)
        assert buffer[:length] == want[at : at + (1 << 20)], at
print("equal")
"""
"""A reader of its own process: mapped pages would stop the mirrors' thread in ours."""


def reader(kind: str, path: Path, original: Path, seed: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READER, kind, str(path), str(original), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    try:
        said, complained = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert (process.returncode, complained) == (0, "")
    return said


@pytest.fixture
def hostile(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path) -> Mount:
    """Mount `film.bin`, its original beside it, of a liar, a staller, a deaf, a dying and an honest mirror."""
    data = film_bytes[: 11 * MIB + 777]
    files = {"film.bin": data}
    (tmp_path / "film.bin").write_bytes(data)
    bad = [
        mirrors.add("liar", files, lying(CHUNK, 4, rate=8 * MIB)),
        mirrors.add("staller", files, stalling(MIB)),
        mirrors.add("deaf", files, deaf),
        mirrors.add("mortal", files, dying(3 * MIB)),
    ]
    good = mirrors.add("honest", files, paced(4 * MIB))
    publish(source, "film.bin", data, [mirror.of("film.bin") for mirror in [*bad, good]])
    return mounted(source, timeout=2, retry_wait=0.3)


def test_cmp_from_start_to_end(hostile: Mount) -> None:
    """cmp(1) finds no difference, and why names the liar."""
    done = run("cmp", hostile / "film.bin", hostile.path.parent / "film.bin")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = hostile.why("film.bin")
    assert [line for line in told.splitlines() if "/liar/" in line and "wrong bytes for chunk" in line], told
    assert [line for line in told.splitlines() if "wrong bytes" in line and "/liar/" not in line] == []
    assert "/mortal/film.bin: closed the connection" in told


@pytest.mark.parametrize("kind", ["reversed", "mapped", "direct"])
def test_other_ways_to_read(hostile: Mount, kind: str) -> None:
    """Reversed in steps of 64 KiB, mapped into memory, past the page cache."""
    assert ended(reader(kind, hostile / "film.bin", hostile.path.parent / "film.bin")) == "equal\n"


def test_eight_readers_at_random_offsets(hostile: Mount) -> None:
    """Eight processes, 150 reads of 1 byte to 300 kB each."""
    original = hostile.path.parent / "film.bin"
    readers = [reader("random", hostile / "film.bin", original, seed) for seed in range(8)]

    assert [ended(each) for each in readers] == ["equal\n"] * 8


def test_readers_of_one_place_cost_one_fetch(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, tmp_path: Path
) -> None:
    """Eight that read the same file at once have the mirror send it once."""
    original = tmp_path / "film.bin"
    original.write_bytes(film_bytes)
    mirror = mirrors.add("honest", {"film.bin": film_bytes})
    publish(source, "film.bin", film_bytes, [mirror.of("film.bin")])
    mount = mounted(source)
    comparing = [
        subprocess.Popen(
            ["cmp", mount / "film.bin", original], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]

    assert [ended(each) for each in comparing] == [""] * 8
    assert mirror.sent < 1.1 * len(film_bytes)


def test_offsets_at_the_edges(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """The last byte, beyond the end, across chunks; files of no byte and of one."""
    data = bytes(random.Random(5).randbytes(3 * CHUNK + 1))
    files = {"odd.bin": data, "one": b"1"}
    mirror = mirrors.add("honest", files)
    for name, content in {**files, "none": b""}.items():
        publish(source, name, content, [mirror.of(name)])
    mount = mounted(source, background="off")

    assert mount.read("odd.bin", len(data) - 1, 10) == data[-1:]
    assert mount.read("odd.bin", len(data), 10) == b""
    assert mount.read("odd.bin", len(data) + 100_000, 10) == b""
    assert mount.read("odd.bin", CHUNK - 1, 2) == data[CHUNK - 1 : CHUNK + 1]
    assert mount.read("odd.bin", 2 * CHUNK - 5, CHUNK + 6) == data[2 * CHUNK - 5 :]
    assert mount.read("none") == b""
    assert mount.read("one") == b"1"


def test_more_files_than_may_be_open(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Read one after the other, and all kept open: the daemon raises the limit that it was begun with."""
    files = {f"{number}.bin": pattern(1000, seed=number) for number in range(60)}
    mirror = mirrors.add("only", files)
    for name, data in files.items():
        publish(source, name, data, [mirror.of(name)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        mount = mounted(source)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with ExitStack() as stack:
        for name, data in files.items():
            opened = stack.enter_context((mount / name).open("rb"))
            assert within(LONGEST, opened.read) == data


def test_a_hard_limit_of_few_files(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """It is told with the remedy, and many more files than may be open are read, some of them at once."""
    files = {f"{number}.bin": pattern(30_000, seed=number) for number in range(60)}
    mirror = mirrors.add("only", files)
    for name, data in files.items():
        publish(source, name, data, [mirror.of(name)])
    path, cache, log = mounted.place(), mounted.home / "cache", mounted.home / "few.log"
    line = command("mount", "--cache-dir", cache, "--log", log, source, path)
    done = run("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *line)
    assert done.returncode == 0, done.stderr
    mounted.made.append(mount := Mount(source, path, cache, log, daemon_of(path), 0.0))
    assert "only 64 files may be open here" in done.stderr

    with ThreadPoolExecutor(4) as readers:
        assert list(readers.map(mount.read, files)) == list(files.values())
    assert "Too many open files" not in log.read_text()
