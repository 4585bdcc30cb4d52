"""FTP beside curl and ftplib on loopback vsftpd: the whole in order, and 1 MiB anywhere; medians of rounds.

Rounds take turns in either order.

Run as root: `PYTHONPATH=. python contrib/bench/ftp.py [MiB]`.
"""

from __future__ import annotations

import ftplib
import random
import statistics
import subprocess
import sys
import time

import ratios
import trio

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import HttpSettings
from mountdl.sources.ftp import FtpTransport
from tests.support import ftpservers
from tests.support.content import pattern

MIB = 1 << 20
ROUNDS = 8
RANGES = 30


class Nowhere:
    """A sink that forgets."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """See `Sink`."""

    def room(self, offset: int) -> memoryview | None:
        """See `Sink`."""
        del offset
        return None

    def landed(self, extent: Extent) -> None:
        """See `Sink`."""


async def ours(url: str, size: int, extents: list[Extent], priority: Priority) -> float:
    """Return the seconds that *extents* take, after one that logs in."""
    transport = FtpTransport(HttpSettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        source = transport.source(MirrorRef(url), Content(ContentKey("k"), size, {}, ChunkMap(size, MIB)))
        await source.fetch(Extent(5, 6), Nowhere(), priority=Priority.READ)
        start = time.perf_counter()
        for extent in extents:
            await source.fetch(extent, Nowhere(), priority=priority)
        took = time.perf_counter() - start
        nursery.cancel_scope.cancel()
    return took


def by_ftplib(port: int, extents: list[Extent]) -> float:
    """Return the seconds that *extents* take ftplib, by one login, each ended by closing the data connection."""
    with ftplib.FTP() as client:
        client.connect("127.0.0.1", port)
        client.login()
        client.voidcmd("TYPE I")
        start = time.perf_counter()
        for extent in extents:
            with client.transfercmd("RETR f", rest=extent.start) as data:
                left = extent.length
                while left > 0:
                    left -= len(data.recv(min(left, 256 << 10)))
            client.getmultiline()
        return time.perf_counter() - start


def compared(port: int, size: int, in_order: list[Extent], anywhere: list[Extent], *, first: bool) -> dict[str, float]:
    """Return the seconds of one round; ours goes *first*, or last."""
    url = f"ftp://127.0.0.1:{port}/f"

    def by_curl() -> float:
        start = time.perf_counter()
        subprocess.run(["curl", "-s", "-o", "/dev/null", url], check=True)
        return time.perf_counter() - start

    turns = [
        ("ours in order", lambda: trio.run(ours, url, size, in_order, Priority.READAHEAD)),
        ("curl", by_curl),
        ("ours anywhere", lambda: trio.run(ours, url, size, anywhere, Priority.READ)),
        ("ftplib anywhere", lambda: by_ftplib(port, anywhere)),
    ]
    return {name: turn() for name, turn in (turns if first else reversed(turns))}


def main() -> None:
    """Print what each took, and the ratios: the median of the rounds, and the least and most."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 128) * MIB
    chance = random.Random(3)
    starts = [chance.randrange(1, size - 2 * MIB) for _ in range(RANGES)]
    anywhere = [Extent(start, start + MIB) for start in starts]
    in_order = [Extent(start, min(size, start + 8 * MIB)) for start in range(0, size, 8 * MIB)]
    with ftpservers.folder() as home:
        (home / "root" / "f").write_bytes(pattern(MIB) * (size // MIB))
        with ftpservers.vsftpd(home) as server:
            rounds = [compared(server.port, size, in_order, anywhere, first=bool(n % 2)) for n in range(ROUNDS)]
    for name in rounds[0]:
        print(f"{name}: {statistics.median(took[name] for took in rounds):.4f} s")
    for what, them, we in (
        ("in order, times curl's speed", "curl", "ours in order"),
        ("1 MiB anywhere, times ftplib's speed", "ftplib anywhere", "ours anywhere"),
    ):
        found = [took[them] / took[we] for took in rounds]
        print(f"{what}: {statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})")
        ratios.add(f"ftp, {what}", statistics.median(found))


if __name__ == "__main__":
    main()
