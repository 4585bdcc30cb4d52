"""The benchmarks that need neither network nor mount still run, and the table says what they came to."""

import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "contrib" / "bench"


def run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(BENCH.parents[1])}
    command = [sys.executable, "-X", "dev", str(BENCH / "every.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=240, env=environment).stdout


def test_deciding_and_the_hit_path_are_measured() -> None:
    """Plans, lookups among holes and chunks, and hits, each as a ratio in one table."""
    table = [line for line in run("--quick", "decide").splitlines() if line.startswith("| ")]

    assert table[0] == "| what | ratio | should be | |"
    rows = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in table[1:]}
    assert len(rows) == 4
    assert all(value > 0 for value in rows.values())
    assert any(what.startswith("plan") for what in rows)
    assert any(what.startswith("a hit") for what in rows)


def test_every_benchmark_is_listed() -> None:
    """One entry runs them all: the help names each script that measures."""
    helpers = {"lab.py", "ratios.py", "every.py", "distance.py"}
    scripts = {path.name.removesuffix(".py") for path in BENCH.glob("*.py") if path.name not in helpers}
    words = set(run("--help").replace(",", " ").split())

    assert scripts <= words
