"""What was verified is never fetched again, what is in doubt is never served, whatever happened to the daemon."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.content import flip
from tests.support.machine import patience
from tests.support.mirrors import Manner, Mirrors, changing, honest, stalling
from tests.support.mounts import LONGEST, Mounts, eventually, needs_fuse, run
from tests.support.samples import CHUNK, MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"


def test_killed_in_the_middle_of_a_read(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Remounted on the same place: equal bytes, and the mirror sends what was on its way once more, no more."""
    manners: list[Manner] = [stalling(8 * MIB)]
    mirror = mirrors.add("only", {NAME: film_bytes}, changing(manners))
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, max_connection_per_server=2)
    with subprocess.Popen(["cat", mount / NAME], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reading:
        eventually(10, lambda: mirror.sent > 7 * MIB)
        mount.kill()
        assert b"cat: " in reading.communicate(timeout=LONGEST)[1]
    sent = mirror.sent
    assert sent < len(film_bytes)
    manners.append(honest)

    again = mounted(source, on=mount.path)
    assert again.read(NAME) == film_bytes
    assert mirror.sent - sent <= len(film_bytes) - sent + 6 * MIB
    assert again.file(NAME)["state"] == "complete"


def test_killed_when_nothing_was_under_way(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Killed at once after the read, before anything was put on record: no byte is fetched twice."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source)
    assert mount.read(NAME) == film_bytes
    eventually(5, lambda: mount.file(NAME)["state"] == "complete")
    mount.kill()
    mirrors.stop(mirror)

    again = mounted(source, on=mount.path)
    assert again.read(NAME) == film_bytes


@pytest.mark.parametrize("loss", ["manifest and journal", "part of the journal"])
def test_bits_that_flipped_in_doubtful_chunks_are_never_served(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, loss: str
) -> None:
    """What the record does not vouch for is hashed first; sound chunks stay, the others are fetched again."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source)
    assert mount.read(NAME) == film_bytes
    eventually(5, lambda: mount.file(NAME)["state"] == "complete")
    mount.kill()
    [file] = mount.data_files()
    bad = [0, 3, 17, len(film_bytes) // CHUNK]
    flip(file, *(index * CHUNK + 100 for index in bad))
    journal = file.with_suffix(".journal")
    if loss == "part of the journal":
        file.with_suffix(".manifest").unlink(missing_ok=True)
        text = bytearray(journal.read_bytes())
        text[40] ^= 1
        journal.write_bytes(text)
    else:
        journal.unlink(missing_ok=True)
        file.with_suffix(".manifest").unlink(missing_ok=True)
    sent = mirror.sent

    again = mounted(source, on=mount.path)
    assert again.read(NAME) == film_bytes
    assert mirror.sent - sent <= (len(bad) + 1) * CHUNK
    assert "in the store was not sound" in again.why(NAME)


def test_reopened_with_the_network_down(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """Stored bytes are served, also by a mount that never reached a mirror; the rest is an error in time."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, background="off")
    assert mount.read(NAME, 2 * MIB, MIB) == film_bytes[2 * MIB : 3 * MIB]
    mount.unmount()
    mirrors.stop(mirror)

    again = mounted(source, on=mount.path, background="off")
    assert again.read(NAME, 2 * MIB, MIB) == film_bytes[2 * MIB : 3 * MIB]
    start = time.monotonic()
    assert again.errno(NAME, 12 * MIB) == errno.EIO
    assert time.monotonic() - start < patience(8)
    assert again.read(NAME, 2 * MIB + 5, 1000) == film_bytes[2 * MIB + 5 : 2 * MIB + 1005]


def test_two_descriptors_of_one_content_share_its_bytes(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """Two names, one data file, the mirrors of both, each byte fetched once; also for another mount afterwards."""
    one, two = mirrors.add("one", {"a.bin": film_bytes}), mirrors.add("two", {"b.bin": film_bytes})
    publish(source, "a.bin", film_bytes, [one.of("a.bin")])
    publish(source, "sub/b.bin", film_bytes, [two.of("b.bin")])
    mount = mounted(source)

    assert mount.read("a.bin") == film_bytes
    assert mount.read("sub/b.bin") == film_bytes
    assert len(mount.data_files()) == 1
    assert one.sent + two.sent < 1.1 * len(film_bytes)
    names = mount.xattr("a.bin", "sources")
    assert "/one/" in names
    assert "/two/" in names


def test_two_mounts_with_one_cache(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """A file that one has open can't be opened in the other, which says why; other files can; later it can, too."""
    other = film_bytes[: 2 * MIB]
    mirror = mirrors.add("only", {NAME: film_bytes, "other.bin": other})
    for name, data in ((NAME, film_bytes), ("other.bin", other)):
        publish(source, name, data, [mirror.of(name)])
    first, second = mounted(source, background="off"), mounted(source, background="off")
    with open(first / NAME, "rb"):
        assert first.read(NAME, 0, MIB) == film_bytes[:MIB]
        assert second.errno(NAME) == errno.EBUSY
        assert "another" in second.xattr(NAME, "error")
        assert second.read("other.bin") == other
    assert first.read(NAME) == film_bytes
    first.unmount()
    assert second.read(NAME) == film_bytes


def test_two_mounts_with_one_cache_of_which_one_is_killed(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """The refusal is a sentence with a remedy, in the status, in why and in the log; a kill leaves no lock behind."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    first, second = mounted(source, background="off"), mounted(source, background="off")
    assert first.read(NAME, 0, MIB) == film_bytes[:MIB]
    assert second.errno(NAME) == errno.EBUSY
    sentence = second.xattr(NAME, "error")
    assert "another process, most likely another mount" in sentence
    assert "--cache-dir" in sentence
    assert second.file(NAME)["error"] == sentence
    assert sentence in second.log.read_text()
    assert second.log.read_text().count(sentence) == 1
    first.kill()  # its threads may hold the files for a moment longer than it is seen to live
    sent = mirror.sent

    eventually(LONGEST, lambda: second.errno(NAME) == 0)
    assert second.read(NAME, 0, MIB) == film_bytes[:MIB]
    assert mirror.sent == sent
    assert second.read(NAME) == film_bytes
    assert second.xattr(NAME, "error") == ""


def test_everything_in_the_store_is_private(mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes) -> None:
    """The store's files are for its owner only, and the data file is sparse."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source, background="off")
    mount.read(NAME, 8 * MIB, 4096)
    found = run("find", mount.cache, "-perm", "/077", "!", "-name", "CACHEDIR.TAG").stdout

    assert found == ""
    [file] = mount.data_files()
    assert file.stat().st_size == len(film_bytes)
    assert file.stat().st_blocks * 512 < 4 * MIB


def test_a_cache_directory_that_will_not_do(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """A file in its place: a sentence and a status that is not 0, from a command that mounts nothing."""
    cache = tmp_path / "a file"
    cache.touch()
    done = run(sys.executable, "-m", "mountdl", "mount", "--cache-dir", cache, source, mounted.place())

    assert done.returncode == 17
    assert "--cache-dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cache_that_is_removed_under_a_mount(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes
) -> None:
    """It costs fetching again: open files read on, others begin anew, no remount is needed."""
    other = film_bytes[: 3 * MIB]
    mirror = mirrors.add("only", {NAME: film_bytes, "other.bin": other})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    publish(source, "other.bin", other, [mirror.of("other.bin")])
    mount = mounted(source, background="off")
    assert mount.read(NAME, 0, MIB) == film_bytes[:MIB]
    shutil.rmtree(mount.cache)

    assert mount.read("other.bin") == other
    assert mount.read(NAME) == film_bytes
    assert os.statvfs(mount.path).f_bavail >= 0
    assert mount.log.read_text().count("was removed under us; it is made anew") == 1
    mount.unmount()
    again = mounted(source, on=mount.path, background="off")
    assert again.read(NAME, 5 * MIB, MIB) == film_bytes[5 * MIB : 6 * MIB]
