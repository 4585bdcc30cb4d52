"""The control server: bounded, and never in the way of the mount."""

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from mountdl.control import server
from mountdl.control.messages import MAX_REQUEST, Json
from mountdl.errors import ExitStatus, UsageError


class Fake:
    """A mount that has the file "a"; waiting for it takes until `arrived` is set."""

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.wants = 0
        self.ended = False

    async def status(self, path: str | None, *, brief: bool = False) -> Json:
        return {"path": path}

    def why(self, path: str) -> Json:
        if path == "defect":
            raise RuntimeError("secret detail")
        raise UsageError(f"{path} is not there", ExitStatus.NOT_FOUND)

    async def want(self, path: str, what: str, timeout: float) -> None:
        self.wants += 1
        try:
            await self.arrived.wait()
        finally:
            self.wants -= 1

    def shutdown(self) -> None:
        self.ended = True


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[tuple[Fake, Path]]:
    fake, path = Fake(), tmp_path / "s"
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, fake, path)
        yield fake, path
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def everything(client: trio.SocketStream) -> bytes:
    return b"".join([part async for part in client])


async def test_each_verb_is_answered_in_order(tmp_path: Path) -> None:
    """One connection may ask several things."""
    async with serving(tmp_path) as (fake, path), await trio.open_unix_socket(path) as client:
        got = []
        for request in (
            b'{"verb":"status"}',
            b'{"verb":"status","path":"a"}',
            b'{"verb":"why","path":"b"}',
            b'{"verb":"shutdown"}',
        ):
            await client.send_all(request + b"\n")
            got.append(json.loads(await client.receive_some()))

        assert got == [
            {"result": {"path": None}},
            {"result": {"path": "a"}},
            {"error": "b is not there", "exit_status": 3},
            {"result": {}},
        ]
        assert fake.ended


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"\xff\n",
        b'{"verb":"x"}\n',
        b'{"verb":"why"}\n',
        b'{"verb":"why","path":3}\n',
        b'{"verb":"want","path":"a","what":"half"}\n',
        b'{"verb":"want","path":"a","what":"all","timeout":-1}\n',
        b'{"verb":"want","path":"a","what":"all","timeout":1e999}\n',
        b"[" * 60000 + b"\n",
    ],
)
async def test_nonsense_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    """And the connection stays usable: nothing a client sends is a defect of ours."""
    async with serving(tmp_path) as (_, path), await trio.open_unix_socket(path) as client:
        await client.send_all(line)
        assert json.loads(await client.receive_some())["exit_status"] == 28
        await client.send_all(b'{"verb":"status"}\n')
        assert json.loads(await client.receive_some()) == {"result": {"path": None}}


async def test_a_defect_does_not_leak(tmp_path: Path) -> None:
    """Its details are for the log."""
    async with serving(tmp_path) as (_, path), await trio.open_unix_socket(path) as client:
        await client.send_all(b'{"verb":"why","path":"defect"}\n')
        assert "secret" not in (await client.receive_some()).decode()


async def test_a_line_without_end_is_cut_off(tmp_path: Path) -> None:
    """More than 64 KiB is no request."""
    async with serving(tmp_path) as (_, path), await trio.open_unix_socket(path) as client:
        with contextlib.suppress(trio.BrokenResourceError):
            await client.send_all(b"x" * 2 * MAX_REQUEST)
        with contextlib.suppress(trio.BrokenResourceError):
            assert await client.receive_some() == b""


async def test_a_client_that_hangs_up_takes_its_want_along(tmp_path: Path) -> None:
    """Ctrl-C in `mountdl wait` leaves nothing behind in the daemon."""
    async with serving(tmp_path) as (fake, path):
        async with await trio.open_unix_socket(path) as client:
            await client.send_all(b'{"verb":"want","path":"a","what":"all","timeout":null}\n')
            while not fake.wants:
                await trio.sleep(0.001)
        while fake.wants:
            await trio.sleep(0.001)


async def test_a_want_ends_when_the_file_is_here(tmp_path: Path) -> None:
    """And other clients are answered meanwhile."""
    async with serving(tmp_path) as (fake, path), await trio.open_unix_socket(path) as waiting:
        await waiting.send_all(b'{"verb":"want","path":"a","what":"playable","timeout":5}\n')
        async with await trio.open_unix_socket(path) as other:
            await other.send_all(b'{"verb":"status"}\n')
            assert json.loads(await other.receive_some()) == {"result": {"path": None}}
        fake.arrived.set()
        assert json.loads(await waiting.receive_some()) == {"result": {}}


async def test_who_says_nothing_makes_room(tmp_path: Path) -> None:
    """Hundreds of idle connections kept `mountdl status` out: the oldest of them goes."""
    async with serving(tmp_path) as (_, path):
        clients = [await trio.open_unix_socket(path) for _ in range(server.MAX_CLIENTS)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with await trio.open_unix_socket(path) as late:
            assert await everything(clients[0]) == b""
            for client in (late, clients[1]):
                await client.send_all(b'{"verb":"status"}\n')
                assert json.loads(await client.receive_some()) == {"result": {"path": None}}
        for client in clients:
            await client.aclose()


async def test_who_waits_keeps_his_place(tmp_path: Path) -> None:
    """One more than allowed is told so; a place that gets free is used again."""
    async with serving(tmp_path) as (fake, path):
        clients = [await trio.open_unix_socket(path) for _ in range(server.MAX_CLIENTS)]
        for client in clients:
            await client.send_all(b'{"verb":"want","path":"a","what":"all","timeout":null}\n')
        while fake.wants < server.MAX_CLIENTS:
            await trio.sleep(0.001)
        async with await trio.open_unix_socket(path) as late:
            assert json.loads(await everything(late))["error"].startswith("32 commands wait for this mount already")
        await clients.pop().aclose()
        while fake.wants == server.MAX_CLIENTS:
            await trio.sleep(0.001)
        async with await trio.open_unix_socket(path) as next_one:
            await next_one.send_all(b'{"verb":"status"}\n')
            assert json.loads(await next_one.receive_some())
        for client in clients:
            await client.aclose()


async def test_a_silent_client_is_dropped(tmp_path: Path, clock: trio.testing.MockClock) -> None:
    """It would keep a place for ever otherwise."""
    async with serving(tmp_path) as (_, path), await trio.open_unix_socket(path) as client:
        started = trio.current_time()
        assert await everything(client) == b""
        assert trio.current_time() - started >= server.PATIENCE
