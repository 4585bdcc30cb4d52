"""Compare reading one torrent through mountdl, through btfs, and downloading it by a bare libtorrent session.

All from one loopback peer, one after the other, each with an empty cache. Run from a checkout:
    python3 contrib/bench/swarm.py [MEBIBYTES]
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import libtorrent as lt  # noqa: TID251 - to be measured against

from tests.support.swarms import free_port, one_file, peer, seed, tracker

PIECE = 1 << 20


def timed(act: Callable[[], object]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start


def pread(path: Path, offset: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def sequential(path: Path, limit: float = 60.0) -> float:
    """Return MiB a second, of what was read within *limit* seconds."""
    start, done = time.monotonic(), 0
    with path.open("rb", buffering=0) as file:
        while (part := file.read(1 << 20)) and time.monotonic() - start < limit:
            done += len(part)
    return done / (1 << 20) / (time.monotonic() - start)


@contextmanager
def mountdl(torrent: Path, home: Path) -> Iterator[Path]:
    source, mnt = home / "source", home / "mnt"
    source.mkdir(parents=True)
    mnt.mkdir()
    shutil.copy(torrent, source / "a.torrent")
    command = [sys.executable, "-m", "mountdl"]
    options = ["--cache-dir", home / "cache", "--interface=127.0.0.1", "--enable-dht=false", "--enable-dht6=false"]
    subprocess.run([*command, "mount", *options, f"--listen-port={free_port()}", source, mnt], check=True)
    try:
        yield mnt / "a.bin"
    finally:
        subprocess.run([*command, "unmount", mnt], check=True)


@contextmanager
def btfs(torrent: Path, home: Path) -> Iterator[Path]:
    mnt = home / "mnt"
    mnt.mkdir(parents=True)
    port = free_port()
    command = ["btfs", f"--min-port={port}", f"--max-port={port + 20}", f"--data-directory={home}", "-f"]
    running = subprocess.Popen([*command, torrent, mnt], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (mnt / "a.bin").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield mnt / "a.bin"
    finally:
        subprocess.run(["fusermount3", "-uz", mnt], check=False)
        running.kill()
        running.wait()


def bare(torrent: bytes, port: int, folder: Path) -> float:
    """Return the MiB a second of a libtorrent session with its defaults."""
    with peer(enable_outgoing_utp=False) as made:
        parameters = lt.load_torrent_buffer(torrent)
        parameters.save_path = str(folder)
        parameters.trackers = []
        parameters.peers = [("127.0.0.1", port)]
        start = time.monotonic()
        handle = made.session.add_torrent(parameters)
        while not handle.status().is_seeding:
            time.sleep(0.01)
        return parameters.ti.total_size() / (1 << 20) / (time.monotonic() - start)


def measure(path: Path, data: bytes) -> tuple[float, float]:
    """Return the seconds of a first read at 50 % and of the slowest of ten scattered ones."""
    middle = len(data) // 2
    first = timed(lambda: check(path, data, middle))
    places = random.Random(1)
    scattered = [timed(lambda: check(path, data, places.randrange(len(data) - 65536))) for _ in range(10)]
    return first, sorted(scattered)[5]


def answers(path: Path) -> bool:
    """Say whether a byte comes in time: btfs bans peers of its own address, as all are on loopback."""
    command = ["timeout", "--kill-after=1", "15", "head", "--bytes=1", path]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def check(path: Path, data: bytes, offset: int) -> None:
    got = pread(path, offset, 65536)
    assert got == data[offset : offset + 65536], f"{path} gave wrong bytes at {offset}"


def main() -> None:
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    home = Path(tempfile.mkdtemp(prefix="bench-swarm-"))
    data = random.Random(1).randbytes(mebibytes << 20)
    try:
        with tracker() as (names, url), peer() as other:
            torrent = one_file(home / "seed", data, "a.bin", PIECE, announce=url)
            seed(other, torrent, home / "seed")
            names.peers = [other.port]
            (home / "a.torrent").write_bytes(torrent)
            print(f"{'':10} {'first at 50 %':>14} {'scattered':>10} {'sequential':>12}")
            for name, mounted in (("mountdl", mountdl), ("btfs", btfs)):
                if shutil.which("btfs") is None and name == "btfs":
                    continue
                with mounted(home / "a.torrent", home / f"{name}-reads") as path:
                    if name == "btfs" and not answers(path):
                        print("btfs       gave no byte within 15 s", flush=True)
                        continue
                    first, middle = measure(path, data)
                with mounted(home / "a.torrent", home / f"{name}-stream") as path:
                    rate = sequential(path)
                print(f"{name:10} {first * 1000:11.0f} ms {middle * 1000:7.0f} ms {rate:6.1f} MiB/s", flush=True)
            print(f"{'bare':10} {'':14} {'':10} {bare(torrent, other.port, home / 'bare'):6.1f} MiB/s")
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
