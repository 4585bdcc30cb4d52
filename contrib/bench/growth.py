"""How cost grows: with files in the source, the size of a file, its chunks, its readers and its mirrors.

    python contrib/bench/growth.py [files] [size] [chunks] [readers] [mirrors] [crowd] [alone] [--full | --quick]

Without a name every axis is measured; --full adds the largest points, --quick leaves out all but the smallest two.
"crowd" is 64 readers of a file each among so many descriptors, "alone" one reader of so many MiB.
"""

import argparse
import hashlib
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lab
import ratios

AXES = {
    "files": ((10, 100, 1000, 10_000), (100_000,)),
    "size": ((1 << 26, 1 << 30, 1 << 40), ()),
    "chunks": ((1000, 100_000), (1_000_000, 3_300_000)),
    "readers": ((1, 8, 64), (256,)),
    "mirrors": ((1, 4, 16), (64,)),
    "crowd": ((1000, 10_000), (100_000,)),
    "alone": ((64, 512), ()),
}
_HEAD = '<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">'


def describe(folder: Path, name: str, size: int, *, pieces: int = 0, urls: int = 2) -> None:
    """Write a metalink of bytes that nobody has."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(name.encode()).hexdigest()
    listed = f'<pieces length="{-(-size // pieces)}" type="sha-256">{f"<hash>{digest}</hash>" * pieces}</pieces>'
    mirrors = "".join(f"<url>http://127.0.0.1:9/{number}/{name}</url>" for number in range(urls))
    text = f'{_HEAD}<file name="{name}"><size>{size}</size><hash type="sha-256">{digest}</hash>'
    (folder / f"{name}.meta4").write_text(f"{text}{listed if pieces else ''}{mirrors}</file></metalink>")


PIECE = 256 << 10
READS = 40
CROWD = 64
"""Readers in "crowd", each of a file of its own."""


def describe_many(folder: Path, count: int) -> None:
    """Describe *count* files of 20 MiB, a thousand in a folder."""
    for number in range(count):
        describe(folder / f"{number // 1000:03}", f"file{number}.bin", 20 << 20, pieces=20)


Figures = dict[str, float]
"""What a point cost: seconds, milliseconds and MiB, as the names say."""


def files(count: int, home: Path) -> Figures:
    describe_many(home / "source", count)
    began = time.perf_counter()
    with lab.mounted(home / "source", home / "cache", "--background", "off") as mount:
        usable = time.perf_counter() - began
        began = time.perf_counter()
        listed = subprocess.run(["ls", "-lR", mount.path], check=True, capture_output=True).stdout.count(b".bin")
        assert listed == count
        took = time.perf_counter() - began
        return {"mounted s": usable, "ls -lR s": took, "processor s": sum(mount.cpu()), "memory MiB": mount.peak()}


def size(length: int, home: Path) -> Figures:
    """Describe it without digests of pieces: then nothing grows but the offsets."""
    with _sparse(home, length) as address:
        (home / "source/big.bin.meta4").write_text(
            f'{_HEAD}<file name="big.bin"><size>{length}</size><url>{address}/big.bin</url></file></metalink>'
        )
        return _scattered(home, length)


def chunks(count: int, home: Path) -> Figures:
    """Describe it by a torrent with a web seed: 3.3 million digests are what the longest that is read holds."""
    length = count * PIECE
    with _sparse(home, length) as address:
        digests = hashlib.sha1(bytes(PIECE)).digest() * count
        url = f"{address}/big.bin".encode()
        head = b"d4:infod6:lengthi%de4:name7:big.bin12:piece lengthi%de6:pieces%d:" % (length, PIECE, len(digests))
        (home / "source/big.torrent").write_bytes(head + digests + b"e8:url-list%d:%see" % (len(url), url))
        return _scattered(home, length)


@contextmanager
def _sparse(home: Path, length: int) -> Iterator[str]:
    """Serve big.bin, *length* zeros that take no room."""
    for name in ("www", "source"):
        (home / name).mkdir(parents=True)
    with (home / "www/big.bin").open("wb") as file:
        file.truncate(length)
    with lab.mirror(home / "www", home / "nginx") as address:
        yield address


def _scattered(home: Path, length: int) -> Figures:
    quiet = ("--background", "off", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false")
    began = time.perf_counter()
    with lab.mounted(home / "source", home / "cache", *quiet) as mount:
        usable = time.perf_counter() - began
        path = mount.path / "big.bin"
        assert path.stat().st_size == length
        mounted, chance, times = mount.peak(), random.Random(5), []
        with path.open("rb", buffering=0) as file:
            for _ in range(READS):
                began = time.perf_counter()
                os.pread(file.fileno(), 4096, chance.randrange(length // 4096) * 4096)
                times.append(time.perf_counter() - began)
        each = statistics.median(times) * 1e3
        return {"mounted s": usable, "4 KiB anywhere ms": each, "memory MiB": mounted, "read MiB": mount.peak()}


def readers(count: int, home: Path) -> Figures:
    return _served(home, readers=count, urls=1)


def mirrors(count: int, home: Path) -> Figures:
    return _served(home, readers=1, urls=count)


def crowd(count: int, home: Path) -> Figures:
    describe_many(home / "source", count)
    (home / "www").mkdir(parents=True)
    names = [lab.random_file(home / "www" / f"big{number}.bin", 8).name for number in range(CROWD)]
    with lab.mirror(home / "www", home / "nginx") as address:
        for name in names:
            lab.metalink(home / "source", home / "www" / name, [f"{address}/{name}"])
        with lab.mounted(home / "source", home / "cache", "--background", "off") as mount:
            mounted = mount.peak()
            took = _read_all([mount.path / name for name in names])
            return {"copied s": took, "memory MiB": mounted, "read MiB": mount.peak()}


def alone(mib: int, home: Path) -> Figures:
    return _served(home, readers=1, urls=1, mib=mib)


def _read_all(paths: list[Path]) -> float:
    """Copy all of *paths* at once, each by a process of its own; return the seconds that took."""
    began = time.perf_counter()
    for process in [subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"]) for path in paths]:
        assert process.wait() == 0
    return time.perf_counter() - began


def _served(home: Path, readers: int, urls: int, mib: int = 128) -> Figures:
    (home / "www").mkdir(parents=True)
    path = lab.random_file(home / "www" / "big.bin", mib)
    with lab.mirror(home / "www", home / "nginx") as address:
        lab.metalink(home / "source", path, [f"{address}/./{'./' * number}big.bin" for number in range(urls)])
        with lab.mounted(home / "source", home / "cache") as mount:
            before = sum(mount.cpu())
            took = _read_all([mount.path / "big.bin"] * readers)
            return {"copied s": took, "processor s": sum(mount.cpu()) - before, "memory MiB": mount.peak()}


MEASURES = dict(zip(AXES, (files, size, chunks, readers, mirrors, crowd, alone), strict=True))


def measure(axis: str, points: Sequence[int]) -> None:
    """Print what each of *points* costs, and how many times the first one's the last one does."""
    found = []
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            found.append(MEASURES[axis](point, Path(folder)))
        shown = "   ".join(
            f"{what.rpartition(' ')[0]} {each:8.2f} {what.rpartition(' ')[2]}" for what, each in found[-1].items()
        )
        print(f"  {axis:8} {point:>17,}   {shown}", flush=True)
    for what in found[0] if len(points) > 1 else ():
        times = found[-1][what] / max(found[0][what], 0.01)
        ratios.add(f"growth: {what.rpartition(' ')[0]}, {axis} {points[-1]:,} to {points[0]:,}", times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axis", nargs="*", choices=[[], *AXES])
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true")
    extent.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(f"growth ({lab.machine()})")
    for axis in options.axis or AXES:
        points, larger = AXES[axis]
        measure(axis, points[:2] if options.quick else (*points, *(larger if options.full else ())))
    os.sync()


if __name__ == "__main__":
    main()
