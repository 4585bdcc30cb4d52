"""x-systemd.automount in fstab: a mount that comes when somebody looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mountdl.control import mounttable
from tests.support.automounts import automount, helper, needs_autofs
from tests.support.mirrors import Mirrors
from tests.support.mounts import Mounts, daemon_of, lives, mountdl, needs_fuse, run
from tests.support.samples import MIB, publish

pytestmark = [*needs_fuse, needs_autofs]

NAME = "film.bin"


@pytest.fixture
def published(mirrors: Mirrors, source: Path, film_bytes: bytes) -> Path:
    """Make a source with one file whose mirror works."""
    publish(source, NAME, film_bytes[:MIB], [mirrors.add("only", {NAME: film_bytes[:MIB]}).of(NAME)])
    return source


def elsewhere(*line: object) -> tuple[int, str, str]:
    """Run *line* as who does not belong to the automounter: looking at its place waits for the mount."""
    done = run("setsid", "--wait", *line)
    return done.returncode, done.stdout, done.stderr


def test_a_look_mounts_and_each_later_one_again(published: Path, mounted: Mounts) -> None:
    """The one who looks first sees the files; after idle-timeout, which unmounts, it begins anew."""
    path = mounted.place()
    with automount(path, helper(published, path, "-o", f"rw,_netdev,cache-dir={mounted.home / 'cache'}")) as ran:
        for count in (1, 2):
            assert elsewhere("ls", path) == (0, f"{NAME}\n", "")
            assert [(each.returncode, each.stdout, each.stderr) for each in ran] == count * [(0, "", "")]
            assert (found := mounttable.on(path)) is not None
            assert found.source == str(published)  # as mount(8) has it, whose notes are found by it
            pid = daemon_of(path)
            assert os.getsid(pid) == pid
            assert (mountdl("unmount", path).returncode, lives(pid)) == (0, False)
        again = mountdl("unmount", path)
        assert (again.returncode, "is not a mount" in again.stderr) == (3, True)


def test_mount_a_has_it_mounted_by_the_automounter(published: Path, mounted: Mounts) -> None:
    """What is mounted because it looked at the place is what it was to mount."""
    path = mounted.place()
    line = helper(published, path, "-o", f"rw,cache-dir={mounted.home / 'cache'}")
    with automount(path, line) as ran:
        assert elsewhere(*line) == (0, "", "")
        assert [(each.returncode, each.stderr) for each in ran] == [(0, "")]
        assert mountdl("unmount", path).returncode == 0


def test_a_look_where_it_fails_fails(mounted: Mounts) -> None:
    """And what could not be mounted says so to the automounter, which has a log."""
    path = mounted.place()
    with automount(path, helper(mounted.home / "none", path)) as ran:
        assert elsewhere("ls", path)[0] != 0
        assert {each.returncode for each in ran} == {3}  # Ubuntu 26.04 has an `ls` that looks twice
        assert "does not exist" in ran[0].stderr


def test_a_place_that_is_made_by_the_look_is_mounted_on(published: Path, mounted: Mounts) -> None:
    """As automount(8) has it, for a line of auto.master(5): "/films" appears in a folder that is empty else."""
    path = mounted.place()
    line = helper(published, path / "films", "-o", f"rw,cache-dir={mounted.home / 'cache'}")
    with automount(path, line, "films") as ran:
        assert elsewhere("ls", path / "films") == (0, f"{NAME}\n", "")
        assert [(each.returncode, each.stderr) for each in ran] == [(0, "")]
        assert mountdl("unmount", path / "films").returncode == 0
