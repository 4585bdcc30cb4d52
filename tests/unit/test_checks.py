"""What is refused before a mount is tried."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from mountdl.control import checks, mounttable, registry
from mountdl.control.checks import check_apart, check_outside, check_places, check_rpc
from mountdl.control.configuration import settings
from mountdl.control.given import Given
from mountdl.control.registry import Entry, Registry
from mountdl.errors import ExitStatus, UsageError
from mountdl.openfiles import OWN
from mountdl.settings import RpcSettings


@pytest.mark.parametrize("option", ["cache-dir", "log", "graduate", "save-cookies"])
@pytest.mark.parametrize("place", ["mnt", "mnt/cache", "link/cache", "elsewhere/../mnt/deep/er"])
def test_files_of_the_daemon_inside_the_mount_are_refused(option: str, place: str, tmp_path: Path) -> None:
    """It would ask itself for its own files: not even umount came back."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "link").symlink_to("mnt")

    with pytest.raises(UsageError, match="would be inside the mount"):
        check_outside(settings("s", tmp_path / "mnt", [Given(option, str(tmp_path / place), f"--{option}")], {}))


def test_a_source_inside_the_store_is_refused(tmp_path: Path) -> None:
    """The store is never searched, so the mount would stay empty without a word."""
    (tmp_path / "cache" / "files").mkdir(parents=True)
    (tmp_path / "link").symlink_to("cache")
    for source in ("cache", "cache/files", "link/files"):
        with pytest.raises(UsageError, match="lies in the store"):
            check_apart(tmp_path / source, tmp_path / "cache")
    check_apart(tmp_path, tmp_path / "cache")
    check_apart(tmp_path / "cache2", tmp_path / "cache")


@pytest.mark.parametrize("store", ["cache", "mnt2", ".", "loop/cache"])
def test_other_stores_are_left_to_the_store(store: str, tmp_path: Path) -> None:
    """The mount may be in the store's directory, and what can't be told is not refused here."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    check_outside(settings("s", tmp_path / "mnt", [Given("cache-dir", str(tmp_path / store), "--cache-dir")], {}))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("graduate", "/proc/none/such", "--graduate: /proc/none/such can't be made: No such file"),
        ("graduate", "file/below", "--graduate: .*file/below can't be made: Not a directory"),
        ("save-cookies", "none/cookies.txt", "--save-cookies: nothing can be written in .*none"),
    ],
)
def test_places_that_cant_be_written_are_refused(option: str, value: str, words: str, tmp_path: Path) -> None:
    """At once, not when the first file is complete."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=words):
        check_places(settings("s", tmp_path, [Given(option, str(tmp_path / value), "--" + option)], {}))


@pytest.mark.parametrize("option", ["netrc-path", "load-cookies", "ca-certificate", "certificate", "private-key"])
@pytest.mark.parametrize(
    ("value", "words"), [("none", "does not exist"), (".", "is a directory"), ("file/x", "Not a dir")]
)
def test_files_that_options_name_must_be_there(option: str, value: str, words: str, tmp_path: Path) -> None:
    """Else a password is missed, without a word, where it is needed hours later."""
    (tmp_path / "file").touch()
    given = [Given(option, str(tmp_path / value), "--" + option)]
    with pytest.raises(UsageError, match=f"--{option}: .*{words}"):
        check_places(settings("s", tmp_path, given, {}))


def test_nobody_needs_a_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that is not to be read; one that is there will do."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    none, file = Given("netrc-path", str(tmp_path / "none"), "--netrc-path"), tmp_path / "file"
    file.touch(0o600)
    for given in ([], [none, Given("no-netrc", "true", "--no-netrc")], [Given("netrc-path", str(file), "-")]):
        assert check_places(settings("s", tmp_path, given, {})) == []


def test_a_netrc_that_others_can_read_is_told(tmp_path: Path) -> None:
    """It is not used, and a wanted password looks as if nobody had it; the log is not where one looks first."""
    file = tmp_path / "netrc"
    file.touch()
    file.chmod(0o644)  # whatever the umask
    named, unused = Given("netrc-path", str(file), "--netrc-path"), Given("no-netrc", "true", "--no-netrc")
    told = f"{file} is not used: others can read or write it; chmod 600 mends that"
    assert check_places(settings("s", tmp_path, [named], {})) == [told]
    assert check_places(settings("s", tmp_path, [named, unused], {})) == []


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    """It may come yet, so it is a hint; addresses and devices that are there need none."""
    for value, hints in (("nonsense0", 1), ("127.0.0.1", 0), ("::1", 0), ("lo", 0)):
        assert len(check_places(settings("s", tmp_path, [Given("interface", value, "--interface")], {}))) == hints


def test_what_is_complete_has_a_place(tmp_path: Path) -> None:
    """The folder is made, and its parents."""
    assert check_places(settings("s", tmp_path, [Given("graduate", str(tmp_path / "a/b"), "--graduate")], {})) == []
    assert (tmp_path / "a/b").is_dir()


