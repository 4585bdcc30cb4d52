"""Compare reading one torrent through mountdl, through btfs, and downloading it by a bare libtorrent session.

All from one peer, one after the other, each with an empty cache. btfs gets nothing from a peer of its own address: as
root the peer lives in a network namespace of its own, behind a virtual cable; else it is on loopback, and btfs gives
no byte. With "warm" memory is touched before each is measured in order: a virtual machine whose host takes free memory
back pays five times for the first use of a page, and who comes second finds what the first one freed.
Run from a checkout:
    python3 contrib/bench/swarm.py [MEBIBYTES] [warm]
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
import ratios

from tests.support.ports import free_port
from tests.support.swarms import one_file, peer, seed, tracker

PIECE = 1 << 20
APART = "BENCH_SWARM_APART"


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


def sequential(path: Path, limit: float = 30.0) -> float:
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
    options = ["--cache-dir", home / "cache", "--enable-dht=false", "--enable-dht6=false"]
    if APART not in os.environ:
        options.append("--interface=127.0.0.1")
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


def bare(torrent: bytes, peer_at: tuple[str, int], folder: Path) -> float:
    """Return the MiB a second of a libtorrent session with its defaults."""
    with peer("0.0.0.0", enable_outgoing_utp=False) as made:
        parameters = lt.load_torrent_buffer(torrent)
        parameters.save_path = str(folder)
        parameters.trackers = []
        parameters.peers = [peer_at]
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
    """Say whether a byte comes in time: btfs bans peers of its own address."""
    command = ["timeout", "--kill-after=1", "15", "head", "--bytes=1", path]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def touch_memory() -> None:
    """Touch 3 GiB and free them, if asked to."""
    if "warm" not in sys.argv:
        return
    count = 3 << 30
    subprocess.run([sys.executable, "-c", f"m = bytearray({count})\nm[::4096] = bytes({count // 4096})"], check=True)


def check(path: Path, data: bytes, offset: int) -> None:
    got = pread(path, offset, 65536)
    assert got == data[offset : offset + 65536], f"{path} gave wrong bytes at {offset}"


def give(home: Path, host: str) -> None:
    """Seed what is in *home* on *host* once told to, until told again; say the port."""
    sys.stdin.readline()
    with peer(host) as other:
        seed(other, (home / "a.torrent").read_bytes(), home / "seed")
        print(other.port, flush=True)
        sys.stdin.readline()


@contextmanager
def seeder(home: Path, *, apart: bool) -> Iterator[tuple[str, int]]:
    """Run a peer, *apart* in a network namespace of its own; give its address."""
    host = "10.99.0.1" if apart else "127.0.0.1"
    alone = ["unshare", "-n"] if apart else []
    command = [*alone, sys.executable, __file__, "--give", home, host]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    assert running.stdout is not None
    if apart:
        time.sleep(1)  # unshare(1) does not say when it has
        lay_cable(running.pid)
    try:
        print(file=running.stdin, flush=True)
        yield host, int(running.stdout.readline())
    finally:
        running.kill()
        running.wait()


def lay_cable(pid: int) -> None:
    """Connect the namespace of this process with that of *pid*."""
    for line in (
        "ip link add v0 type veth peer name v1",
        f"ip link set v1 netns {pid}",
        "ip addr add 10.99.0.2/24 dev v0",
        "ip link set v0 up",
        "ip route add default via 10.99.0.1",
        f"nsenter -t {pid} -n ip addr add 10.99.0.1/24 dev v1",
        f"nsenter -t {pid} -n ip link set v1 up",
    ):
        subprocess.run(line.split(), check=True)


def main() -> None:
    if sys.argv[1:2] == ["--give"]:
        give(Path(sys.argv[2]), sys.argv[3])
        return
    apart = os.geteuid() == 0 and shutil.which("unshare") is not None
    if apart and APART not in os.environ:
        os.environ[APART] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    if apart:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mebibytes = int(next((word for word in sys.argv[1:] if word.isdigit()), 256))
    home = Path(tempfile.mkdtemp(prefix="bench-swarm-"))
    chance = random.Random(1)
    data = b"".join(chance.randbytes(1 << 20) for _ in range(mebibytes))
    try:
        with tracker() as (names, url):
            torrent = one_file(home / "seed", data, "a.bin", PIECE, announce=url)
            (home / "a.torrent").write_bytes(torrent)
            with seeder(home, apart=apart) as (host, port):
                names.peers = [f"{host}:{port}"]
                ours = compare(home, data)
                touch_memory()
                alone = bare(torrent, (host, port), home / "bare")
                print(f"{'bare':10} {'':14} {'':10} {alone:6.1f} MiB/s")
                ratios.add("swarm: sequential speed to a bare session's", ours / alone)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def compare(home: Path, data: bytes) -> float:
    """Print how long reads take by each mount; return how many MiB a second mountdl gave in order."""
    ours = 0.0
    print(f"{'':10} {'first at 50 %':>14} {'scattered':>10} {'sequential':>12}")
    for name, mounted in (("mountdl", mountdl), ("btfs", btfs)):
        if shutil.which("btfs") is None and name == "btfs":
            continue
        with mounted(home / "a.torrent", home / f"{name}-tried") as path:
            if name == "btfs" and not answers(path):
                print("btfs       gave no byte within 15 s", flush=True)
                continue
        with mounted(home / "a.torrent", home / f"{name}-reads") as path:
            first, middle = measure(path, data)
        with mounted(home / "a.torrent", home / f"{name}-stream") as path:
            touch_memory()
            rate = sequential(path)
        ours = rate if name == "mountdl" else ours
        print(f"{name:10} {first * 1000:11.0f} ms {middle * 1000:7.0f} ms {rate:6.1f} MiB/s", flush=True)
    return ours


if __name__ == "__main__":
    main()
