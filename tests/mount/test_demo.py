"""`mountdl demo` as a user runs it: its claims hold, and however it ends it leaves nothing behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mountdl.errors import ExitStatus
from tests.support.machine import patience

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="there is no /dev/fuse to use"),
]

LONGEST = 120.0
"""Seconds. It takes 3 on two idle cores."""

STOPPING = """
import os, signal, sys

class Stopping:
    def __init__(self, out, moment):
        self._out, self._moment = out, moment

    def __getattr__(self, name):
        return getattr(self._out, name)

    def write(self, text):
        self._out.write(text)
        if text.lstrip().startswith(self._moment):
            self._out.flush()
            os.kill(os.getpid(), signal.SIGSTOP)

sys.stdout = Stopping(sys.stdout, sys.argv.pop(1))
from mountdl.__main__ import main
main()
"""
"""The demo, which stops once it has said something that begins with the first argument."""


@dataclass
class Place:
    """Where a demo may leave traces: *scratch* is its temporary directory."""

    scratch: Path
    mountpoint: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: object, **options: object) -> subprocess.Popen[str]:
        return self._begun(["-m", "mountdl"], *arguments, **options)

    def stopped(self, moment: str, *arguments: object) -> subprocess.Popen[str]:
        """Start it, and return once it stands still at *moment*, however late who watches it may be."""
        demo = self._begun(["-c", STOPPING, moment], *arguments)
        _, status = os.waitpid(demo.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        return demo

    def _begun(self, how: list[str], *arguments: object, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, *how, "demo", *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **{**pipes, **options})  # type: ignore[call-overload,no-any-return]

    def run(self, *arguments: object) -> tuple[int, str, str]:
        with self.start(*arguments) as demo:
            said, complained = demo.communicate(timeout=LONGEST)
        return demo.returncode, said, complained

    def traces(self) -> list[str]:
        """Return what is still there: mounts, processes and files of this place's demos."""
        mark = str(self.scratch).encode()
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.scratch.parent) in line]
        processes = [str(p) for p in Path("/proc").glob("[0-9]*") if mark in command_line(p)]
        files = [*map(str, self.scratch.iterdir()), *map(str, self.mountpoint.iterdir())]
        return mounts + processes + files


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    scratch, mountpoint = tmp_path / "scratch", tmp_path / "mnt"
    scratch.mkdir()
    mountpoint.mkdir()
    return Place(scratch, mountpoint, {**os.environ, "TMPDIR": str(scratch), "TERM": "xterm"})


def test_the_demo_shows_the_main_job(place: Place) -> None:
    """All bytes are equal to the original's, twice, the liar is named, the dying one died, nothing is left."""
    start = time.monotonic()
    status, said, complained = place.run()

    assert (status, complained) == (ExitStatus.OK, ""), said
    assert time.monotonic() - start < patience(10)
    assert "A metalink of the film" in said
    assert "a torrent of the disc" in said
    assert "not a byte was fetched yet" in said
    assert re.search(r"The first 64.0 KiB: right, after \d+ ms", said)
    assert re.search(r"The last 64.0 KiB: right, after \d+ ms", said)
    assert re.search(r"53 files", said)
    assert len(re.findall(r"all 34565032 bytes are equal", said)) == 2
    assert re.search(r"^   lying .*sent wrong bytes for chunk \d*7$", said, re.MULTILINE)
    assert "The lying mirror was caught" in said
    assert "The dying mirror broke off" in said
    assert "nothing from mirrors: what is stored needs no mirror" in said
    assert "All held" in said
    assert "\x1b" not in said
    assert "\r" not in said
    assert place.traces() == []


