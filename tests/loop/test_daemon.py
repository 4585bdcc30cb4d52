"""Going to the background: the parent's exit status is the truth about the child."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
from mountdl.control import daemon
from mountdl.errors import ExitStatus, MountdlError, UsageError
{more}

def run(ready):
{body}

try:
    daemon.in_background(run, "look there", "still looking", in_group=os.getpgrp() == {in_group})
except MountdlError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
except KeyboardInterrupt:
    sys.exit(130)
print("up", flush=True)
"""


def started(body: str, more: str = "", in_group: int = -1) -> subprocess.Popen[str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = PROGRAM.format(body=lines, more=more, in_group=in_group)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(body: str) -> tuple[int, str, str]:
    process = started(body)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_parent_leaves_when_the_child_is_ready(tmp_path: Path) -> None:
    """Not before, and while the child goes on; a caller that reads our output is not kept waiting."""
    mark = tmp_path / "mark"
    got = outcome(f"time.sleep(0.2)\nopen({str(mark)!r}, 'w').write('x')\nready()\nprint('unheard')\ntime.sleep(1)")

    assert got == (0, "up\n", "")
    assert mark.exists()


def test_one_that_takes_long_says_what_it_waits_for(tmp_path: Path) -> None:
    """A home directory as source is searched for minutes: silence looks like a hang."""
    until, said = tmp_path / "until", "mountdl: still looking; Ctrl-C gives up\n"
    os.mkfifo(until)
    waiting = started(f"open({str(until)!r}).read()\nready()", more="daemon.LONG = 0.01")
    assert waiting.stderr is not None
    assert waiting.stderr.read(len(said)) == said
    until.write_text("")
    _, err = waiting.communicate(timeout=60)

    assert (waiting.returncode, err) == (0, "")


def test_the_reason_of_a_child_that_fails_is_told() -> None:
    """With its exit status."""
    assert outcome("raise UsageError('no room', ExitStatus.DISK_FULL)") == (9, "", "no room\n")


def test_a_child_that_unmounts_before_it_is_ready_failed() -> None:
    """Somebody took the mount away meanwhile."""
    assert outcome("pass") == (1, "", "it was unmounted before reads worked\n")


@pytest.mark.parametrize(
    ("body", "how"),
    [("os._exit(7)", "ended with status 7"), ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL")],
)
def test_a_child_that_dies_without_a_word_is_told(body: str, how: str) -> None:
    """And where to look for more."""
    assert outcome(body) == (1, "", f"the daemon {how} before reads worked, without a reason; look there\n")


def test_a_defect_is_a_sentence() -> None:
    """No traceback reaches the user."""
    status, out, err = outcome("import logging; logging.disable(); 1 / 0")

    assert (status, out, err) == (1, "", "a defect of mountdl: ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("in_group", [False, True])
def test_the_child_gets_a_session_of_its_own(tmp_path: Path, in_group: bool) -> None:
    """For an automount only once it is ready: while it mounts, the kernel lets nobody look there but its group."""
    some, every = tmp_path / "some", tmp_path / "all"
    told = f"open({str(some)!r}, 'a').write(f'{{os.getsid(0) == os.getpid()}} ')"
    body = f"{told}\nready()\n{told}\nos.rename({str(some)!r}, {str(every)!r})"
    process = started(body, in_group=os.getpgrp() if in_group else -1)
    assert process.communicate(timeout=60) == ("up\n", "")
    while not every.exists():
        time.sleep(0.01)
    assert every.read_text() == ("False True " if in_group else "True True ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_waiting_ends_the_child(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C leaves no daemon behind."""
    mark = tmp_path / "pid"
    process = started(
        f"open({str(mark)!r} + '~', 'w').write(str(os.getpid()))\nos.rename({str(mark)!r} + '~', {str(mark)!r})\ntime.sleep(100)"
    )
    while not mark.exists():
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
