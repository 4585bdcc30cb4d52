"""A cache disk without room: what is old makes room, the mount lives on, and heals when there is room."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.mirrors import Mirror, Mirrors, paced, span
from tests.support.mounts import LONGEST, Mount, Mounts, eventually, needs_fuse, run, within
from tests.support.samples import MIB, publish

pytestmark = [*needs_fuse, pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")]

NAME = "film.bin"
ROOM = 6


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 6 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    assert run("mount", "-t", "tmpfs", "-o", f"size={ROOM}M", "tmpfs", path).returncode == 0
    yield path
    run("umount", "-l", path)


@pytest.fixture
def looped(tmp_path: Path) -> Iterator[Path]:
    """Mount an ext4 of 12 MiB, of which its own books take a part."""
    path, image = tmp_path / "looped", tmp_path / "image"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(12 * MIB)
    making = shutil.which("mkfs.ext4")
    made = making is not None and run(making, "-q", image).returncode == 0
    if not made or run("mount", "-o", "loop", image, path).returncode != 0:
        pytest.skip("there is no ext4 or no loop device")
    yield path
    run("umount", "-l", path)


def grown(disk: Path) -> None:
    assert run("mount", "-o", "remount,size=64M", disk).returncode == 0


def test_a_disk_on_which_no_cache_can_begin(mounted: Mounts, disk: Path, source: Path) -> None:
    """It is refused, with the status of a full disk."""
    with suppress(OSError), (disk / "film").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    cache = disk / "cache"
    done = run(sys.executable, "-m", "mountdl", "mount", "--cache-dir", cache, source, mounted.place())

    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr.endswith(
        f"can't keep the cache in {cache}: No space left on device; name another directory with --cache-dir\n"
    )


def read_on(path: Path) -> tuple[bytes, int]:
    """Read until an error; return what came and the error's number."""
    got = bytearray()
    with open(path, "rb", buffering=0) as file:
        try:
            while more := file.read(64 << 10):
                got += more
        except OSError as error:
            return bytes(got), error.errno or -1
    return bytes(got), 0


@pytest.fixture
def mirror(mirrors: Mirrors, source: Path, film_bytes: bytes) -> Mirror:
    made = mirrors.add("only", {NAME: film_bytes}, paced(40 * MIB))
    publish(source, NAME, film_bytes, [made.of(NAME)])
    return made


def fill(disk: Path) -> Path:
    """Take all the room that is left, as somebody else's file."""
    path = disk / "somebody's"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_a_read_of_more_than_there_is_room_for(
    mirror: Mirror, mounted: Mounts, source: Path, disk: Path, film_bytes: bytes
) -> None:
    """What was read a while ago makes room: all of it comes out right, twice, and all else goes on."""
    mount = mounted(source, cache=disk)

    assert within(LONGEST, lambda: read_on(mount / NAME)) == (film_bytes, 0)
    assert run("ls", mount.path).stdout == f"{NAME}\n"
    assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
    [told] = mount.file(NAME)["sources"]
    assert (told["failures"], told["bad_chunks"]) == (0, 0)


def test_it_heals_when_there_is_room(
    mirror: Mirror, mounted: Mounts, source: Path, disk: Path, film_bytes: bytes
) -> None:
    """Where nothing may go, reads go on through memory, and why tells; with room it goes on, without a remount."""
    mount = mounted(source, cache=disk)
    others = fill(disk)
    assert within(LONGEST, lambda: read_on(mount / NAME)) == (film_bytes, 0)
    assert "by way of memory" in mount.why(NAME)
    assert "No space left" in mount.why(NAME)
    [told] = mount.file(NAME)["sources"]
    assert (told["failures"], told["bad_chunks"]) == (0, 0)
    others.unlink()
    grown(disk)

    assert mount.read(NAME) == film_bytes
    eventually(60, lambda: mount.file(NAME)["state"] in {"complete", "idle"})
    assert mount.xattr(NAME, "error") == ""


def test_a_disk_of_its_own_that_others_fill(
    mirror: Mirror, mounted: Mounts, source: Path, looped: Path, film_bytes: bytes
) -> None:
    """While a file is read, a small ext4 fills up; killed then and mounted again, with room: right bytes at each step."""
    mount = mounted(source, cache=looped)
    assert mount.read(NAME, 0, 2 * MIB) == film_bytes[: 2 * MIB]
    others = fill(looped)
    assert within(LONGEST, lambda: read_on(mount / NAME)) == (film_bytes, 0)
    assert mount.read(NAME, 9 * MIB, 99) == film_bytes[9 * MIB : 9 * MIB + 99]
    assert mount.why(NAME).count("sent wrong bytes") == 0
    mount.kill()
    again = mounted(source, cache=looped, on=mount.path)
    assert within(LONGEST, lambda: read_on(again / NAME)) == (film_bytes, 0)
    others.unlink()
    again.unmount()
    last = mounted(source, cache=looped, on=mount.path)
    assert within(LONGEST, lambda: read_on(last / NAME)) == (film_bytes, 0)


