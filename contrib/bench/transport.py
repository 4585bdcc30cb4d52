"""Measure the HTTP transport: MB a CPU second beside curl and plain httpx, and the cost of a small request.

    python contrib/bench/transport.py [--megabytes 1024] [--rounds 3]

Every figure is the median of the rounds, which alternate between the candidates. CPU is user + system time
of the client alone; nginx serves a file from page cache over loopback.
"""

import argparse
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx  # noqa: TID251 - to be measured against
import ratios
import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mountdl.content import Content, ContentKey
from mountdl.descriptors.model import MirrorRef
from mountdl.extents import Extent
from mountdl.integrity import ChunkMap
from mountdl.priorities import Priority
from mountdl.settings import HttpSettings
from mountdl.sources.http import HttpTransport
from mountdl.sources.http.mirror import Mirror
from tests.support import nginx

_SMALL = 1 << 16
_REQUESTS = 3000


class Void:
    """A sink that keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002
        self.count += len(data)

    def room(self, offset: int) -> memoryview | None:  # noqa: ARG002
        return None

    def landed(self, extent: Extent) -> None:
        self.count += extent.length


def cpu(children: bool = False) -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def mirror_of(url: str, size: int, authority: Path) -> Mirror:
    transport = HttpTransport(HttpSettings(ca_certificate=authority))
    content = Content(ContentKey("bench"), size, {}, ChunkMap(size, 1 << 20))
    return transport.source(MirrorRef(url), content)


async def ours(url: str, size: int, authority: Path) -> float:
    source, sink = mirror_of(url, size, authority), Void()
    await source.fetch(Extent(0, 1), sink, priority=Priority.READ)
    before = cpu()
    await source.fetch(Extent(0, size), sink, priority=Priority.READ)
    spent = cpu() - before
    assert sink.count == size + 1
    return size / spent / 1e6


async def bare(url: str, size: int, authority: Path) -> float:  # noqa: ARG001
    """Measure the least that receiving costs here: one non-blocking socket, one buffer, no HTTP to speak of."""
    host, _, port = url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port))) as connected:
        connected.setblocking(False)
        before, count = cpu(), 0
        connected.send(f"GET /bench.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-{size - 1}\r\n\r\n".encode())
        buffer = memoryview(bytearray(1 << 18))
        while count < size:
            try:
                count += connected.recv_into(buffer)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(connected)
        return size / (cpu() - before) / 1e6


async def plain_httpx(url: str, size: int, authority: Path) -> float:
    context = ssl.create_default_context(cafile=str(authority))
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        await client.get(url, headers={"Range": "bytes=0-0"})
        before, count = cpu(), 0
        async with client.stream("GET", url, headers={"Range": f"bytes=0-{size - 1}"}) as response:
            async for data in response.aiter_raw():
                count += len(data)
        spent = cpu() - before
    assert count == size
    return size / spent / 1e6


async def curl(url: str, size: int, authority: Path) -> float:
    before = cpu(children=True)
    command = [
        "curl",
        "-s",
        "--http1.1",
        "--noproxy",
        "*",
        "--cacert",
        str(authority),
        "-r",
        f"0-{size - 1}",
        "-o",
        "/dev/null",
        url,
    ]
    await trio.to_thread.run_sync(lambda: subprocess.run(command, check=True))
    return size / (cpu(children=True) - before) / 1e6


async def small_ours(url: str, size: int, authority: Path) -> float:
    source, sink = mirror_of(url, size, authority), Void()
    await source.fetch(Extent(0, 1), sink, priority=Priority.READ)
    before = cpu()
    for number in range(_REQUESTS):
        start = number * _SMALL % (size - _SMALL)
        await source.fetch(Extent(start, start + _SMALL), sink, priority=Priority.READ)
    return (cpu() - before) / _REQUESTS * 1e6


async def small_by_client(url: str, size: int, authority: Path) -> float:
    """Like `small_ours`, but every request goes through httpx's client as a first one does."""
    source, sink = mirror_of(url, size, authority), Void()
    await source.fetch(Extent(0, 1), sink, priority=Priority.READ)
    before = cpu()
    for number in range(_REQUESTS):
        source._route = None  # noqa: SLF001 - forget where the URL led
        start = number * _SMALL % (size - _SMALL)
        await source.fetch(Extent(start, start + _SMALL), sink, priority=Priority.READ)
    return (cpu() - before) / _REQUESTS * 1e6


async def small_httpx(url: str, size: int, authority: Path) -> float:
    context = ssl.create_default_context(cafile=str(authority))
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        await client.get(url, headers={"Range": "bytes=0-0"})
        before = cpu()
        for number in range(_REQUESTS):
            start = number * _SMALL % (size - _SMALL)
            async with client.stream("GET", url, headers={"Range": f"bytes={start}-{start + _SMALL - 1}"}) as response:
                async for _ in response.aiter_raw():
                    pass
    return (cpu() - before) / _REQUESTS * 1e6


Candidate = Callable[[str, int, Path], Awaitable[float]]


def compare(
    title: str, unit: str, candidates: dict[str, Candidate], url: str, size: int, authority: Path, rounds: int
) -> None:
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            figures[name].append(trio.run(candidate, url, size, authority))
    print(f"{title} ({unit}; load {os.getloadavg()[0]:.1f})")
    for name, values in figures.items():
        print(f"  {name:22} {statistics.median(values):8.0f}   [{min(values):.0f}-{max(values):.0f}]")
    for other in figures.keys() & {"httpx", "curl"}:
        ratio = statistics.median(figures["mountdl"]) / statistics.median(figures[other])
        ratios.add(f"{title}: {unit}, mountdl to {other}", ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    size = options.megabytes << 20
    with tempfile.TemporaryDirectory() as folder:
        root, home = Path(folder, "root"), Path(folder, "home")
        root.mkdir()
        with (root / "bench.bin").open("wb") as file:
            part = os.urandom(1 << 20)
            for _ in range(options.megabytes):
                file.write(part)
        began = time.monotonic()
        with nginx.serving(root, home) as server:
            bulk: dict[str, Candidate] = {"mountdl": ours, "httpx": plain_httpx, "curl": curl}
            small: dict[str, Candidate] = {
                "mountdl": small_ours,
                "mountdl by client": small_by_client,
                "httpx": small_httpx,
            }
            authority = server.certificate.authority
            for scheme, origin in (("plain", server.plain), ("TLS", server.tls)):
                url = f"{origin}/bench.bin"
                floor: dict[str, Candidate] = {"bare recv_into": bare} if scheme == "plain" else {}
                compare(
                    f"{options.megabytes} MiB, {scheme}",
                    "MB a CPU second",
                    floor | bulk,
                    url,
                    size,
                    authority,
                    options.rounds,
                )
                compare(
                    f"64 KiB ranges, {scheme}", "microseconds CPU each", small, url, size, authority, options.rounds
                )
        print(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
