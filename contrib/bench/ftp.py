"""FTP beside curl and ftplib on loopback vsftpd: the whole in order, and 1 MiB anywhere; rounds in turn, best of each.

Run as root: `PYTHONPATH=. python contrib/bench/ftp.py [MiB]`.
"""

from __future__ import annotations

import ftplib
import random
import subprocess
import sys
import time

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
ROUNDS = 3
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


def main() -> None:
    """Print what each took, and the ratios."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 128) * MIB
    chance = random.Random(3)
    starts = [chance.randrange(1, size - 2 * MIB) for _ in range(RANGES)]
    anywhere = [Extent(start, start + MIB) for start in starts]
    in_order = [Extent(start, min(size, start + 8 * MIB)) for start in range(0, size, 8 * MIB)]
    with ftpservers.folder() as home:
        (home / "root" / "f").write_bytes(pattern(MIB) * (size // MIB))
        with ftpservers.vsftpd(home) as server:
            url = f"ftp://127.0.0.1:{server.port}/f"
            best = dict.fromkeys(["curl", "ours in order", "ftplib anywhere", "ours anywhere"], 1e9)
            for _ in range(ROUNDS):
                start = time.perf_counter()
                subprocess.run(["curl", "-s", "-o", "/dev/null", url], check=True)
                best["curl"] = min(best["curl"], time.perf_counter() - start)
                took = trio.run(ours, url, size, in_order, Priority.READAHEAD)
                best["ours in order"] = min(best["ours in order"], took)
                best["ftplib anywhere"] = min(best["ftplib anywhere"], by_ftplib(server.port, anywhere))
                took = trio.run(ours, url, size, anywhere, Priority.READ)
                best["ours anywhere"] = min(best["ours anywhere"], took)
    for name, took in best.items():
        print(f"{name}: {took:.4f} s")
    print(f"in order: {best['curl'] / best['ours in order']:.2f} of curl")
    print(f"1 MiB anywhere: {best['ours anywhere'] / best['ftplib anywhere']:.2f} of ftplib's time")


if __name__ == "__main__":
    main()