def test_who_listens_on_all_addresses_needs_a_secret() -> None:
    """Else anybody in the network could control the mount; on loopback nobody needs one."""
    check_rpc(RpcSettings(enabled=True))
    check_rpc(RpcSettings(enabled=True, listen_all=True, secret="s"))
    check_rpc(RpcSettings(listen_all=True))
    with pytest.raises(UsageError, match="--rpc-secret") as caught:
        check_rpc(RpcSettings(enabled=True, listen_all=True))
    assert caught.value.exit_status == ExitStatus.BAD_OPTION


@pytest.mark.parametrize("code", [errno.ENOTCONN, errno.ECONNABORTED])
def test_the_mount_of_a_daemon_that_was_killed_just_now_is_dead(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Who asks while its last threads are going is told that the connection was broken off."""

    def asked(path: Path) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr("mountdl.control.mounttable.os.statvfs", asked)
    assert mounttable.dead(Path("/m"))


@pytest.mark.parametrize(
    ("own", "shares", "hidden"),
    [
        (False, "shared:1", False),
        (False, "shared:1 master:2", False),
        (True, "shared:1", False),
        (True, "shared:3 master:1", True),
        (True, "master:1", True),
        (True, "", False),
        (None, "shared:3 master:1", True),
        (None, "shared:1", False),
        (None, "", False),
    ],
)
def test_a_service_that_mounts_for_itself_alone_is_told(
    own: bool | None, shares: str, hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ProtectSystem= and the like are in many a guide to services, and have the mount be nowhere."""
    for process, number in (("self", 1), ("1", 2 if own else 1)):
        (tmp_path / process / "ns").mkdir(parents=True)
        if own is not None:
            (tmp_path / process / "ns/mnt").symlink_to(f"mnt:[{number}]")
    line = " ".join(["29 1 0:1 / /m rw,nosuid", *shares.split(), "- ext4 /dev/a rw"])
    (table := tmp_path / "mountinfo").write_text(f"{line}\n")
    found = mounttable.read(table)
    monkeypatch.setattr(mounttable, "read", lambda: found)
    assert mounttable.hidden(Path("/m/n"), tmp_path, tmp_path / "container") is hidden
    (tmp_path / "container").touch()
    assert mounttable.hidden(Path("/m/n"), tmp_path, tmp_path / "container") is (hidden and own is not None)

    monkeypatch.setattr(mounttable, "hidden", lambda _: hidden)
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    assert checks.check_seen(Path("/m/n")) == []
    monkeypatch.setenv("INVOCATION_ID", "1")
    assert [each.partition(":")[0] for each in checks.check_seen(Path("/m/n"))] == hidden * [
        "nobody else sees what is mounted on /m/n"
    ]


def test_a_place_that_an_automount_waits_at_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """x-systemd.automount of fstab: what is mounted there goes on top of it, and counts alone."""
    waits, ours = (
        mounttable.Mounted(Path("/m"), "autofs", "systemd-1"),
        mounttable.Mounted(Path("/m"), "fuse.mountdl", "s"),
    )
    seen = []
    for table in ([waits], [waits, ours], [ours], []):
        monkeypatch.setattr(mounttable, "read", lambda table=table: table)
        seen.append((mounttable.on(Path("/m")), mounttable.awaited(Path("/m"))))
    assert seen == [(None, True), (ours, False), (ours, False), (None, False)]
    monkeypatch.setattr(mounttable, "read", lambda: [waits])
    assert [mounttable.awaited(Path(path)) for path in ("/m/films", "/n")] == [True, False]


@pytest.mark.parametrize(("state", "free"), [("Z", True), (None, True), ("S", False)])
def test_a_killed_daemon_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None, free: bool
) -> None:
    """It is on record until its last thread is gone, though it is a zombie; one that lives is not waited for."""
    monkeypatch.setattr(Entry, "state", property(lambda _: state))
    entered = ExitStack()
    entered.enter_context(Registry(tmp_path).entered(Path("/m"), "/s"))
    monkeypatch.setattr(registry.time, "sleep", lambda _: entered.close())

    with entered:
        assert checks._deserted(Path("/m"), Registry(tmp_path)) is free


def test_a_process_that_may_open_next_to_nothing_mounts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 12 files it ended as a defect, and with 16 no file could be read."""
    monkeypatch.setattr(checks, "attainable", lambda: OWN - 1)
    with pytest.raises(UsageError, match=f"only {OWN - 1} files may be open here .* have it raised to 1024"):
        checks.check_open_files()
    monkeypatch.setattr(checks, "attainable", lambda: OWN)
    assert len(checks.check_open_files()) == 1


def test_a_mount_point_of_others_is_refused_by_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fusermount3 refuses it; whether /dev/fuse is there and fuse3 installed is not the question."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "mnt").mkdir()
    with pytest.raises(UsageError, match="only root may mount on what you can't write in; choose a directory of yours"):
        checks.check_mountpoint(tmp_path / "mnt", Registry(tmp_path))
