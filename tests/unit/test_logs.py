"""Where messages go, and what the system's log is told of how much they matter."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mountdl.control import logs, systemd
from mountdl.control.logs import NOTICE
from mountdl.errors import UsageError

log = logging.getLogger("mountdl.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours, raises = logging.getLogger(), logging.getLogger("mountdl"), logging.raiseExceptions
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.raiseExceptions = raises


@contextlib.contextmanager
def at_stderr(path: Path) -> Iterator[str]:
    """Have file descriptor 2 be the file *path*; yield what systemd sets JOURNAL_STREAM to where that is its log."""
    old = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield f"{path.stat().st_dev}:{path.stat().st_ino}"
    finally:
        os.dup2(old, 2)
        os.close(old)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (NOTICE, 5),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_the_system_is_told_how_much_a_message_matters(
    level: int, priority: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is mounted is no warning; and it is text, to its last byte."""
    monkeypatch.setattr(logs, "_SYSTEM", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "log"))
        ear.settimeout(10)
        logs.set_up(None, "debug")
        log.log(level, "hello")
        heard = ear.recv(1000).decode()
    daemon = 3
    assert heard.startswith(f"<{daemon * 8 + priority}>mountdl[{os.getpid()}]: ")
    assert heard.endswith(" mountdl.test: hello")


def test_systemd_at_standard_error_has_its_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service in the foreground: each line says how much it matters, also of a traceback, and no time twice."""
    told = io.StringIO()
    with at_stderr(tmp_path / "file") as stream:
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        monkeypatch.setattr("sys.stderr", told)
        logs.set_up(None, "info", foreground=True)
        log.log(NOTICE, "here")
        try:
            raise ValueError("a\nb")
        except ValueError:
            log.exception("gone")
    lines = told.getvalue().splitlines()
    assert lines[:3] == ["<5>mountdl.test: here", "<3>mountdl.test: gone", "<3>Traceback (most recent call last):"]
    assert all(line.startswith("<3>") for line in lines[1:])
    assert lines[-1] == "<3>b"


def test_only_systemd_is_spoken_to_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal or a file that a service's standard error leads to gets what people read."""
    with at_stderr(tmp_path / "file") as stream:
        for given, marked in (("", "a"), ("1:2", "a"), ("junk", "a"), (stream, "<3>a")):
            monkeypatch.setenv("JOURNAL_STREAM", given)
            assert systemd.line("a", systemd.ERROR) == marked
        assert systemd.line("a\nb", systemd.WARNING) == "<4>a\n<4>b"
        monkeypatch.delenv("JOURNAL_STREAM")
        assert systemd.line("a", systemd.ERROR) == "a"


def test_a_log_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    """Before anything is mounted."""
    with pytest.raises(UsageError, match="--log: .* can't be written: Is a directory"):
        logs.set_up(tmp_path, "notice")


def test_a_log_that_was_rotated_is_begun_anew(tmp_path: Path) -> None:
    """Whether logrotate renamed it, or renamed it and made a fresh one of its own."""
    file, old = tmp_path / "log", tmp_path / "log.1"
    logs.set_up(file, "notice")
    for turn, create in enumerate((False, True)):
        log.error("before %d", turn)
        file.replace(old)
        if create:
            file.touch()
        log.error("after %d", turn)
        assert (f"before {turn}" in old.read_text(), f"after {turn}" in old.read_text()) == (True, False)
        assert f"after {turn}" in file.read_text()
