"""What systemd is told of how the service is, and when it takes it for hung."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from mountdl import app
from mountdl.control import systemd


@pytest.mark.parametrize(
    ("given", "process", "seconds"),
    [
        ("3000000", None, 3.0),
        ("3000000", "ours", 3.0),
        ("3000000", "1", None),
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
    ],
)
def test_when_it_is_taken_for_hung(
    given: str | None, process: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sd_watchdog_enabled(3) reads it: what is meant for another process, which started us, is nothing to us."""
    asked = str(os.getpid()) if process == "ours" else process
    for name, value in (("WATCHDOG_USEC", given), ("WATCHDOG_PID", asked)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog() == seconds


@pytest.mark.parametrize("abstract", [False, True])
async def test_it_is_told_that_the_loop_runs(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: trio.testing.MockClock
) -> None:
    """Often enough that one that is late by as much again is in time; never where nobody asked."""
    name = f"mountdl-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}" if abstract else name)
        ear.setblocking(False)
        for asked in (True, False):
            monkeypatch.delenv("WATCHDOG_USEC", raising=False)
            if asked:
                monkeypatch.setenv("WATCHDOG_USEC", "4000000")
            with trio.move_on_after(10):
                await app._tell_alive()
            heard = []
            while len(heard) < 100:
                try:
                    heard.append(ear.recv(100))
                except BlockingIOError:
                    break
            assert set(heard) == ({b"WATCHDOG=1"} if asked else set())
            assert len(heard) >= (6 if asked else 0)
