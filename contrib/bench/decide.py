"""What deciding costs: one `plan`, and the sets of extents it stands on, as flights, sources and holes grow.

python contrib/bench/decide.py
"""

import time
from collections.abc import Callable

import lab

from mountdl.engine.demand import Want
from mountdl.engine.planner import FlightView, SourceView, plan
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority

MIB = lab.MIB
SIZE = 1 << 40


def micro(act: Callable[[], object], least: float = 0.2) -> list[float]:
    """Return the microseconds of *act*, five times measured."""
    figures = []
    for _ in range(5):
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < least / 5:
            act()
            count += 1
        figures.append((time.perf_counter() - began) / count * 1e6)
    return figures


def planning(flights: int, sources: int, wants: int) -> Callable[[], object]:
    views = [SourceView(n, 2, 4, latency=0.04, rate=20e6, rank=n) for n in range(sources)]
    flying = [
        FlightView(n, n % sources, Extent(n * 4 * MIB, (n + 1) * 4 * MIB), Priority.READAHEAD, 0.0, 20e6)
        for n in range(flights)
    ]
    demand = [
        Want(Extent(n * 64 * MIB, n * 64 * MIB + 8 * MIB), Priority.READ if n % 4 == 0 else Priority.READAHEAD, n)
        for n in range(wants)
    ]
    chunks = ChunkMap(SIZE, MIB)
    return lambda: plan(demand, ExtentSet(), flying, views, chunks, 16)


def main() -> None:
    print(f"deciding ({lab.machine()})")
    for flights, sources, wants in ((1, 1, 1), (8, 4, 2), (16, 16, 8), (16, 64, 64)):
        lab.show(
            f"plan: {flights} flights {sources} sources {wants} wants", "us", micro(planning(flights, sources, wants))
        )
    for holes in (1, 1000, 100_000, 2_000_000):
        held = ExtentSet()
        for number in range(holes):
            held.add(Extent(2 * number * MIB, (2 * number + 1) * MIB))
        middle = Extent(holes // 2 * 2 * MIB, (holes // 2 * 2 + 1) * MIB)
        lab.show(
            f"is it readable, {holes:,} holes", "us", micro(lambda held=held, middle=middle: held.covers(middle)), 2
        )


if __name__ == "__main__":
    main()
