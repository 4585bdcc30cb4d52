"""How long commands take, and a mount until reads work: wall and processor time, and the memory of a mount then.

    python contrib/bench/start.py [--rounds 15] [--beside CHECKOUT]

Beside a bare interpreter, and one that imports trio and httpx. With --beside, another checkout of mountdl does the same
in turn: a change of some milliseconds shows in no other way on a machine that does something else too. Processor time
is of all that is forked and waited for; of a mount it is that of its threads until it says READY=1, as to systemd.
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lab
import ratios

_MAIN = "import sys; from mountdl.__main__ import main; main()"
"""What the script is that pip installs; `-m` is slower by what finds the module."""
_FAR = 0.04


@dataclass
class Taken:
    """What was measured of one thing: milliseconds, and MiB of a mount."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)


class Home:
    """A folder with a file, mirrors of it and the environment of who starts commands of *checkout* there."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder
        self.notices = folder / "notices"
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "MOUNTDL"))}
        self.environment = {**kept, "PYTHONPATH": str(checkout), "HOME": str(folder), "NOTIFY_SOCKET": ""}

    def timed(self, *command: str) -> tuple[float, float]:
        """Return the milliseconds that *command* took, and those of the processor."""
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
        return (time.perf_counter() - began) * 1e3, (used.ru_utime + used.ru_stime) * 1e3

    @contextlib.contextmanager
    def mounted(self, source: str, taken: Taken):
        """Mount *source* and yield where, once it said that reads work; what that took is added to *taken*."""
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as place,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
        ):
            point, heard = Path(place) / "mnt", Path(place) / "ready"
            point.mkdir()
            ear.bind(str(heard))
            ear.settimeout(60)
            command = [sys.executable, "-c", _MAIN, "mount", "-f", "--cache-dir", f"{place}/cache", source, str(point)]
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                env={**self.environment, "NOTIFY_SOCKET": str(heard)},
                cwd=self.folder,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert ear.recv(100) == b"READY=1"
                taken.wall.append((time.perf_counter() - began) * 1e3)
                taken.processor.append(_used(process.pid))
                yield point, process.pid, began
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _used(pid: int) -> float:
    """Return the milliseconds of the processor that the threads of *pid* have had: proc(5), schedstat."""
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e6 for task in Path(f"/proc/{pid}/task").iterdir())


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def works(near: str) -> dict[str, Callable[[Home, Taken], None]]:
    """Return what is measured, by its name; *near* is where the mirrors are that commands fetch from."""

    def command(*words: str) -> Callable[[Home, Taken], None]:
        def run(home: Home, taken: Taken) -> None:
            wall, processor = home.timed(*words)
            taken.wall.append(wall)
            taken.processor.append(processor)

        return run

    def status(home: Home, taken: Taken) -> None:
        with home.mounted("near", Taken()) as (point, _, _):
            command("-c", _MAIN, "status", str(point))(home, taken)

    def fetch(home: Home, taken: Taken) -> None:
        with tempfile.TemporaryDirectory(dir=home.folder) as target:
            command("-c", _MAIN, "fetch", "-q", "-d", target, f"{near}/small.bin")(home, taken)

    def mount(home: Home, taken: Taken) -> None:
        with home.mounted("near", taken) as (_, pid, _):
            taken.memory.append(_resident(pid))

    def first(home: Home, taken: Taken) -> None:
        with home.mounted("far", taken) as (point, _, began):
            asked = time.perf_counter()
            with (point / "large.bin").open("rb", buffering=0) as file:
                file.read(1 << 16)
            now = time.perf_counter()
            taken.first.append((now - began) * 1e3)
            taken.read.append((now - asked) * 1e3)

    return {
        "python -c pass": command("-c", "pass"),
        "python -c 'import trio, httpx'": command("-c", "import trio, httpx"),
        "mountdl --version": command("-c", _MAIN, "--version"),
        "mountdl inspect": command("-c", _MAIN, "inspect", "near/small.bin.meta4"),
        "mountdl status": status,
        "mountdl fetch, 10 KiB": fetch,
        "mountdl mount, until it is ready": mount,
        "mountdl mount, 40 ms away": first,
    }


def measure(homes: Sequence[Home], near: str, rounds: int) -> list[dict[str, Taken]]:
    """Return what each of *homes* took, in turn; the first of each only fills caches of bytecode."""
    found: list[dict[str, Taken]] = [{name: Taken() for name in works(near)} for _ in homes]
    for number in range(rounds + 1):
        for name, work in works(near).items():
            for home, taken in zip(homes, found, strict=True):
                work(home, taken[name] if number else Taken())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    checkouts = [lab.HOME, *([options.beside.resolve()] if options.beside else [])]
    print(f"{options.rounds} starts of each ({lab.machine()})")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "www").mkdir()
        (place / "www" / "small.bin").write_bytes(os.urandom(10 << 10))
        lab.random_file(place / "www" / "large.bin", 1)
        with lab.mirror(place / "www", place / "nginx") as near, lab.distant(near, _FAR, 50e6) as far:
            lab.metalink(place / "near", place / "www" / "small.bin", [f"{near}/small.bin"])
            lab.metalink(place / "far", place / "www" / "large.bin", [f"{far}/large.bin"])
            found = measure([Home(place, each) for each in checkouts], near, options.rounds)
    for checkout, taken in zip(checkouts, found, strict=True):
        print(checkout if options.beside else "")
        for name, each in taken.items():
            lab.show(name, "ms", each.wall)
            lab.show("  of the processor", "ms", each.processor)
            if each.memory:
                lab.show("  memory then", "MiB", each.memory)
            if each.first:
                lab.show("  until 64 KiB were read", "ms", each.first)
                lab.show("  of which since it is ready", "ms", each.read)
    _compare(found[0])


def _compare(taken: dict[str, Taken]) -> None:
    used = {name: statistics.median(each.processor) for name, each in taken.items()}
    bare, libraries = used["python -c pass"], used["python -c 'import trio, httpx'"]
    ratios.add("processor time of mountdl status, to a bare interpreter", used["mountdl status"] / bare, most=6)
    ratios.add(
        "processor time until a mount is ready, to importing trio and httpx",
        used["mountdl mount, until it is ready"] / libraries,
        most=2.5,
    )


if __name__ == "__main__":
    main()