def test_little_is_fetched_before_the_whole_is_read(place: Place) -> None:
    """Both ends of the film cost less than a sixth of it, says the mount: a chunk each, and a stream on trial.

    That is 4 MiB, all of which come where the machine is too busy to end it in time.
    """
    _, said, _ = place.run(place.mountpoint)

    found = re.search(r"That took .* On disk are (\d+(?:\.\d+)?) (KiB|MiB) of 33.0 MiB", said)
    assert found is not None
    assert float(found[1]) * (1 if found[2] == "KiB" else 1024) < 33 * 1024 / 6
    assert str(place.mountpoint) in said
    assert place.traces() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["1. Files", "2. Mount", "4. Look", "5. Read", "7. Mount"])
def test_ended_by_a_signal_it_cleans_up(place: Place, number: signal.Signals, moment: str) -> None:
    """At any moment, and with the exit status that a shell expects."""
    demo = place.stopped(moment, place.mountpoint)
    demo.send_signal(number)
    demo.send_signal(signal.SIGCONT)
    _, complained = demo.communicate(timeout=LONGEST)

    assert (demo.returncode, complained) == (128 + number, "")
    assert place.traces() == []


def test_when_its_output_is_cut_off_it_cleans_up(place: Place) -> None:
    """As by head(1): no traceback."""
    demo = place.start()
    assert demo.stdout is not None
    assert demo.stderr is not None
    demo.stdout.readline()
    demo.stdout.close()
    complained = demo.stderr.read()
    demo.stderr.close()

    assert demo.wait(LONGEST) == 128 + signal.SIGPIPE
    assert complained == ""
    assert place.traces() == []


@pytest.mark.parametrize("moment", ["3. Open", "5. Read", "6. Who"])
def test_when_its_mount_dies_it_says_so_and_cleans_up(place: Place, moment: str) -> None:
    """A killed daemon leaves a dead mount, which the demo takes away, whatever it was about to ask."""
    demo = place.stopped(moment, place.mountpoint)
    [child] = [
        p
        for p in Path("/proc").glob("[0-9]*")
        if b"--foreground" in (line := command_line(p)) and str(place.mountpoint).encode() in line
    ]
    os.kill(int(child.name), signal.SIGKILL)
    demo.send_signal(signal.SIGCONT)
    _, complained = demo.communicate(timeout=LONGEST)

    assert demo.returncode == ExitStatus.IO
    assert re.fullmatch(r"mountdl: [^\n]+ the mount is dead[^\n]*\n", complained)
    assert place.traces() == []


def test_a_mountpoint_that_will_not_do_is_refused(place: Place) -> None:
    """One that is missing, not a directory, or not empty: a sentence, and nothing was begun."""
    busy = place.mountpoint.parent / "busy"
    busy.mkdir()
    file = busy / "file"
    file.touch()

    for path, status, words in (
        (place.mountpoint / "missing", ExitStatus.NOT_FOUND, "does not exist"),
        (file, ExitStatus.BAD_OPTION, "not a directory"),
        (busy, ExitStatus.BAD_OPTION, "not empty"),
    ):
        got, said, complained = place.run(path)
        assert (got, said) == (status, "")
        assert words in complained
    assert place.traces() == []


def test_on_a_terminal_the_mount_stays_until_enter(place: Place) -> None:
    """With a mountpoint given, the user may look around, with the mirrors on again."""
    master, terminal = pty.openpty()
    demo = place.start(place.mountpoint, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    said = heard(master, lambda text: "Press Enter" in text)

    disc = (place.mountpoint / "sample-disc.iso").read_bytes()
    os.write(master, b"\n")
    said += heard(master, lambda text: False)

    assert len(disc) == 29763584
    assert demo.wait(LONGEST) == ExitStatus.OK, said
    assert "Cleaned up" in said
    assert "\x1b[1m" in said
    os.close(master)
    assert place.traces() == []


def heard(terminal: int, enough: Callable[[str], bool]) -> str:
    """Read until *enough* of it came or nobody speaks any more."""
    text = ""
    while not enough(text):
        try:
            more = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            more = b""
        if not more:
            break
        text += more.decode()
    return text
