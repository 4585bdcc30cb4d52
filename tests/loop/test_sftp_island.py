"""The island and a line on it, without a server: who is cancelled, or leaves, at the worst of moments."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
import trio

from mountdl.extents import Extent
from mountdl.settings import SftpSettings
from mountdl.sources.sftp import connecting
from mountdl.sources.sftp import line as lines
from mountdl.sources.sftp.address import Place
from mountdl.sources.sftp.hosts import BUSY, Host
from mountdl.sources.sftp.island import Island
from mountdl.sources.sftp.line import Handle, Line
from mountdl.sources.sftp.pace import LEAST, Pace, Sent
from mountdl.sources.sftp.reading import Reading


@asynccontextmanager
async def inhabited() -> AsyncIterator[Island]:
    island = Island()
    try:
        yield island
    finally:
        await island.close()


async def test_a_connection_that_comes_as_its_caller_is_cancelled_is_closed() -> None:
    """Also where it was handed over already, but not taken: by a garbage collector only it was closed."""
    near, far = socket.socketpair()
    handed, gate = trio.Event(), threading.Event()
    calls: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[socket.socket]]] = []

    async def dial() -> socket.socket:
        calls[0][0].call_soon_threadsafe(gate.wait)  # what is posted from here on comes in one turn
        handed.set()
        return near

    async def ask() -> None:
        asking = asyncio.create_task(island.ashore(dial))
        calls.append((asyncio.get_running_loop(), asking))
        with pytest.raises(asyncio.CancelledError):
            await asking

    async with trio.open_nursery() as nursery, inhabited() as island:
        island.moor(nursery)
        nursery.start_soon(island.run, ask)
        await handed.wait()
        calls[0][0].call_soon_threadsafe(calls[0][1].cancel)
        gate.set()
        with trio.fail_after(50):
            while nursery.child_tasks:
                await trio.sleep(0.01)
    far.close()
    assert near.fileno() == -1


async def test_nothing_is_begun_ashore_once_that_is_left() -> None:
    """A connection wanted as the mount or the fetch ends is none: it ended with trio's own traceback."""

    async def never() -> None:
        raise AssertionError

    async def ask() -> None:
        with pytest.raises(asyncio.CancelledError):
            await island.ashore(never)

    async with inhabited() as island:
        async with trio.open_nursery() as nursery:
            island.moor(nursery)
        await island.run(ask)


async def test_a_connection_that_ssh_did_not_begin_with_is_closed(tmp_path: Path) -> None:
    """Cancelled while the library reads its keys, in a thread: it has not taken the socket yet."""
    near, far = socket.socketpair()

    async def ask() -> None:
        async def dial(host: str, port: int) -> socket.socket:
            asyncio.get_running_loop().call_soon(making.cancel)
            return near

        place = Place("127.0.0.1", 22)
        making = asyncio.create_task(connecting.connect(place, SftpSettings(tmp_path), dial))
        with pytest.raises(asyncio.CancelledError):
            await making

    async with inhabited() as island:
        await island.run(ask)
    far.close()
    assert near.fileno() == -1


class Film:
    """An open file of zeros."""

    closed = False

    async def close(self) -> None:
        self.closed = True

    async def read(self, size: int, offset: int) -> bytes:
        return bytes(size)


def line_to_nobody(settings: SftpSettings | None = None) -> Line:
    async def dial(host: str, port: int) -> socket.socket:
        raise ConnectionRefusedError

    return Line(Place("127.0.0.1"), settings or SftpSettings(), dial)


def opened(film: Film, size: int = 100 << 20) -> Handle:
    return Handle(film, size, 0, 0.0)  # type: ignore[arg-type]


async def on_an_island(act: Callable[[], Coroutine[object, object, None]]) -> None:
    async with inhabited() as island:
        with trio.fail_after(50):
            await island.run(act)