def test_nothing_wrong_comes_out_of_it_later(
    mirror: Mirror, mounted: Mounts, source: Path, disk: Path, film_bytes: bytes
) -> None:
    """Killed on a full disk and mounted again, with and without room."""
    mount = mounted(source, cache=disk)
    assert within(LONGEST, lambda: read_on(mount / NAME)) == (film_bytes, 0)
    mount.kill()

    again = mounted(source, cache=disk, on=mount.path)
    assert within(LONGEST, lambda: read_on(again / NAME)) == (film_bytes, 0)
    again.unmount()
    grown(disk)
    assert mounted(source, cache=disk, on=mount.path).read(NAME) == film_bytes


def test_a_cache_on_a_read_only_disk(
    mirror: Mirror, mounted: Mounts, source: Path, disk: Path, film_bytes: bytes
) -> None:
    """A sentence with the remedy and a status instead of a mount; what is stored is there when it can be written again."""
    grown(disk)  # else what was read makes room for what is ahead, of which 12 MiB come where the machine is busy
    mount = mounted(source, cache=disk, background="off")
    assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
    mount.unmount()
    assert run("mount", "-o", "remount,ro", disk).returncode == 0
    refused = run(sys.executable, "-m", "mountdl", "mount", "--cache-dir", disk, source, mounted.place())
    assert refused.returncode == 17
    assert "--cache-dir" in refused.stderr
    assert run("mount", "-o", "remount,rw", disk).returncode == 0
    asked = len(mirror.asked)
    assert mounted(source, cache=disk, on=mount.path).read(NAME, 0, MIB) == film_bytes[:MIB]
    again = [request for request in mirror.asked[asked:] if span(request, len(film_bytes))[0] < MIB]
    assert again == []  # what is ahead of the reader may come


def test_a_mirror_is_not_asked_for_ever(
    mirror: Mirror, mounted: Mounts, source: Path, disk: Path, film_bytes: bytes
) -> None:
    """In the background of a full disk little is fetched that can't be kept."""
    mount: Mount = mounted(source, cache=disk)
    within(LONGEST, lambda: read_on(mount / NAME))
    sent = mirror.sent
    time.sleep(3)

    assert mirror.sent - sent < 3 * MIB


@pytest.mark.parametrize("quota", ["0", "4M"])
def test_a_disk_that_becomes_read_only(
    mirrors: Mirrors, mounted: Mounts, source: Path, looped: Path, film_bytes: bytes, quota: str
) -> None:
    """As ext4 does after an error: reads go on, of new files too, what is stored is served, and the status tells why."""
    files = {name: film_bytes[at:] for at, name in enumerate(["film.bin", "kept.bin", "new.bin"])}
    made = mirrors.add("only", files, paced(40 * MIB))
    for name, data in files.items():
        publish(source, name, data, [made.of(name)])
    first = mounted(source, cache=looped, background="off", cache_size=quota)
    assert first.read("kept.bin", 0, MIB) == files["kept.bin"][:MIB]
    first.unmount()  # so that it is on the disk: what is not goes with the disk's first error
    mount = mounted(source, cache=looped, background="off", cache_size=quota)
    assert mount.read("film.bin", 0, MIB) == film_bytes[:MIB]
    assert mount.read("kept.bin", 0, MIB) == files["kept.bin"][:MIB]
    if run("mount", "-o", "remount,abort", looped).returncode != 0:
        pytest.skip("this ext4 can't be made to fail")

    assert within(LONGEST, lambda: read_on(mount / "film.bin")) == (film_bytes, 0)
    assert within(LONGEST, lambda: read_on(mount / "new.bin")) == (files["new.bin"], 0)
    asked = len(made.asked)
    assert mount.read("kept.bin", 0, MIB) == files["kept.bin"][:MIB]
    assert made.asked[asked:] == []
    [caution] = [each for each in mount.status()["cautions"] if each["code"] == "cache-takes-nothing"]
    assert "Read-only file system" in caution["message"]
    assert mount.log.read_text().count("the disk of the cache takes nothing") == 1
    assert mount.file("new.bin")["sources"][0]["failures"] == 0
    mount.unmount()
