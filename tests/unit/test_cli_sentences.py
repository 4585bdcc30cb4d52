"""What goes wrong around a command ends in a sentence and a status, never in a traceback."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pwd
import socket
import struct
import subprocess
import sys
import termios
from contextlib import ExitStack
from pathlib import Path

import pytest

from mountdl.control import client, mounttable, parser, terminal, unmounting
from mountdl.control.cli import Jobs, main, unmount_helper
from mountdl.control.mounttable import Mounted
from mountdl.control.registry import Entry, Registry
from mountdl.errors import ExitStatus, UsageError

DIGITS = "9" * 5000


def _unused(*_: object) -> None:
    raise AssertionError("no mount is wanted")


JOBS = Jobs(_unused, _unused, _unused)


@pytest.mark.parametrize("arguments", [["inspect", "a.uris"], ["--help"], ["--version"], ["mount", "--help"]])
def test_an_output_on_a_full_disk_is_told(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.uris").write_text("http://h/a\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mountdl", *arguments],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (17, "mountdl: standard output: No space left on device\n")


@pytest.mark.parametrize("way", ["KeyboardInterrupt", "RuntimeError('in __set_name__') from KeyboardInterrupt()"])
def test_an_interrupt_while_modules_are_read_is_quiet(way: str) -> None:
    """Ctrl-C comes when it comes; what a mount needs takes 0.2 s to import. Python wraps it where a class is made."""
    script = (
        "import builtins, sys, mountdl.__main__ as m\n"
        "real = builtins.__import__\n"
        "def hit(name, *a, **k):\n"
        f"    if name.startswith('mountdl.control'): raise {way}\n"
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


def test_a_folder_that_is_gone_is_said_to_be_that(tmp_path: Path) -> None:
    """What is named relative to it was complained of as standard output's fault."""
    script = f"mkdir gone; cd gone; rmdir ../gone; exec '{sys.executable}' -m mountdl mount s m"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (17, "mountdl: the folder that this runs in: No such file or directory\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_defect(closed: str, tmp_path: Path) -> None:
    """Nothing that is opened later may get their numbers, which a daemon's messages would go to."""
    script = f"'{sys.executable}' -m mountdl inspect a.uris {closed}"
    (tmp_path / "a.uris").write_text("http://h/a\n")
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_in_a_mount_is_found_without_asking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped never answers; links that lead there are followed all the same."""
    real, asked = os.readlink, []
    mount = tmp_path / "real" / "mnt"
    mount.mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/../real/mnt")
    (tmp_path / "file").symlink_to(mount / "deep" / "file")

    def noting(path: Path) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(os, "readlink", noting)
    monkeypatch.setattr(mounttable, "read", lambda: [Mounted(Path("/"), "x", "x"), Mounted(mount, "fuse.mountdl", "x")])
    for path, inside in (("real/mnt/a/b", "a/b"), ("link/a/../b", "b"), ("file", "deep/file"), ("link", ".")):
        assert mounttable.resolved(tmp_path / path) == mount / inside
    assert mounttable.resolved(tmp_path / "link" / ".." / "x") == tmp_path / "real" / "x"
    assert not [path for path in asked if path.is_relative_to(mount)]


def test_a_daemon_that_is_stopped_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the connection and says nothing, for ever; how to go on is in the sentence."""
    monkeypatch.setattr(client, "_LOOK", 0.05)
    script = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with socket.socket(socket.AF_UNIX) as listening, subprocess.Popen([sys.executable, "-c", script]) as stopped:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        try:
            os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
            entry = Entry("/m", "/s", stopped.pid, str(tmp_path / "s"), 0.0)
            with pytest.raises(UsageError, match=rf"process {stopped.pid}\) is stopped: kill -CONT {stopped.pid} lets"):
                client.ask(entry, {"verb": "status"}, timeout=None)
        finally:
            stopped.kill()


def test_a_daemon_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with pytest.raises(UsageError, match="does not answer") as told:
            client.ask(Entry("/m", "/s", os.getpid(), str(tmp_path / "s"), 0.0), {"verb": "status"}, timeout=0.1)
    assert told.value.exit_status is ExitStatus.TIMEOUT


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["why"], ["wait"], ["unmount"], ["demo"], ["inspect"], ["create"], ["create", __file__, "-o"]]
    + [["cache", verb] for verb in ("verify", "prune", "pin", "unpin", "adopt")]
    + [["cache", "export", "a"], ["cache", "adopt", "a", "--descriptor"]],
)
def test_an_empty_argument_is_no_path(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Else it means the folder one stands in: what "$FILM" gives where FILM is misspelt."""
    assert main([*arguments, ""], JOBS) == 28
    assert ": '' is not allowed; allowed is a path, not empty\n" in capsys.readouterr().err


def test_a_file_of_a_dead_mount_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question to such a file is ENOTCONN, which was a traceback."""
    dead = tmp_path / "mnt"
    stat = os.lstat

    def refusing(path: str | Path, *given: object, **named: object) -> os.stat_result:
        if Path(path).is_relative_to(dead):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
        return stat(path, *given, **named)

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
    assert main(arguments, JOBS) == ExitStatus.BAD_OPTION
    assert len(capsys.readouterr().err) < 500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "there is no command 'frobnicate'; see mountdl --help"),
        (["mnt"], "there is no command 'mnt' (did you mean mount?); see mountdl --help"),
        (["stat"], "there is no command 'stat' (did you mean status?); see mountdl --help"),
        (["status", "a", "b"], "unrecognized arguments: b; see mountdl status --help"),
        (["cache"], "the following arguments are required: VERB; see mountdl cache --help"),
    ],
)
def test_what_is_no_command_line_is_said_to_be_that(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, JOBS) == ExitStatus.BAD_OPTION
    assert capsys.readouterr().err == f"mountdl: {said}\n"


