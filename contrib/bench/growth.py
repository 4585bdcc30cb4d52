"""How cost grows: with files in the source, the size of a file, its chunks, its readers and its mirrors.

    python contrib/bench/growth.py [files] [size] [chunks] [readers] [mirrors] [--full]

Without a name every axis is measured; --full adds the largest points.
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


def files(count: int, home: Path) -> str:
    for number in range(count):
        describe(home / f"source/{number // 1000:03}", f"file{number}.bin", 20 << 20, pieces=20)
    began = time.perf_counter()
    with lab.mounted(home / "source", home / "cache", "--background", "off") as mount:
        usable = time.perf_counter() - began
        began = time.perf_counter()
        listed = subprocess.run(["ls", "-lR", mount.path], check=True, capture_output=True).stdout.count(b".bin")
        assert listed == count
        took = time.perf_counter() - began
        return f"mounted {usable:6.2f} s   ls -lR {took:6.2f} s   memory {mount.peak():4.0f} MiB"


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


def _served(home: Path, readers: int, urls: int) -> str:
    (home / "www").mkdir(parents=True)
    path = lab.random_file(home / "www" / "big.bin", 128)
    with lab.mirror(home / "www", home / "nginx") as address:
        lab.metalink(home / "source", path, [f"{address}/./{'./' * number}big.bin" for number in range(urls)])
        with lab.mounted(home / "source", home / "cache") as mount:
            began = time.perf_counter()
            command = ["dd", f"if={mount.path / 'big.bin'}", "of=/dev/null", "bs=1M", "status=none"]
            for process in [subprocess.Popen(command) for _ in range(readers)]:
                assert process.wait() == 0
            took = time.perf_counter() - began
            spent = sum(mount.cpu())
            return f"128 MiB by each in {took:6.2f} s   processor {spent:5.2f} s   memory {mount.peak():4.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axis", nargs="*", choices=[[], *AXES])
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    measures = {"files": files, "size": size, "chunks": chunks, "readers": readers, "mirrors": mirrors}
    print(f"growth ({lab.machine()})")
    for axis in options.axis or AXES:
        points, larger = AXES[axis]
        for point in (*points, *(larger if options.full else ())):
            with tempfile.TemporaryDirectory() as folder:
                print(f"  {axis:8} {point:>14,}   {measures[axis](point, Path(folder))}", flush=True)
    os.sync()


if __name__ == "__main__":
    main()