async def test_a_turn_that_nobody_takes_goes_to_the_next() -> None:
    """Where its reading ended as its turn came: the line stood still for all who waited behind it."""

    class Ending(Pace):
        window = LEAST  # type: ignore[assignment]  # one at a time

        def came(self, sent: Sent, now: float) -> None:
            super().came(sent, now)
            asyncio.get_running_loop().call_soon(second.cancel)  # before it goes on, and after it got its turn

    async def act() -> None:
        nonlocal second
        line = line_to_nobody()
        line.pace = Ending()
        first = await line.admitted(LEAST)
        second = asyncio.create_task(line.admitted(LEAST))
        third = asyncio.create_task(line.admitted(LEAST))
        await asyncio.sleep(0)
        await line.begin(opened(Film()), 0, first)
        await asyncio.wait((second,))
        assert second.cancelled()
        assert (await third).sent.length == LEAST

    second: asyncio.Task[object]
    await on_an_island(act)


async def test_what_came_while_we_were_stopped_is_looked_at_first() -> None:
    """As by Ctrl-Z for longer than a server may be silent: its answer lies here, and it has done nothing wrong."""

    class Answered(Film):
        async def read(self, size: int, offset: int) -> bytes:
            loop = asyncio.get_running_loop()
            come = asyncio.Event()

            def stopped() -> None:
                time.sleep(0.5)
                loop.call_soon(come.set)  # it came meanwhile

            loop.call_soon(stopped)
            await come.wait()
            await asyncio.sleep(0)  # the library takes it apart
            return bytes(size)

    async def act() -> None:
        line = line_to_nobody(SftpSettings(stall_timeout=0.2))
        assert bytes(LEAST) == await line.begin(opened(Answered()), 0, await line.admitted(LEAST))

    await on_an_island(act)


class Connected(Line):
    """A line to a server that opens a film by any name."""

    def __init__(self) -> None:
        async def dial(host: str, port: int) -> socket.socket:
            raise AssertionError

        super().__init__(Place("127.0.0.1"), SftpSettings(), dial)
        self.films: list[Film] = []

    async def client(self) -> Connected:  # type: ignore[override]
        return self

    async def open(self, *_: object, **__: object) -> Film:
        self.films.append(Film())
        return self.films[-1]

    async def stat(self, _: object) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(size=LEAST, mtime=1)


async def test_a_line_whose_files_are_open_is_in_use() -> None:
    """Who reads files that are open connects to nobody: in a pause of a moment the line was closed as idle."""

    async def act() -> None:
        line = Connected()
        await line.handle(b"film")
        line.used = 0.0
        await line.handle(b"film")
        assert len(line.films) == 1
        assert time.monotonic() - line.used < 60

    await on_an_island(act)


async def test_a_file_is_not_closed_under_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened anew as it was not used for a minute, or as too many are open: a long flight lost its file by that."""
    monkeypatch.setattr(lines, "STALE", -1.0)

    async def act() -> None:
        line = Connected()
        files = line.films
        first = Reading(line, await line.handle(b"film"), Extent(0, LEAST))
        second = Reading(line, await line.handle(b"film"), Extent(0, LEAST))
        await asyncio.sleep(0.01)
        assert [film.closed for film in files] == [False, False]
        first.close()
        first.close()
        await asyncio.sleep(0.01)
        assert [film.closed for film in files] == [True, False]
        second.close()
        await asyncio.sleep(0.01)
        assert [film.closed for film in files] == [True, False]

    await on_an_island(act)


@pytest.mark.parametrize(("again", "dialled"), [(0.0, 2), (1e9, 1)])
async def test_a_second_line_that_failed_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, again: float, dialled: int
) -> None:
    """Not at each read; but a server that was full once may let us in later, and readers went in the queue for ever."""
    monkeypatch.setattr(lines, "AGAIN", again)
    asked: list[int] = []

    async def dial(host: str, port: int) -> socket.socket:
        asked.append(port)
        raise ConnectionRefusedError

    async def act() -> None:
        host = Host(*(Line(Place("127.0.0.1"), SftpSettings(tmp_path), dial) for _ in range(2)))
        host.bulk.pace.sent(BUSY, 0.0)
        for _ in range(2):
            assert host.line(urgent=True) is host.bulk
            making = host.urgent._making
            assert making is not None
            await asyncio.wait((making,))
        assert len(asked) == dialled

    await on_an_island(act)
