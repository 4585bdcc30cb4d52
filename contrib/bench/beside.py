"""The same work by other programs, as ratios: rows of ../shared/bench/bench.py, where that is there.

    python contrib/bench/beside.py [--runs 3] [--only fast,far] [--from FILE]

Each ratio is of mountdl to the best of the others in that row: above 1 is better for MB/s, below 1 for all else. With
--from the JSON of an earlier run is told instead of making one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import lab
import ratios

PLACE = lab.HOME.parent / "shared/bench/bench.py"
OURS = "mountdl"


def compared(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[tuple[str, float]]:
    """Yield what was compared and the ratio, from *results* by scenario, program and figure."""
    for scenario, programs in results.items():
        for figure, ours in programs.get(OURS, {}).items():
            others = {name: told[figure] for name, told in programs.items() if name != OURS and figure in told}
            if not others:
                continue
            best = (max if figure.endswith("MB/s") else min)(others, key=lambda name: others[name])
            if others[best] > 0:
                yield f"{scenario}: {figure}, to {best}", ours / others[best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--from", type=Path, dest="earlier")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = options.earlier or Path(folder) / "results.json"
        if options.earlier is None:
            command = [sys.executable, str(PLACE), "--runs", str(options.runs), "--json", str(told)]
            subprocess.run([*command, *(["--only", options.only] if options.only else [])], check=True)
        for what, ratio in compared(json.loads(told.read_text())):
            ratios.add(what, ratio)


if __name__ == "__main__":
    main()
