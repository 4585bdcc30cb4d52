"""What goes wrong around a command ends in a sentence and a status, never in a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mountdl.control import client, mounttable
from mountdl.control.cli import main
from mountdl.control.mounttable import Mounted
from mountdl.control.registry import Registry
from mountdl.errors import ExitStatus, UsageError

DIGITS = "9" * 5000


def _unused(*_: object) -> None:
    raise AssertionError("no mount is wanted")


def test_an_output_on_a_full_disk_is_told(tmp_path: Path) -> None:
    given = tmp_path / "a.uris"
    given.write_text("http://h/a\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mountdl", "inspect", given],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (17, "mountdl: standard output: No space left on device\n")


def test_an_interrupt_while_modules_are_read_is_quiet() -> None:
    """Ctrl-C comes when it comes; the command line itself takes 0.1 s to import."""
    script = (
        "import builtins, sys, mountdl.__main__ as m\n"
        "real = builtins.__import__\n"
        "def hit(name, *a, **k):\n"
        "    if name.startswith('mountdl.control'): raise KeyboardInterrupt\n"
        "    return real(name, *a, **k)\n"
        "builtins.__import__ = hit\n"
        "m.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_loop_of_links_is_a_path_like_any(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / "loop" / "below"):
        assert str(mounttable.resolved(path)).startswith(str(tmp_path))


def test_a_file_of_a_dead_mount_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question to such a file is ENOTCONN, which was a traceback."""
    dead = tmp_path / "mnt"
    stat = os.lstat

    def refusing(path: str | Path, *given: object, **named: object) -> os.stat_result:
        if Path(path).is_relative_to(dead):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
        return stat(path, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "lstat", refusing)
    monkeypatch.setattr(mounttable, "read", lambda: [Mounted(Path("/"), "x", "x"), Mounted(dead, "fuse.mountdl", "x")])
    monkeypatch.setattr(mounttable, "dead", lambda path: path == dead)
    with pytest.raises(UsageError, match="is dead: mount it again") as told:
        client.locate(dead / "a" / "b", Registry(tmp_path))
    assert told.value.exit_status is ExitStatus.IO
    with pytest.raises(UsageError, match="is not in a mount"):
        client.locate(tmp_path / "b", Registry(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["mount", "--split", DIGITS, "a", "b"],
        ["mount", "-o", f"split={DIGITS}", "a", "b"],
        ["mount", f"--nosuch{DIGITS}", "a", "b"],
        ["create", "--piece-length", DIGITS, "a"],
        ["wait", "--timeout", DIGITS, "a"],
    ],
)
def test_absurd_values_are_not_echoed_whole(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence names what is wrong; 5000 digits would hide it."""
    assert main(arguments, _unused, _unused) == ExitStatus.BAD_OPTION
    assert len(capsys.readouterr().err) < 500
