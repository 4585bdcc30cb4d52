"""How a mount begins and ends: an honest exit status, a sentence for each refusal, nothing left behind."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mountdl.filesystem.limits import MOST_BACKGROUND, READ_AHEAD_KB, unattached
from tests.support import nginx
from tests.support.machine import patience
from tests.support.mirrors import Mirrors, paced, stalling
from tests.support.mounts import (
    LONGEST,
    Mounts,
    command,
    daemon_of,
    eventually,
    lives,
    mountdl,
    mounted_on,
    needs_fuse,
    run,
    within,
)
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"


@pytest.fixture
def mounted(mounted: Mounts) -> Mounts:
    """Mount by what users start."""
    mounted.command = mountdl
    return mounted


@pytest.fixture
def published(mirrors: Mirrors, source: Path, film_bytes: bytes) -> Path:
    """Make a source with one file whose mirror works."""
    data = film_bytes[: 2 * MIB]
    publish(source, NAME, data, [mirrors.add("only", {NAME: data}).of(NAME)])
    return source


def refused(mounted: Mounts, source: object, mountpoint: Path, *options: str) -> tuple[int, str]:
    """Return status and complaint of a mount that must not come about, nor leave a daemon or a store's lock."""
    done = mountdl("mount", "--cache-dir", mounted.home / "cache", *options, source, mountpoint)
    assert done.stdout == ""
    assert done.returncode != 0
    assert done.stderr.startswith("mountdl: ")
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