@pytest.mark.parametrize(
    ("arguments", "option", "command"),
    [
        (["--log-level", "debug", "mount", "a", "b"], "--log-level", "mount"),
        (["--cache_dir=x", "mount", "a", "b"], "--cache_dir", "mount"),
        (["-f", "mount", "a", "b"], "-f", "mount"),
        (["--json", "status"], "--json", "status"),
    ],
)
def test_an_option_before_its_command_is_said_to_belong_behind(
    arguments: list[str], option: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As other programs take them; that there is no such option would not be true."""
    assert main(arguments, JOBS) == ExitStatus.BAD_OPTION
    assert capsys.readouterr().err == f"mountdl: {option} belongs behind the command: mountdl {command} {option}\n"


def test_a_mount_of_somebody_else_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fusermount3 spoke of an entry in /etc/mtab; and root, who may do all, has to ask as who mounted it, too."""
    place, other = tmp_path / "m", pwd.getpwuid(1)
    for user, who in ((1, f"{other.pw_name}"), (4_000_000_000, "user 4000000000")):
        mounted = Mounted(place, mounttable.FILESYSTEM, "s", f"rw,user_id={user},group_id=0")
        monkeypatch.setattr(mounttable, "read", lambda mounted=mounted: [mounted])
        with pytest.raises(UsageError, match=f"is in a mount that {who} made: ask as {who}") as told:
            client.locate(place / "a", Registry(tmp_path))
        assert told.value.exit_status is ExitStatus.NOT_FOUND
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        with pytest.raises(UsageError, match=f"that {who} made, who alone can unmount it, and root"):
            unmounting.run(place, Registry(tmp_path))
        monkeypatch.undo()
    assert Mounted(place, mounttable.FILESYSTEM, "s", f"user_id={os.geteuid()}").stranger is None
    assert Mounted(place, mounttable.FILESYSTEM, "s", "rw").stranger is None


def test_umount_does_itself_what_its_helper_can_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `users` in fstab anybody may unmount, who is refused by fusermount3; and where there is no registry."""
    asked = []

    def execute(name: str, arguments: list[str]) -> None:
        asked.append(arguments)
        raise SystemExit(0)

    theirs = Mounted(tmp_path, mounttable.FILESYSTEM, "s", "rw,user_id=4243,group_id=0")
    monkeypatch.setattr(os, "execvp", execute)
    monkeypatch.setattr(mounttable, "on", lambda _: theirs)
    monkeypatch.setattr(unmounting, "run", lambda *_: asked.append([]))
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(Registry, "of_user", lambda: Registry(tmp_path))
    assert unmount_helper([str(tmp_path), "-v"]) == 0

    def refuse() -> Registry:
        raise UsageError("can't use /run/mountdl: Read-only file system")

    monkeypatch.setattr(mounttable, "on", lambda _: theirs._replace(options="rw"))
    assert unmount_helper([str(tmp_path)]) == 0
    monkeypatch.setattr(Registry, "of_user", refuse)
    assert unmount_helper([str(tmp_path)]) == 0
    assert asked == [["umount", "-i", str(tmp_path), "-v"], [], ["umount", "-i", str(tmp_path)]]


def test_a_mount_that_is_only_starting_is_awaited_and_unmounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mountdl mount X Y & mountdl unmount Y`: it waited a minute for a daemon that had no reason to end."""
    registry, looks, ends = Registry(tmp_path), iter([None, None]), []
    mounted = Mounted(tmp_path / "m", mounttable.FILESYSTEM, "mountdl:/s")
    monkeypatch.setattr(mounttable, "on", lambda _: next(looks, mounted))
    with ExitStack() as daemon:
        daemon.enter_context(registry.entered(tmp_path / "m", "/s"))

        def unmount(place: Path, *, lazy: bool = False) -> None:
            ends.append((place, lazy))
            daemon.close()

        monkeypatch.setattr(mounttable, "unmount", unmount)
        unmounting.run(tmp_path / "m", registry)

    assert ends == [(tmp_path / "m", False)]


def test_a_loop_device_is_named_as_a_user(tmp_path: Path) -> None:
    """An image in the mount that is mounted itself: no process has it open."""
    for number, file in enumerate((tmp_path / "mnt" / "a" / "disc.iso", tmp_path / "other.iso")):
        (tmp_path / f"loop{number}" / "loop").mkdir(parents=True)
        (tmp_path / f"loop{number}" / "loop" / "backing_file").write_text(f"{file}\n")
    (tmp_path / "loop2").mkdir()
    assert unmounting.loops(tmp_path / "mnt", tmp_path) == ["the loop device /dev/loop0 (a/disc.iso)"]


def test_options_may_stand_among_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before, between and after them, as GNU's programs have it; behind -- all are files."""
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "out.meta4"
    one.write_text("1")
    two.write_text("22")
    words = ["create", str(one), "--mirror", "http://h.example/", str(two), f"-o{out}"]
    assert main(words, JOBS) == ExitStatus.OK
    capsys.readouterr()

    for arguments in ([out, "--json", out], ["--json", out, "--", out], [out, "--location=de", out, "--json"]):
        assert main(["inspect", *map(str, arguments)], JOBS) == ExitStatus.OK
        documents = json.loads(capsys.readouterr().out)["documents"]
        assert [["one", "two"]] * 2 == [[file["name"] for file in each["files"]] for each in documents]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["help"], ["--help"]), (["help", "mount"], ["mount", "--help"]), (["help", "umount"], ["unmount", "--help"])],
)
def test_help_is_a_word_too(typed: list[str], meant: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As other programs have it: `mountdl help mount`."""

    def told(arguments: list[str]) -> str:
        assert main(arguments, JOBS) == ExitStatus.OK
        return capsys.readouterr().out

    assert told(typed) == told(meant)


@pytest.mark.parametrize("command", [[], *([name] for name in parser.build()[1])], ids=" ".join)
def test_help_fits_a_terminal(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """80 columns are what most terminals open with, and what a pager is given."""
    assert main([*command, "--help"], JOBS) == ExitStatus.OK

    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_umount_unmounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system's own command is called; one finds out on the first day."""
    assert main(["umount", str(tmp_path)], JOBS) == ExitStatus.NOT_FOUND
    assert capsys.readouterr().err == f"mountdl: {tmp_path} is not a mount\n"


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "koi8-r"])
def test_a_name_that_the_terminal_has_no_letters_for_is_shown_in_others(charset: str, tmp_path: Path) -> None:
    """Where the locale is not one of UTF-8: a traceback said less."""
    (tmp_path / "a.uris").write_text("http://h/\u65e5\u672c \u2013.iso\n")
    done = subprocess.run(
        [sys.executable, "-m", "mountdl", "inspect", "a.uris", "no\u65e5.uris"],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": charset},
        check=False,
    )

    assert done.returncode == 3
    assert b"\nfile: \\u65e5\\u672c " in done.stdout
    assert done.stderr == b"mountdl: no\\u65e5.uris: there is no such file [not-found]\n"


@pytest.mark.parametrize(("width", "shown"), [(40, 39), (80, 60), (0, 60)])
def test_what_is_drawn_over_fits_the_terminal(width: int, shown: int) -> None:
    """A line that wraps leaves its beginning behind at each redraw."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with open(theirs, "w", encoding="utf-8") as stream:
        assert len(terminal.fitting("x" * 60, stream)) == shown
        assert terminal.fitting("short", stream) == "short"
    os.close(ours)
    assert terminal.columns(io.StringIO()) == 80
