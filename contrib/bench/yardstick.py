"""The hit path beside the least that a Python file system costs, in one run.

    python contrib/bench/yardstick.py [--mib 512] [--rounds 5]

One yardstick answers by pyfuse3 from one MiB of memory, again and again, the other from a plain file on the disk of the
store; neither does anything else. Beside them a remounted store serves the same length, whole and by random reads of
4 KiB, with nothing of it in the page cache.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lab
import ratios

_READS = 3000


def _serve(point: str, size: int, kept: Path | None) -> None:
    import pyfuse3  # noqa: TID251 - the yardstick is bare on purpose
    import trio

    data = memoryview(os.urandom(lab.MIB) * 2)
    fd = None if kept is None else os.open(kept, os.O_RDONLY)

    class Bare(pyfuse3.Operations):  # type: ignore[misc]
        async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:  # noqa: ARG002
            entry = pyfuse3.EntryAttributes()
            entry.st_ino, entry.attr_timeout, entry.entry_timeout = inode, 60, 60
            entry.st_mode = 0o040755 if inode == pyfuse3.ROOT_INODE else 0o100444
            entry.st_size = 0 if inode == pyfuse3.ROOT_INODE else size
            return entry

        async def lookup(self, parent: int, name: bytes, ctx: object = None) -> pyfuse3.EntryAttributes:  # noqa: ARG002
            return await self.getattr(2)

        async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:  # noqa: ARG002
            return pyfuse3.FileInfo(fh=inode)

        async def read(self, fh: int, offset: int, length: int) -> bytes:  # noqa: ARG002
            if fd is not None:
                return os.pread(fd, length, offset)
            start = offset % lab.MIB
            return bytes(data[start : start + min(length, size - offset)])

    pyfuse3.init(Bare(), point, {"fsname=yardstick"} | pyfuse3.default_options)
    trio.run(pyfuse3.main)


@contextlib.contextmanager
def bare(size: int, kept: Path | None) -> Iterator[Path]:
    """Mount the yardstick, which answers from *kept* or from memory, and yield its one file."""
    with tempfile.TemporaryDirectory() as point:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(point, size, kept))
        process.start()
        try:
            while not os.path.ismount(point):
                time.sleep(0.01)
            device = os.stat(point).st_dev
            with contextlib.suppress(OSError):  # the same readahead as a mount of mountdl
                Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text("512")
            yield Path(point) / "big.bin"
        finally:
            subprocess.run(["fusermount3", "-u", "-z", point], check=False)
            process.join(5)
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGKILL)


def scattered(path: Path, size: int) -> float:
    """Return the microseconds of a random read of 4 KiB, the page cache emptied of the file before."""
    chance = random.Random(7)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        for _ in range(_READS):
            os.pread(file.fileno(), 4096, chance.randrange(size // 4096) * 4096)
        return (time.perf_counter() - began) / _READS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"hit path, {options.mib} MiB ({lab.machine()})")
    figures: dict[str, tuple[list[float], list[float]]] = {
        "bare pyfuse3, memory": ([], []),
        "bare pyfuse3, disk": ([], []),
        "mountdl, remounted": ([], []),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "www").mkdir()
        path = lab.random_file(home / "www" / "big.bin", options.mib)
        size = path.stat().st_size
        with lab.mirror(home / "www", home / "nginx") as address:
            lab.metalink(home / "source", path, [f"{address}/big.bin"])
            with lab.mounted(home / "source", home / "cache") as mount:
                lab.sequential(mount.path / "big.bin")
        for _ in range(options.rounds):
            for kept, name in ((None, "bare pyfuse3, memory"), (path, "bare pyfuse3, disk")):
                with bare(size, kept) as file:
                    _measure(file, size, figures[name])
            with lab.mounted(home / "source", home / "cache") as mount:
                _measure(mount.path / "big.bin", size, figures["mountdl, remounted"])
    whole = [lab.show(f"{name}: whole", "MB/s", values[0], 0) for name, values in figures.items()]
    random_ = [lab.show(f"{name}: 4 KiB", "us", values[1], 0) for name, values in figures.items()]
    ratios.add("hit path: a remounted file, to bare pyfuse3's speed from memory", whole[2] / whole[0], least=0.2)
    ratios.add("hit path: a remounted file, to bare pyfuse3's speed from the disk", whole[2] / whole[1], least=0.5)
    ratios.add("hit path: 4 KiB anywhere, to bare pyfuse3's speed from memory", random_[0] / random_[2], least=0.02)
    ratios.add("hit path: 4 KiB anywhere, to bare pyfuse3's speed from the disk", random_[1] / random_[2], least=0.1)


def _measure(path: Path, size: int, into: tuple[list[float], list[float]]) -> None:
    lab.forget_pages()
    into[1].append(scattered(path, size))
    lab.forget_pages()
    into[0].append(lab.sequential(path) / 1e6)


if __name__ == "__main__":
    main()
