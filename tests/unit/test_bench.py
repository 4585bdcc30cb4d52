"""The benchmarks that need neither network nor mount still run, and the table says what they came to."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "contrib" / "bench"


def run(*arguments: str, script: str = "every.py") -> str:
    environment = {**os.environ, "PYTHONPATH": str(BENCH.parents[1])}
    command = [sys.executable, "-X", "dev", str(BENCH / script), *arguments]
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


def test_rows_of_other_programs_become_ratios(tmp_path: Path) -> None:
    """Beside the best of the others: the fastest in MB/s, the least in all else; what nobody else has is left out."""
    programs = {
        "mountdl": {"cold MB/s": 300.0, "first ms": 50.0, "only ms": 1.0},
        "one": {"cold MB/s": 100.0, "first ms": 100.0},
        "two": {"cold MB/s": 150.0, "first ms": 200.0},
    }
    told = tmp_path / "told.json"
    told.write_text(json.dumps({"fast": programs, "failed": {"one": {"cold MB/s": 1.0}}}))

    assert run("--from", str(told), script="beside.py").split("\n") == [
        "  fast: cold MB/s, to two: 2.00",
        "  fast: first ms, to one: 0.50",
        "",
    ]


def test_every_benchmark_is_listed() -> None:
    """One entry runs them all: the help names each script that measures."""
    helpers = {"lab.py", "ratios.py", "every.py", "distance.py"}
    scripts = {path.name.removesuffix(".py") for path in BENCH.glob("*.py") if path.name not in helpers}
    words = set(run("--help").replace(",", " ").split())

    assert scripts <= words