# -- beginning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "ftp", "sftp"])
def test_the_best_mirror_is_connected_to_before_anybody_reads(scheme: str, mounted: Mounts, source: Path) -> None:
    """A read that follows waits for no handshake, whatever the protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(patience(30))
        port = server.getsockname()[1]
        publish(source, NAME, b"x" * 100, [f"{scheme}://127.0.0.1:{port}/{NAME}"])
        mounted(source)
        server.accept()[0].close()


def test_reads_work_when_the_command_returns(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """Exit 0 means that: no waiting, no retry; the daemon holds neither our terminal nor our directory."""
    mount = mounted(published)

    assert mount.read(NAME, 0, 4096) == film_bytes[:4096]
    assert os.readlink(f"/proc/{mount.pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{mount.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    assert os.getsid(mount.pid) != os.getsid(0)


def test_names_are_there_when_the_command_returns(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """Of a file whose size only its mirrors know, too, if they say it soon: `mountdl mount ... && mpv MNT/NAME` works."""
    mirror = mirrors.add("late", {NAME: b"x" * 1000}, paced(None, 0.1))
    (source / "l.uris").write_text(f"{mirror.of(NAME)}\n")
    mount = mounted(source)

    assert mount.path.joinpath(NAME).stat().st_size == 1000


def test_a_mirror_that_says_nothing_holds_no_mount_up(mounted: Mounts, source: Path) -> None:
    """The name comes when the size does; the mount is there long before."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        (source / "l.uris").write_text(f"http://127.0.0.1:{server.getsockname()[1]}/{NAME}\n")
        mount = mounted(source)

        assert [f"{NAME}.resolving"] == os.listdir(mount.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise them")
def test_limits_of_the_kernel_are_raised(published: Path, mounted: Mounts) -> None:
    """Readahead and outstanding requests, by the time the command returns; the control files are left nowhere."""
    before = Path("/proc/self/mounts").read_text().count(" fusectl ")
    mount = mounted(published)
    major, minor = (split(mount.path.stat().st_dev) for split in (os.major, os.minor))
    assert Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb").read_text() == f"{READ_AHEAD_KB}\n"
    assert Path("/proc/self/mounts").read_text().count(" fusectl ") == before
    root = unattached("fusectl")
    try:
        assert Path(f"/proc/self/fd/{root}/{minor}/max_background").read_text() == f"{MOST_BACKGROUND}\n"
    finally:
        os.close(root)


def test_a_pipe_to_the_command_ends_with_it(published: Path, mounted: Mounts) -> None:
    """`mountdl mount ... | cat` returns: the daemon keeps no end of it."""
    path = mounted.place()
    line = " ".join(map(str, command("mount", "--cache-dir", mounted.home / "cache", published, path)))
    done = run("sh", "-c", f"{line} 2>&1 | cat")

    pid = daemon_of(path)
    assert done.stdout == ""
    assert mountdl("unmount", path).returncode == 0
    assert not lives(pid)


def test_in_the_foreground(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """-f stays, says so once it is mounted, to systemd too, and ends with 0 when unmounted."""
    path, address = mounted.place(), mounted.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(address))
        ear.settimeout(LONGEST)
        line = command("mount", "-f", "--cache-dir", mounted.home / "cache", published, path)
        environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
        with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
            assert ear.recv(100) == b"READY=1"
            assert within(LONGEST, (path / NAME).read_bytes) == film_bytes[: 2 * MIB]
            assert mountdl("unmount", path).returncode == 0
            assert ear.recv(100) == b"STOPPING=1"
            _, told = daemon.communicate(timeout=LONGEST)
            ear.setblocking(False)
            with pytest.raises(BlockingIOError):
                ear.recv(100)
    assert daemon.returncode == 0
    begun, ended = told.splitlines()
    assert begun.endswith(f" NOTICE mountdl.app: {published} is mounted on {path}: 1 file")
    assert ended.endswith(f" NOTICE mountdl.app: {path} is unmounted")


# -- ending -------------------------------------------------------------------------------------------------------


def test_unmount_waits_for_the_daemon(published: Path, mounted: Mounts) -> None:
    """When it returns the daemon is gone and all is on record; a second one says that there is nothing."""
    mount = mounted(published)
    mount.read(NAME)
    mount.unmount()

    assert list(mount.cache.rglob("*.manifest"))
    again = mountdl("unmount", mount.path)
    assert again.returncode == 3
    assert "is not a mount" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(published: Path, mounted: Mounts, number: signal.Signals) -> None:
    mount = mounted(published)
    mount.read(NAME, 0, 4096)
    os.kill(mount.pid, number)

    eventually(5, lambda: not lives(mount.pid))
    assert not mounted_on(mount.path)


def test_signals_for_other_daemons_do_not_kill(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """Scripts for logrotate send them; the mount was dead then."""
    mount = mounted(published)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        os.kill(mount.pid, number)
    assert mount.read(NAME, MIB, 4096) == film_bytes[MIB : MIB + 4096]
    mount.unmount()


def test_a_busy_mount_is_not_torn_away(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """Unmount says who uses it, and reading goes on."""
    mount = mounted(published)
    with open(mount / NAME, "rb") as file:
        done = mountdl("unmount", mount.path)
        assert done.returncode != 0
        assert "busy" in done.stderr
        assert f"process {os.getpid()}" in done.stderr
        assert within(LONGEST, file.read) == film_bytes[: 2 * MIB]
    mount.unmount()


def test_a_mount_that_is_shown_elsewhere(published: Path, mounted: Mounts) -> None:
    """A container that was begun meanwhile keeps it: that is said soon, and not called slow writing."""
    mount = mounted(published)
    # It gives back at once what it took of other tests, whose mounts would not end either.
    others = "grep ' - fuse' /proc/self/mountinfo | cut -d' ' -f5 | grep -vxF \"$0\" | xargs -rn1 umount -l"
    holding = ["sh", "-c", f"{others}; exec sleep 1000", mount.path]
    with subprocess.Popen(["unshare", "-m", "--propagation", "private", *holding]) as holder:
        try:
            if not _elsewhere(holder):
                pytest.skip("no mount namespaces for us")
            done = mountdl("unmount", mount.path)
        finally:
            holder.kill()

    assert done.returncode == 2
    assert "shown elsewhere still" in done.stderr
    eventually(LONGEST, lambda: not lives(mount.pid))


def test_a_mount_that_was_taken_away_under_a_reader(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """By umount -l: it is said at once that a file is open still, and who reads it reads on."""
    mount = mounted(published)
    with open(mount / NAME, "rb") as file:
        run("umount", "-l", mount.path)
        done = mountdl("unmount", mount.path)
        assert within(LONGEST, file.read) == film_bytes[: 2 * MIB]
    assert done.returncode == 2
    assert "files in it are open still" in done.stderr
    eventually(LONGEST, lambda: not lives(mount.pid))


def _elsewhere(process: subprocess.Popen[bytes]) -> bool:
    """Wait until *process*, an unshare(1), runs what it was given; say whether it may do that."""
    name = Path(f"/proc/{process.pid}/comm")
    eventually(LONGEST, lambda: process.poll() is not None or name.read_text() == "sleep\n")
    return process.poll() is None


def test_umount_ends_the_daemon(published: Path, mounted: Mounts) -> None:
    """umount(8) and fusermount3 -u, which know nothing of us."""
    for tool in (["umount"], ["fusermount3", "-u"]):
        mount = mounted(published)
        assert run(*tool, mount.path).returncode == 0
        daemon = mount.pid
        eventually(10, lambda: not lives(daemon))  # noqa: B023  # called at once


@pytest.fixture
def commons() -> Iterator[Path]:
    """Make a folder that all users can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else, and unmount what others mounted")
def test_root_waits_for_the_daemon_of_somebody_else(
    published: Path, commons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the disk under its cache is free; root's record of mounts says nothing of those of others."""
    # A user of whom the machine knows, as fusermount3 demands.
    user, place, runtime = pwd.getpwnam("nobody").pw_uid, commons / "mnt", commons / "run"
    for folder in (place, runtime, commons / "cache"):
        folder.mkdir()
        os.chown(folder, user, user)
    shutil.copy(next(published.glob("*.meta4")), commons / "film.meta4")
    monkeypatch.setenv("HOME", str(commons))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    somebody = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    if run(*somebody, sys.executable, "-c", "import mountdl; open('/dev/fuse', 'r+b', 0)").returncode != 0:
        pytest.skip("others can't run this Python, or use /dev/fuse")
    done = run(*somebody, *command("mount", "--cache-dir", commons / "cache", commons / "film.meta4", place))
    try:
        assert (done.returncode, done.stderr) == (0, "")
        daemon = json.loads(next(runtime.rglob("*.json")).read_bytes())["pid"]
        done = mountdl("unmount", place)
        assert (done.returncode, done.stderr) == (0, "")
        assert not lives(daemon)
    finally:
        run("umount", "-l", place)


def test_umount_by_our_helper_waits_for_the_daemon(published: Path, mounted: Mounts) -> None:
    """As umount(8) calls it; with -l, which waits for nobody, it is umount(8) that does it."""
    script = "import sys; from mountdl.__main__ import unmount_helper; sys.argv[0] = 'umount.x'; unmount_helper()"
    helper = [sys.executable, "-c", script]
    mount = mounted(published)
    with open(mount / NAME, "rb"):
        done = run(*helper, mount.path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"umount.fuse.mountdl: {mount.path} is busy: used by" in done.stderr
        assert f"process {os.getpid()}" in done.stderr
        done = run(*helper, mount.path, "-n", "-l")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not mounted_on(mount.path)
        assert lives(mount.pid)
    mount = mounted(published)
    done = run(*helper, mount.path, "-r", "-v", "-t", "fuse.mountdl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not lives(mount.pid)


def test_unmount_with_reads_that_hang(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """SIGTERM ends a mount in which a reader waits; the reader gets an error."""
    publish(source, NAME, film_bytes, [mirrors.add("only", {NAME: film_bytes}, stalling(0)).of(NAME)])
    mount = mounted(source, timeout=60)
    with subprocess.Popen(["cat", mount / NAME], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reading:
        eventually(5, lambda: mount.file(NAME)["state"] in {"active", "waiting"})
        os.kill(mount.pid, signal.SIGTERM)
        eventually(8, lambda: not lives(mount.pid))
        assert b"cat: " in reading.communicate(timeout=LONGEST)[1]
    assert not mounted_on(mount.path)


def test_with_standard_streams_closed(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """As some supervisors begin their services."""
    place, cache = mounted.place(), mounted.home / "cache"
    words = " ".join(command("mount", "--cache-dir", cache, published, place))
    assert run("sh", "-c", f"{words} <&- >&- 2>&-").returncode == 0
    try:
        assert (place / NAME).read_bytes() == film_bytes[: 2 * MIB]
    finally:
        assert mountdl("unmount", place).returncode == 0


def test_a_daemon_that_is_stopped(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """No command waits for ever for it; once it goes on all is as before."""
    mount = mounted(published)
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        inside = mount / NAME
        commands = (["status", mount.path], ["status", inside], ["status"], ["why", inside], ["wait", inside],
                    ["unmount", mount.path])  # fmt: skip
        with ThreadPoolExecutor(len(commands)) as side_by_side:  # each looks at it after two seconds of silence
            for done in side_by_side.map(lambda words: mountdl(*words), commands):
                # All mounts together have the status of the first that does not answer, which may be another test's.
                assert done.returncode in ({2, 17} if done.args[-1] == "status" else {2})
                assert f"(process {mount.pid}) is stopped: kill -CONT {mount.pid} lets it go on" in done.stderr
    finally:
        os.kill(mount.pid, signal.SIGCONT)
    assert mount.read(NAME, 0, 4096) == film_bytes[:4096]
    mount.unmount()


def test_a_dead_mount_is_cleared_away(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """By unmount, and by mounting again."""
    mount = mounted(published)
    mount.kill()
    assert mounted_on(mount.path)
    told = mountdl("status")
    assert told.returncode == 17
    assert f"the daemon of {mount.path} is dead: mount it again, or mountdl unmount {mount.path}" in told.stderr
    assert "nothing is mounted" not in told.stdout
    assert mountdl("unmount", mount.path).returncode == 0
    assert not mounted_on(mount.path)

    mount = mounted(published, on=mount.path)
    mount.kill()
    again = mounted(published, on=mount.path)
    assert again.read(NAME) == film_bytes[: 2 * MIB]
    again.unmount()


# -- refusals -----------------------------------------------------------------------------------------------------


def test_an_empty_source_is_mounted(mounted: Mounts, source: Path) -> None:
    """With a hint; what is put there later shows."""
    path = mounted.place()
    done = mountdl("mount", "--cache-dir", mounted.home / "cache", source, path)
    pid = daemon_of(path)
    try:
        assert done.returncode == 0
        assert "no descriptor" in done.stderr
        assert within(LONGEST, lambda: list(path.iterdir())) == []
    finally:
        assert mountdl("unmount", path).returncode == 0
        assert not lives(pid)


def test_a_source_that_is_missing(mounted: Mounts) -> None:
    status, said = refused(mounted, mounted.home / "nowhere", mounted.place())
    assert status == 3
    assert "nowhere does not exist" in said


def test_a_source_that_can_not_be_read(mounted: Mounts, source: Path) -> None:
    """Root may read everything, so without that capability."""
    source.chmod(0o000)
    less = "-dac_override,-dac_read_search"
    powerless = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}"] if os.geteuid() == 0 else []
    path = mounted.place()
    done = run(*powerless, *command("mount", "--cache-dir", mounted.home / "cache", source, path))
    source.chmod(0o700)

    assert (done.returncode, done.stdout) == (17, "")
    assert done.stderr == f"mountdl: {source} can't be read: Permission denied\n"


def test_a_mountpoint_that_is_missing(published: Path, mounted: Mounts) -> None:
    status, said = refused(mounted, published, mounted.home / "nowhere")
    assert status == 3
    assert "does not exist" in said


def test_a_mountpoint_that_is_no_directory(published: Path, mounted: Mounts) -> None:
    file = mounted.home / "file"
    file.touch()
    assert "is not a directory" in refused(mounted, published, file)[1]


def test_a_mountpoint_that_is_not_empty(published: Path, mounted: Mounts) -> None:
    """Nothing is hidden: what is in it is named."""
    path = mounted.place()
    (path / "thesis.txt").touch()
    assert "not empty (thesis.txt is in it)" in refused(mounted, published, path)[1]


def test_a_mountpoint_that_is_the_source(mounted: Mounts, source: Path, published: Path) -> None:
    """Empty or not, by whatever name: the mount would hide what it shows, and nothing could be put there any more."""
    (link := mounted.home / "link").symlink_to(source)
    empty = mounted.place()
    for same, place in ((published, published), (published, link), (empty, empty)):
        status, said = refused(mounted, same, place)
        assert status == 28
        assert "is SOURCE and MOUNTPOINT" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a tmpfs")
def test_a_mountpoint_that_is_busy(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """By us or by others: neither is harmed."""
    mount = mounted(published)
    assert "is busy" in refused(mounted, published, mount.path)[1]
    assert mount.read(NAME) == film_bytes[: 2 * MIB]

    path = mounted.place()
    assert run("mount", "-t", "tmpfs", "tmpfs", path).returncode == 0
    try:
        assert "of type tmpfs" in refused(mounted, published, path)[1]
    finally:
        run("umount", path)


def test_arguments_that_are_empty(published: Path, mounted: Mounts) -> None:
    """As a script passes them whose variable is not set."""
    for arguments, name in ((("", mounted.place()), "SOURCE"), ((published, ""), "MOUNTPOINT")):
        done = mountdl("mount", *arguments)
        assert (done.returncode, done.stderr) == (
            28,
            f"mountdl: {name}: '' is not allowed; allowed is a path, not empty\n",
        )


def test_options_that_are_wrong(published: Path, mounted: Mounts) -> None:
    """The message names the option and what is allowed."""
    for option, words in (
        ("--read-timeout=soon", "--read-timeout"),
        ("--backgrund=off", "--backgrund"),
        ("--background=sometimes", "'sometimes' is not allowed"),
    ):
        status, said = refused(mounted, published, mounted.place(), option)
        assert status == 28
        assert words in said


def test_a_log_that_can_not_be_written(published: Path, mounted: Mounts) -> None:
    """What fails in the daemon is told by the command."""
    said = refused(mounted, published, mounted.place(), "--log=/nonexistent/folder/log")[1]
    assert "/nonexistent/folder/log" in said


# -- https --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not nginx.available(), reason="nginx or openssl is not installed")
def test_a_mirror_with_a_certificate_of_ones_own(mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Read with --ca-certificate; without it the error says that it is the certificate."""
    root = mounted.home / "www"
    root.mkdir()
    (root / NAME).write_bytes(film_bytes)
    with nginx.serving(root, mounted.home / "nginx") as server:
        publish(source, NAME, film_bytes, [f"{server.tls}/{NAME}"])
        mount = mounted(source, ca_certificate=server.certificate.authority)
        assert mount.read(NAME) == film_bytes

        start = time.monotonic()
        strict = mounted(source, cache=mounted.home / "other")
        assert strict.errno(NAME) == 5
        assert time.monotonic() - start < patience(10)
        assert "certificate" in strict.xattr(NAME, "error")
        assert "certificate" in strict.why(NAME)
        trusting = mounted(source, cache=mounted.home / "third", check_certificate="false")
        assert trusting.read(NAME, 0, 4096) == film_bytes[:4096]


def test_python_is_this_one() -> None:
    """The commands under test are of the tree that these tests are in."""
    done = run(sys.executable, "-c", "import mountdl; print(mountdl.__file__)")
    assert Path(done.stdout.strip()).parents[1] == Path(__file__).parents[2]


def test_mount_a_can_be_repeated(published: Path, mounted: Mounts) -> None:
    """As mount(8) calls us: what fstab names and is there already is left alone, another source is refused."""
    mount = mounted(published)
    script = "import sys; from mountdl.__main__ import mount_helper; sys.argv[0] = 'mount.mountdl'; mount_helper()"
    (other := mounted.home / "other").mkdir()
    for source, status, said in ((published, 0, ""), (other, 1, "is busy")):
        done = run(sys.executable, "-c", script, source, mount.path, "-o", f"rw,_netdev,cache-dir={mount.cache}")
        assert (done.returncode, done.stdout) == (status, "")
        assert said in done.stderr
    done = run(sys.executable, "-c", script, published, mount.path, "-o", "remount,ro")
    assert done.returncode == 28
    assert "-o remount: options of a mount can't be changed; unmount it, then mount it anew" in done.stderr
    assert daemon_of(mount.path) == mount.pid


def test_the_type_that_mount_itself_shows(published: Path, mounted: Mounts, film_bytes: bytes) -> None:
    """`mount -t fuse.mountdl` has mount.fuse(8) call us without a command; so fstab may say what findmnt does."""
    path, cache = mounted.place(), mounted.home / "cache"
    done = mountdl(published, path, "-o", f"rw,nosuid,nodev,dev,suid,cache-dir={cache}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert within(LONGEST, (path / NAME).read_bytes) == film_bytes[: 2 * MIB]
    assert mountdl("unmount", path).returncode == 0
    done = mountdl(published, path)
    assert done.returncode == 28
    assert "there is no command" in done.stderr
