"""What benchmarks came to, as ratios: printed by each script, and gathered for the table of `contrib/bench/run`.

A ratio is of two figures of one run, so that the machine and its load stand on both sides.
"""

import json
import os
from pathlib import Path

GATHERED = "BENCH_RATIOS"
"""Names the file that rows are added to, a JSON document a line, if that is set."""


def add(what: str, value: float, *, least: float | None = None, most: float | None = None) -> None:
    """Print that *what* came to *value*, which should be at least *least* and at most *most*."""
    print(f"  {what}: {value:.2f}", flush=True)
    place = os.environ.get(GATHERED)
    if place:
        with Path(place).open("a") as file:
            file.write(json.dumps({"what": what, "value": value, "least": least, "most": most}) + "\n")
