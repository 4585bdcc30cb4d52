"""What stat, statfs and extended attributes say of files, and that nothing can be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mirrors import Mirror, Mirrors
from tests.support.mounts import Mount, Mounts, eventually, mountdl, needs_fuse, run
from tests.support.samples import CHUNK, MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"
PUBLISHED = 1262304000
"""2010-01-01, in Unix time."""


@pytest.fixture
def mirror(mirrors: Mirrors, source: Path, film_bytes: bytes) -> Mirror:
    made = mirrors.add("only", {NAME: film_bytes})
    path = publish(source, NAME, film_bytes, [made.of(NAME)])
    os.utime(path, (PUBLISHED, PUBLISHED))
    return made


@pytest.fixture
def mount(mirror: Mirror, mounted: Mounts, source: Path) -> Mount:
    return mounted(source, background="off")


def test_stat(mount: Mount, film_bytes: bytes) -> None:
    """Size exact, read-only, ours, as old as the descriptor, no block on disk yet."""
    found = (mount / NAME).stat()

    assert (found.st_size, oct(found.st_mode), found.st_uid) == (len(film_bytes), "0o100444", os.getuid())
    assert (found.st_mtime, found.st_blocks, found.st_nlink) == (PUBLISHED, 0, 1)
    assert oct(mount.path.stat().st_mode) == "0o40555"


def test_a_name_that_no_file_can_have(mount: Mount) -> None:
    """Up to 255 bytes a name may be there or not; a longer one is too long, as everywhere."""
    for length, number in {255: errno.ENOENT, 256: errno.ENAMETOOLONG, 2000: errno.ENAMETOOLONG}.items():
        with pytest.raises(OSError) as caught:
            os.stat(mount / ("x" * length))
        assert caught.value.errno == number


def test_the_time_that_a_descriptor_gives(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Published stands in the metalink: that is the file's time."""
    text = publish(source, NAME, film_bytes[:MIB], ["http://127.0.0.1:9/x"])
    text.write_text(text.read_text().replace("<file ", "<published>2010-01-01T00:00:00Z</published><file "))

    assert (mounted(source) / NAME).stat().st_mtime == PUBLISHED


def test_blocks_and_free_space_follow_what_is_here(mount: Mount, film_bytes: bytes) -> None:
    """What du and df tell is what is on disk: a part, then all of it."""
    total = os.statvfs(mount.path)
    assert total.f_blocks * total.f_frsize == pytest.approx(len(film_bytes), abs=4096)
    assert total.f_bavail == total.f_blocks

    mount.read(NAME, 3 * MIB, MIB)
    eventually(3, lambda: (mount / NAME).stat().st_blocks * 512 >= MIB)
    assert (mount / NAME).stat().st_blocks * 512 < 8 * MIB
    assert int(run("du", "-B1", mount / NAME).stdout.split()[0]) >= MIB
    mount.read(NAME)
    eventually(5, lambda: (mount / NAME).stat().st_blocks * 512 >= len(film_bytes))
    assert os.statvfs(mount.path).f_bavail == 0


def test_extended_attributes_tell_how_far_it_is(mount: Mount, mirror: Mirror, film_bytes: bytes) -> None:
    """State, bytes, level, sources, error and digest, as getfattr(1) lists them."""
    listed = run("getfattr", "-d", "--absolute-names", mount / NAME).stdout
    for name in ("state", "verified", "written", "level", "sources", "error", "digest", "pin"):
        assert f"user.mountdl.{name}=" in listed
    assert mount.xattr(NAME, "state") == "idle"
    assert mount.xattr(NAME, "verified") == "0"
    assert mount.xattr(NAME, "level") == "chunk"
    assert mirror.of(NAME) in mount.xattr(NAME, "sources")
    assert mount.xattr(NAME, "digest").startswith("sha-256")

    mount.read(NAME)
    eventually(5, lambda: mount.xattr(NAME, "state") == "complete")
    assert mount.xattr(NAME, "verified") == mount.xattr(NAME, "written") == str(len(film_bytes))
    assert mount.xattr(NAME, "error") == ""
    with pytest.raises(OSError) as caught:
        mount.xattr(NAME, "nonsense")
    assert caught.value.errno == errno.ENODATA


