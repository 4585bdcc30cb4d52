"""Readers at random offsets over distant mirrors: eight beside one, and beside a mirror that is silent.

    python contrib/bench/scatter.py [--reads 160] [--rounds 3]

A mirror of 40 ms and 50 MB/s; each read takes 64 KiB out of a chunk of 1 MiB.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lab
import ratios

_READER = """
import os, random, sys, time
chance, file = random.Random(sys.argv[1]), os.open(sys.argv[2], os.O_RDONLY)
size = os.fstat(file).st_size
for _ in range(int(sys.argv[3])):
    began = time.perf_counter()
    os.pread(file, 65536, chance.randrange(size - 65536))
    print(time.perf_counter() - began)
"""


def read(path: Path, readers: int, reads: int, seed: str) -> tuple[float, list[float]]:
    """Return the seconds that *readers* took together for *reads* reads, and those of each read."""
    began = time.perf_counter()
    command = [sys.executable, "-S", "-c", _READER]
    processes = [
        subprocess.Popen([*command, f"{seed}{n}", str(path), str(reads // readers)], stdout=subprocess.PIPE, text=True)
        for n in range(readers)
    ]
    each = [float(line) for process in processes for line in process.communicate()[0].split()]
    return time.perf_counter() - began, each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--reads", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.reads} random reads ({lab.machine()})")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "www").mkdir()
        path = lab.random_file(home / "www" / "big.bin", options.mib)
        with (
            lab.mirror(home / "www", home / "nginx") as address,
            lab.distant(address, 0.04, 50e6) as far,
            lab.distant(address, 0.04, 50e6) as other,
            lab.distant(address, 0.04, 50e6, stalls=True) as silent,
        ):
            for name, addresses in (("one", [far]), ("two", [far, other]), ("silent", [silent, far])):
                lab.metalink(home / name, path, [f"{each}/big.bin" for each in addresses])
            _eight(home, options.reads, options.rounds)
            _silent(home, options.reads, options.rounds)


def _eight(home: Path, reads: int, rounds: int) -> None:
    times: dict[int, list[float]] = {1: [], 8: []}
    for number in range(rounds):
        for readers, taken in times.items():
            with lab.mounted(home / "one", home / f"cache-{readers}-{number}") as mount:
                time.sleep(0.2)
                taken.append(read(mount.path / "big.bin", readers, reads, f"{number}.")[0])
    one, eight = lab.show("one reader", "s", times[1], 2), lab.show("eight readers, as many reads", "s", times[8], 2)
    ratios.add("eight readers to one, as many reads over 40 ms: time", eight / one, most=1.5)


def _silent(home: Path, reads: int, rounds: int) -> None:
    late: dict[str, list[float]] = {"two": [], "silent": []}
    for number in range(rounds):
        for name, slowest in late.items():
            with lab.mounted(home / name, home / f"cache-{name}-{number}") as mount:
                time.sleep(0.2)
                each = sorted(read(mount.path / "big.bin", 1, reads, f"{number}.")[1])
                slowest.append(each[min(len(each) - 1, len(each) * 99 // 100)] * 1e3)
    good = lab.show("99th of 100, two good mirrors", "ms", late["two"], 0)
    bad = lab.show("99th of 100, one of two silent", "ms", late["silent"], 0)
    ratios.add("99th of 100 reads: one mirror of two silent, to none", bad / good, most=2.0)
    assert statistics.median(late["two"]) > 0
    os.sync()


if __name__ == "__main__":
    main()
