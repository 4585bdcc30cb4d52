"""What the benchmarks share: a file and its mirrors, a mount, reads, and one way to print.

Everything is on loopback. A distant mirror is nginx behind `distance.py`. Every mount is fresh, in a process of
its own; its processor time and peak memory are the kernel's figures.
"""

import contextlib
import hashlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOME))

from tests.support import nginx  # noqa: E402

MIB = 1 << 20
CHUNK = MIB
_TICKS = os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Return in one line what figures of this run are worth."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def show(name: str, unit: str, values: Sequence[float], digits: int = 1) -> float:
    """Print the median of *values* and their range; return the median."""
    middle = statistics.median(values)
    print(f"  {name:34} {middle:10.{digits}f} {unit:8} [{min(values):.{digits}f}-{max(values):.{digits}f}]", flush=True)
    return middle


def random_file(path: Path, mib: int) -> Path:
    """Make *mib* MiB that don't repeat within a chunk."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return path


def metalink(folder: Path, path: Path, urls: Sequence[str]) -> None:
    """Describe *path* in *folder*: SHA-256 of all and of each chunk, and *urls*, best first."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, pieces = hashlib.sha256(), []
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            whole.update(data)
            pieces.append(f"<hash>{hashlib.sha256(data).hexdigest()}</hash>")
    mirrors = "".join(f'<url priority="{number}">{url}</url>' for number, url in enumerate(urls, 1))
    (folder / f"{path.name}.meta4").write_text(
        '<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">'
        f'<file name="{path.name}"><size>{path.stat().st_size}</size><hash type="sha-256">{whole.hexdigest()}</hash>'
        f'<pieces length="{CHUNK}" type="sha-256">{"".join(pieces)}</pieces>{mirrors}</file></metalink>'
    )


@dataclass
class Mount:
    """A mounted folder; *pid* is the process that serves it."""

    path: Path
    pid: int

    def cpu(self) -> tuple[float, float]:
        """Return the seconds spent in the program and in the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS

    def peak(self) -> float:
        """Return the most memory it ever had, in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def mounted(folder: Path, cache: Path, *options: str) -> Iterator[Mount]:
    """Mount *folder* with its store in *cache*."""
    with tempfile.TemporaryDirectory(prefix="mountdl-bench-") as point:
        command = [sys.executable, "-m", "mountdl", "mount", "--foreground", "--cache-dir", str(cache), *options]
        process = subprocess.Popen([*command, str(folder), point], cwd=HOME, stderr=subprocess.PIPE)
        try:
            while not os.path.ismount(point):
                if process.poll() is not None:
                    raise SystemExit(f"mountdl ended: {process.stderr.read().decode() if process.stderr else ''}")
                time.sleep(0.01)
            yield Mount(Path(point), process.pid)
        finally:
            subprocess.run(["fusermount3", "-u", "-z", point], check=False, stderr=subprocess.DEVNULL)
            process.wait(30)


@contextlib.contextmanager
def mirror(root: Path, home: Path) -> Iterator[str]:
    """Serve *root* by nginx and yield its address."""
    home.mkdir(exist_ok=True)
    with nginx.serving(root, home) as server:
        yield server.plain


@contextlib.contextmanager
def distant(address: str, rtt: float, rate: float, *, stalls: bool = False) -> Iterator[str]:
    """Put *rtt* seconds and *rate* bytes a second between *address* and us; with *stalls* it falls silent at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    target = address.rpartition(":")[2]
    command = [sys.executable, str(HOME / "contrib/bench/distance.py"), str(port), target, str(rtt), str(rate)]
    process = subprocess.Popen([*command, "stalls"] if stalls else command)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def sequential(path: Path, most: int | None = None) -> float:
    """Read *path*, or *most* bytes of it, and return bytes a second."""
    buffer, count = bytearray(MIB), 0
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while (most is None or count < most) and (length := file.readinto(buffer)):
            count += length
    return count / (time.perf_counter() - began)


def forget_pages() -> None:
    """Have the kernel forget clean pages, where we may."""
    with contextlib.suppress(OSError):
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("1")
