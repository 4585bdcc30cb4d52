"""What deciding costs, and a hit: a `plan`, and the sets of extents it stands on, as all that they know grows.

python contrib/bench/decide.py [--quick]
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import lab
import ratios
import trio

from mountdl.content import content_of
from mountdl.descriptors.model import Entry, PieceDigests
from mountdl.engine.demand import Want
from mountdl.engine.engine import Engine
from mountdl.engine.planner import plan
from mountdl.engine.views import FlightView, SourceView
from mountdl.extents import Extent, ExtentSet
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import EngineSettings
from mountdl.store.store import Store

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


def lookup(holes: int) -> Callable[[], object]:
    """Return the question whether an extent in the midst of *holes* is readable."""
    held = ExtentSet()
    for number in range(holes):
        held.add(Extent(2 * number * MIB, (2 * number + 1) * MIB))
    middle = Extent(holes // 2 * 2 * MIB, (holes // 2 * 2 + 1) * MIB)
    assert held.covers(middle)
    return lambda: held.covers(middle)


def cutting(chunks: int) -> Callable[[], object]:
    """Return the question which chunks an extent in the midst of so many has, and what they must hash to."""
    every = ChunkMap(chunks * MIB, MIB, "sha-1", bytes(20) * chunks)
    middle = Extent(chunks // 2 * MIB - 1, chunks // 2 * MIB + 1)
    assert every.cover(middle).length == 2 * MIB
    return lambda: (every.cover(middle), every.check(chunks // 2))


async def hits(home: Path, least: float) -> tuple[float, float]:
    """Return the microseconds that a read of 128 KiB of stored bytes takes: as a reader asks, and by a bare pread."""
    data = os.urandom(8 * MIB)
    digests = b"".join(hashlib.sha256(data[start : start + MIB]).digest() for start in range(0, len(data), MIB))
    entry = Entry(PurePosixPath("big.bin"), len(data), pieces=PieceDigests("sha-256", MIB, digests))
    store = Store(home)
    engine = Engine(store, [], EngineSettings(), lambda _: None)
    content = content_of(entry, len(data))
    reader, stored = engine.open(content), engine.download(content).stored
    stored.write(0, data)
    stored.mark_verified(Extent(0, len(data)))
    extent, chance = Extent(0, 128 << 10), random.Random(3)
    found = reader.ready(extent)
    assert found is not None
    assert bytes(found) == data[: extent.length]

    def ask() -> None:
        offset = chance.randrange(len(data) - extent.length)
        assert reader.ready(Extent(offset, offset + extent.length)) is not None

    with (home / "plain").open("w+b") as file:
        file.write(data)
        file.flush()
        bare = micro(lambda: os.pread(file.fileno(), extent.length, chance.randrange(len(data) - extent.length)), least)
    asked = micro(ask, least)
    reader.close()
    stored.close()
    store.close()
    return lab.show("a hit of 128 KiB, as a reader asks", "us", asked), lab.show("…by a bare pread", "us", bare)


PLANS = ((1, 1, 1), (8, 4, 2), (16, 16, 8), (16, 64, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    least = 0.05 if quick else 0.2
    print(f"deciding ({lab.machine()})")
    took = []
    for flights, sources, wants in PLANS:
        what = f"plan: {flights} flights {sources} sources {wants} wants"
        took.append(lab.show(what, "us", micro(planning(flights, sources, wants), least)))
    ratios.add("plan: 16 flights, 64 sources, 64 wants to one of each", took[-1] / took[0], most=300)
    holes = (2, 1000, 100_000) if quick else (2, 1000, 100_000, 2_000_000)
    found = [lab.show(f"is it readable, {count:,} holes", "us", micro(lookup(count), least), 2) for count in holes]
    ratios.add(f"is it readable: {holes[-1]:,} holes to 2", found[-1] / found[0], most=10)
    chunks = (2, 1000, 100_000) if quick else (2, 1000, 100_000, 4_000_000)
    cut = [lab.show(f"which chunk, of {count:,}", "us", micro(cutting(count), least), 2) for count in chunks]
    ratios.add(f"which chunk: of {chunks[-1]:,} to of 2", cut[-1] / cut[0], most=10)
    with tempfile.TemporaryDirectory() as folder:
        asked, bare = trio.run(hits, Path(folder), least)
    ratios.add("a hit of 128 KiB, as a reader asks: time to a bare pread", asked / bare)


if __name__ == "__main__":
    main()
