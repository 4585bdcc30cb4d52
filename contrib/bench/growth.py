"""How cost grows: with files in the source, the size of a file, its chunks, its readers and its mirrors.

    python contrib/bench/growth.py [files] [size] [chunks] [readers] [mirrors] [crowd] [alone] [--full | --quick]

Without a name every axis is measured; --full adds the largest points, --quick leaves out all but the smallest two.
"crowd" is 64 readers of a file each among so many descriptors, "alone" one reader of so many MiB.
"""

import argparse
import hashlib
import os
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import lab

AXES = {
    "files": ((10, 100, 1000, 10_000), (100_000,)),
    "size": ((1 << 20, 1 << 30, 1 << 40), ()),
    "chunks": ((1000, 100_000), (1_000_000, 4_000_000)),
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


CROWD = 64
"""Readers in "crowd", each of a file of its own."""


def describe_many(folder: Path, count: int) -> None:
    """Describe *count* files of 20 MiB, a thousand in a folder."""
    for number in range(count):
        describe(folder / f"{number // 1000:03}", f"file{number}.bin", 20 << 20, pieces=20)


def files(count: int, home: Path) -> str:
    describe_many(home / "source", count)
    began = time.perf_counter()
    with lab.mounted(home / "source", home / "cache", "--background", "off") as mount:
        usable = time.perf_counter() - began
        began = time.perf_counter()
        listed = subprocess.run(["ls", "-lR", mount.path], check=True, capture_output=True).stdout.count(b".bin")
        assert listed == count
        took = time.perf_counter() - began
        spent = sum(mount.cpu())
        seconds = f"mounted {usable:6.2f} s   ls -lR {took:6.2f} s   processor {spent:6.2f} s"
        return f"{seconds}   memory {mount.peak():4.0f} MiB"


def size(length: int, home: Path) -> str:
    return _one(home, length, pieces=min(1000, length >> 20))


def chunks(count: int, home: Path) -> str:
    return _one(home, count << 18, pieces=count)


def _one(home: Path, length: int, pieces: int) -> str:
    describe(home / "source", "big.bin", length, pieces=pieces)
    began = time.perf_counter()
    with lab.mounted(home / "source", home / "cache", "--read-timeout", "1", "--background", "off") as mount:
        usable = time.perf_counter() - began
        path = mount.path / "big.bin"
        assert path.stat().st_size == length
        began = time.perf_counter()
        with suppress(OSError):  # nobody has it: what a miss costs is what is measured
            path.open("rb").read(1)
        missed = time.perf_counter() - began
        return f"mounted {usable:6.2f} s   a read that fails {missed:5.2f} s   memory {mount.peak():4.0f} MiB"


def readers(count: int, home: Path) -> str:
    return _served(home, readers=count, urls=1)


def mirrors(count: int, home: Path) -> str:
    return _served(home, readers=1, urls=count)


def crowd(count: int, home: Path) -> str:
    describe_many(home / "source", count)
    (home / "www").mkdir(parents=True)
    names = [lab.random_file(home / "www" / f"big{number}.bin", 8).name for number in range(CROWD)]
    with lab.mirror(home / "www", home / "nginx") as address:
        for name in names:
            lab.metalink(home / "source", home / "www" / name, [f"{address}/{name}"])
        with lab.mounted(home / "source", home / "cache", "--background", "off") as mount:
            listed = mount.peak()
            took = _read_all([mount.path / name for name in names])
            return f"8 MiB by each of {CROWD} in {took:6.2f} s   memory {listed:4.0f}, then {mount.peak():4.0f} MiB"


def alone(mib: int, home: Path) -> str:
    return _served(home, readers=1, urls=1, mib=mib)


def _read_all(paths: list[Path]) -> float:
    """Copy all of *paths* at once, each by a process of its own; return the seconds that took."""
    began = time.perf_counter()
    for process in [subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"]) for path in paths]:
        assert process.wait() == 0
    return time.perf_counter() - began


def _served(home: Path, readers: int, urls: int, mib: int = 128) -> str:
    (home / "www").mkdir(parents=True)
    path = lab.random_file(home / "www" / "big.bin", mib)
    with lab.mirror(home / "www", home / "nginx") as address:
        lab.metalink(home / "source", path, [f"{address}/./{'./' * number}big.bin" for number in range(urls)])
        with lab.mounted(home / "source", home / "cache") as mount:
            before = sum(mount.cpu())
            took = _read_all([mount.path / "big.bin"] * readers)
            spent = sum(mount.cpu()) - before
            return f"{mib} MiB by each in {took:6.2f} s   processor {spent:5.2f} s   memory {mount.peak():4.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axis", nargs="*", choices=[[], *AXES])
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--full", action="store_true")
    extent.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    measures = dict(zip(AXES, (files, size, chunks, readers, mirrors, crowd, alone), strict=True))
    print(f"growth ({lab.machine()})")
    for axis in options.axis or AXES:
        points, larger = AXES[axis]
        for point in points[:2] if options.quick else (*points, *(larger if options.full else ())):
            with tempfile.TemporaryDirectory() as folder:
                print(f"  {axis:8} {point:>14,}   {measures[axis](point, Path(folder))}", flush=True)
    os.sync()


if __name__ == "__main__":
    main()
