"""What a mount in the foreground tells systemd, and when."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mountdl.control import mounting
from mountdl.control.registry import Registry
from mountdl.errors import UsageError
from mountdl.settings import MountSettings, Settings, StoreSettings


def settings(tmp_path: Path) -> Settings:
    for name in ("source", "mnt", "run"):
        (tmp_path / name).mkdir()
    mount = MountSettings(str(tmp_path / "source"), tmp_path / "mnt", foreground=True, log=tmp_path / "log")
    return Settings(mount, StoreSettings(tmp_path / "cache"))


def heard(ear: socket.socket) -> list[bytes]:
    """Return what was told until now."""
    told = []
    while True:
        try:
            told.append(ear.recv(100))
        except BlockingIOError:
            return told


@pytest.mark.parametrize("fails", [False, True])
def test_systemd_hears_of_the_end_when_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """What comes then may take a while: it puts on record what is stored. It is told once, however it ends."""
    monkeypatch.setattr("mountdl.control.checks.check", lambda *_: [])
    monkeypatch.setattr("mountdl.control.logs.set_up", lambda *_, **__: None)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    seen: list[list[bytes]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)

        def serve(given: Settings, ready: Callable[[], None], ending: Callable[[], None]) -> None:
            if fails:
                raise UsageError("no")
            ready()
            seen.append(heard(ear))
            ending()
            seen.append(heard(ear))
            ending()

        if fails:
            with pytest.raises(UsageError):
                mounting.run(settings(tmp_path), serve, Registry(tmp_path / "run"))
        else:
            mounting.run(settings(tmp_path), serve, Registry(tmp_path / "run"))
        seen.append(heard(ear))
    assert seen == ([[b"STOPPING=1"]] if fails else [[b"READY=1"], [b"STOPPING=1"], []])