def test_attributes_of_a_file_with_many_sources(mounted: Mounts, source: Path) -> None:
    """Linux lists no attribute of a file of which one is over 64 KiB: the sources end with how many more there are."""
    publish(source, "a.bin", b"a", [f"http://127.0.0.1:9/{number:03}/{'a' * 100}" for number in range(900)])
    mount = mounted(source)

    done = run("getfattr", "--only-values", "-n", "user.mountdl.sources", mount / "a.bin")
    *lines, last = done.stdout.splitlines()

    assert (done.returncode, last) == (0, f"and {900 - len(lines)} more")
    assert len(lines) > 400


def test_prefetch(mount: Mount, mirror: Mirror, film_bytes: bytes) -> None:
    """Setting the attribute has bytes fetched though nobody reads: those, then all; nonsense is refused."""
    wanted = f"{4 * MIB}-{6 * MIB}"
    assert run("setfattr", "-n", "user.mountdl.prefetch", "-v", wanted, mount / NAME).returncode == 0
    eventually(10, lambda: int(mount.xattr(NAME, "verified")) >= 2 * MIB)
    assert int(mount.xattr(NAME, "verified")) <= 2 * MIB + CHUNK
    mirror_sent = mirror.sent
    assert mount.read(NAME, 5 * MIB, 4096) == film_bytes[5 * MIB : 5 * MIB + 4096]

    assert run("setfattr", "-n", "user.mountdl.prefetch", "-v", "all", mount / NAME).returncode == 0
    assert mountdl("wait", "--complete", "--timeout", 80, mount / NAME).returncode == 0
    assert mirror.sent - mirror_sent <= len(film_bytes) - 2 * MIB + CHUNK
    for nonsense in ("x", "5-1", "-1-4", ""):
        done = run("setfattr", "-n", "user.mountdl.prefetch", "-v", nonsense, mount / NAME)
        assert "Invalid argument" in done.stderr


WRITES: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda path: os.open(path / NAME, os.O_WRONLY),
    "open for both": lambda path: os.open(path / NAME, os.O_RDWR),
    "append": lambda path: os.open(path / NAME, os.O_WRONLY | os.O_APPEND),
    "truncate": lambda path: os.truncate(path / NAME, 0),
    "create": lambda path: os.open(path / "new", os.O_WRONLY | os.O_CREAT, 0o600),
    "unlink": lambda path: os.unlink(path / NAME),
    "rename": lambda path: os.rename(path / NAME, path / "new"),
    "mkdir": lambda path: os.mkdir(path / "new"),
    "symlink": lambda path: os.symlink("x", path / "new"),
    "link": lambda path: os.link(path / NAME, path / "new"),
    "mknod": lambda path: os.mkfifo(path / "new"),
    "chmod": lambda path: os.chmod(path / NAME, 0o666),
    "chown": lambda path: os.chown(path / NAME, 1, 1),
    "utime": lambda path: os.utime(path / NAME),
    "remove an attribute": lambda path: os.removexattr(path / NAME, "user.mountdl.state"),
    "set an attribute": lambda path: os.setxattr(path / NAME, "user.mountdl.state", b"complete"),
}


def test_nothing_can_be_written(mount: Mount, film_bytes: bytes) -> None:
    """EROFS for each way to try."""
    got = {}
    for name, write in WRITES.items():
        try:
            write(mount.path)
            got[name] = "allowed"
        except OSError as error:
            got[name] = errno.errorcode[error.errno or 0]

    assert got == dict.fromkeys(WRITES, "EROFS")
    assert mount.read(NAME, 0, 1000) == film_bytes[:1000]
