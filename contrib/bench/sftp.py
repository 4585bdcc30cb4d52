"""Measure SFTP beside `sftp` and `sshfs`, over loopback and 20 ms away, all in one run against one sshd.

    python contrib/bench/sftp.py [--megabytes 128] [--rounds 3] [--trip 0.02]

Figures are MB/s, the median of the rounds, which take turns; each makes its connection in that time. Ours is what
the transport delivers to a sink that drops it, in extents of 16 MiB, two at a time as the engine has them; `sftp`
gets into /dev/null, `sshfs` is read by 1 MiB reads from a fresh mount. The way is made longer by a proxy that hands
bytes on late: it has no rate of its own.
"""

import argparse
import asyncio  # noqa: TID251 - the proxy is a program of its own
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ratios
import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.sources.sftp import SftpTransport
from tests.support import sshd

FLIGHT = 16 << 20


class Dropped:
    """A sink that keeps nothing."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        pass

    def room(self, offset: int) -> memoryview | None:  # noqa: ARG002
        return None

    def landed(self, extent: Extent) -> None:
        pass


def late(port: int, target: int, trip: float) -> None:
    """Hand on what comes at *port* to *target* and back, each way half of *trip* late."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(4096)

        async def take() -> None:
            while data := await reader.read(1 << 18):
                await queue.put((time.monotonic() + trip / 2, data))
            await queue.put((time.monotonic() + trip / 2, b""))

        taking = asyncio.create_task(take())
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()
        await taking

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", target, limit=1 << 22)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 22)
        await server.serve_forever()

    asyncio.run(main())


async def ours(server: sshd.Sshd, port: int, size: int) -> float:
    transport = SftpTransport(server.settings(stall_timeout=20.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        content = Content(ContentKey("k"), size, {}, ChunkMap(size, 1 << 20))
        source = transport.source(MirrorRef(server.url("film", port)), content)
        began = time.perf_counter()
        starts = iter(range(0, size, FLIGHT))

        async def lane() -> None:
            for start in starts:
                extent = Extent(start, min(start + FLIGHT, size))
                await source.fetch(extent, Dropped(), priority=Priority.BACKGROUND)

        async with trio.open_nursery() as lanes:
            lanes.start_soon(lane)
            lanes.start_soon(lane)
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return took


def by_sftp(server: sshd.Sshd, port: int) -> float:
    began = time.perf_counter()
    command = ["sftp", "-q", "-F", server.ssh / "config", "-P", str(port), f"127.0.0.1:{server.root}/film", "/dev/null"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def by_sshfs(server: sshd.Sshd, port: int, place: Path) -> float:
    began = time.perf_counter()
    command = ["sshfs", "-F", server.ssh / "config", "-p", str(port), f"127.0.0.1:{server.root}", place]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    try:
        with (place / "film").open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        return time.perf_counter() - began
    finally:
        subprocess.run(["fusermount3", "-u", place], check=True)


def measure(server: sshd.Sshd, port: int, place: Path, size: int, rounds: int) -> dict[str, float]:
    took: dict[str, list[float]] = {"mountdl": [], "sftp": [], "sshfs": []}
    for _ in range(rounds):
        took["mountdl"].append(trio.run(ours, server, port, size))
        took["sftp"].append(by_sftp(server, port))
        took["sshfs"].append(by_sshfs(server, port, place))
    return {name: size / statistics.median(times) / 1e6 for name, times in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trip", type=float, default=0.02)
    asked = parser.parse_args()
    size = asked.megabytes << 20
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("files", "mount"):
            (home / name).mkdir()
        with (home / "files/film").open("wb") as film:
            for _ in range(asked.megabytes):
                film.write(bytes(range(256)) * 4096)
        with sshd.running(home / "sshd", home / "files") as server:
            far = sshd.free_port()
            key = (server.ssh / "known_hosts").read_text().split(" ", 1)[1].strip()
            sshd.know(server.ssh, far, key)
            proxy = multiprocessing.get_context("spawn").Process(target=late, args=(far, server.port, asked.trip))
            proxy.start()
            try:
                for name, port in (("loopback", server.port), (f"{asked.trip * 1000:g} ms", far)):
                    rates = measure(server, port, home / "mount", size, asked.rounds)
                    mine = rates["mountdl"]
                    shown = "  ".join(f"{who} {rate:.0f} MB/s ({mine / rate:.2f})" for who, rate in rates.items())
                    print(f"{name}: {shown}")
                    for who in rates.keys() - {"mountdl"}:
                        ratios.add(f"sftp, {name}: speed to {who}", mine / rates[who])
            finally:
                proxy.terminate()
                proxy.join()


if __name__ == "__main__":
    main()
