"""Run the benchmarks one after the other and print what they came to as one table of ratios.

    contrib/bench/run [--quick | --slow] [NAME ...]

--quick takes small sizes and two minutes: it shows that all of them work, and ratios to be taken with salt. --slow
takes the growth tables to their ends (100,000 descriptors, a TiB, 3.3 million chunks) and an hour; it is what a nightly
job runs. Without either, each takes the size that docs/performance.md tells. NAMEs choose among the benchmarks.

Where ../shared/bench/bench.py is there, its rows come too: the same work by other programs. A benchmark of which the
tools are not installed is left out and named. The exit status is 1 if one failed or a ratio is out of its bounds;
--quick minds no bounds, for on a machine that does something else too they would be luck.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import beside
import lab
import ratios

HERE = Path(__file__).resolve().parent
_TOOLS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))


@dataclass(frozen=True)
class Benchmark:
    """A script with its arguments at three sizes and the *tools* that it needs; none at a size: not run then."""

    script: str
    quick: str | None
    usual: str
    slow: str
    tools: tuple[str, ...] = ("nginx", "openssl", "fusermount3")


BENCHMARKS = {
    "decide": Benchmark("decide.py", "--quick", "", "", ()),
    "start": Benchmark("start.py", "--rounds 2", "", ""),
    "transport": Benchmark("transport.py", "--megabytes 64 --rounds 1", "", "", ("nginx", "openssl", "curl")),
    "cold": Benchmark("cold.py", "--mib 64 --rounds 2", "", ""),
    "yardstick": Benchmark("yardstick.py", "--mib 64 --rounds 1", "", ""),
    "scatter": Benchmark("scatter.py", "--mib 64 --reads 16 --rounds 1", "", ""),
    "growth": Benchmark("growth.py", "--quick", "", "--full"),
    "ftp": Benchmark("ftp.py", "16", "", "", ("vsftpd", "curl")),
    "sftp": Benchmark("sftp.py", "--megabytes 16 --rounds 1", "", "", ("sshd", "sftp", "sshfs", "fusermount3")),
    "swarm": Benchmark("swarm.py", "32", "", "", ("fusermount3",)),
    "beside": Benchmark("beside.py", None, "--runs 1", "--runs 3", ("nginx", "fusermount3", "gcc")),
}


@dataclass(frozen=True)
class Row:
    """A ratio and what it should be; *least* or *most* None: nothing was promised."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it is what it should be."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def bounds(self) -> str:
        """What it should be, as text."""
        told = [f"{sign} {bound:g}" for sign, bound in ((">=", self.least), ("<=", self.most)) if bound is not None]
        return ", ".join(told)


def missing(benchmark: Benchmark) -> list[str]:
    """Return what *benchmark* needs and this machine lacks."""
    found = [tool for tool in benchmark.tools if shutil.which(tool, path=_TOOLS) is None]
    if "fusermount3" in benchmark.tools and not Path("/dev/fuse").exists():
        found.append("/dev/fuse")
    return found


def table(rows: Sequence[Row]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = [f"| {row.what} | {row.value:.2f} | {row.bounds} | {'' if row.kept else 'MISSED'} |" for row in rows]
    return "\n".join(["| what | ratio | should be | |", "|---|---|---|---|", *lines])


def run(name: str, arguments: str, gathered: Path, patience: float) -> bool:
    """Run one benchmark; return whether it came to its end."""
    benchmark = BENCHMARKS[name]
    script = HERE / benchmark.script
    print(f"==> {name} {arguments}".rstrip(), flush=True)
    environment = {**os.environ, ratios.GATHERED: str(gathered), "PYTHONPATH": str(lab.HOME)}
    environment["MOUNTDL"] = environment.get("MOUNTDL", str(Path(sys.executable).with_name("mountdl")))
    command = [sys.executable, str(script), *arguments.split()]
    try:
        subprocess.run(command, check=True, timeout=patience, env=environment, cwd=lab.HOME)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{name} failed: {error}", flush=True)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help=", ".join(BENCHMARKS))
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true")
    extent.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    began, failed, left_out = time.monotonic(), [], []
    with tempfile.TemporaryDirectory() as folder:
        gathered = Path(folder) / "ratios"
        gathered.touch()
        for name in options.name or BENCHMARKS:
            benchmark = BENCHMARKS[name]
            arguments = benchmark.quick if options.quick else benchmark.slow if options.slow else benchmark.usual
            lacking = missing(benchmark)
            if arguments is None or (name == "beside" and not beside.PLACE.exists()):
                continue
            if lacking:
                left_out.append(f"{name}, which needs {', '.join(lacking)}")
            elif not run(name, arguments, gathered, 120.0 if options.quick else 3600.0):
                failed.append(name)
        rows = [Row(**json.loads(line)) for line in gathered.read_text().splitlines()]
    print(f"\n{table(rows)}\n\n{lab.machine()}; took {time.monotonic() - began:.0f} s")
    for each in left_out:
        print(f"left out: {each}")
    broken = [] if options.quick else [row.what for row in rows if not row.kept]
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
