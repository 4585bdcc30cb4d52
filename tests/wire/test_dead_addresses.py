"""A host of which one address answers nothing at all: no refusal, no reset, just silence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support import deadends, ftpservers, sshd
from tests.support.content import pattern
from tests.support.httpserver import computing, partial, serving
from tests.support.machine import patience
from tests.wire import test_ftp_servers as ftp
from tests.wire import test_sftp as sftp
from tests.wire.http import CALM, CONTENT, fetched, mirror, running

PATIENT = 3.0
"""Seconds that no dead address may cost; a machine with nothing else to do takes 0.25, and one that is waited for 20."""
each_address = pytest.mark.parametrize("dead", ["::1", "127.0.0.2"])


@contextlib.contextmanager
def half_dead(dead: str, port: int) -> Iterator[None]:
    """Let the first address of the name be a black hole."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(deadends.black_hole(dead, port))
        except OSError as error:
            pytest.skip(f"no such address here: {error}")
        stack.enter_context(deadends.named(dead, "127.0.0.1"))
        yield


@each_address
async def test_http_goes_by_the_other(dead: str) -> None:
    """A quarter of a second later the next address is tried beside it."""
    async with serving(computing(lambda request: partial(request, CONTENT))) as server, running(patience=CALM) as pool:
        with half_dead(dead, server.port):
            began = trio.current_time()
            source = mirror(pool, f"http://{deadends.NAME}:{server.port}/a")
            assert await fetched(source, 10, 5000) == CONTENT[10:5000]
            assert trio.current_time() - began < patience(PATIENT)


@each_address
async def test_ftp_goes_by_the_other(dead: str, tmp_path: Path) -> None:
    """So do control connections; data connections go straight where those lead."""
    (tmp_path / "f").write_bytes(ftp.DATA)
    with ftpservers.pyftpdlib(tmp_path) as server:
        async with ftp.running() as pool:
            with half_dead(dead, server.port):
                began = trio.current_time()
                source = ftp.mirror(pool, f"ftp://{deadends.NAME}:{server.port}/f")
                assert await ftp.fetched(source, 10, 500_000) == ftp.DATA[10:500_000]
                assert trio.current_time() - began < patience(PATIENT)


@pytest.mark.skipif(sshd.SSHD is None, reason="sshd is not installed")
@each_address
async def test_sftp_goes_by_the_other(dead: str, tmp_path: Path) -> None:
    """The connection is made for ssh, which checks the key of the name that was asked for."""
    data = pattern(600_000)
    (tmp_path / "f").write_bytes(data)
    with sshd.running(tmp_path / "sshd", tmp_path) as server:
        known = server.ssh / "known_hosts"
        known.write_text(known.read_text().replace("[127.0.0.1]", f"[{deadends.NAME}]"))
        async with sftp.running(server.settings()) as pool:
            with half_dead(dead, server.port):
                began = trio.current_time()
                url = f"sftp://{deadends.NAME}:{server.port}{tmp_path}/f"
                assert await sftp.fetched(sftp.mirror(pool, url, len(data)), 10, 500_000) == data[10:500_000]
                assert trio.current_time() - began < patience(PATIENT)
