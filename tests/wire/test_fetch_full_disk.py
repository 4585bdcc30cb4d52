"""`mountdl fetch` onto a disk that has no room for all."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.fetches import STORE, fetched, names
from tests.support.machine import patience
from tests.support.mirrors import Mirrors, paced, span
from tests.support.mounts import command, run
from tests.support.samples import publish

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")

NAME = "film.bin"
DATA = pattern(3_000_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return where a disk of 8 MiB is."""
    path = tmp_path / "disk"
    path.mkdir()
    assert run("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", path).returncode == 0
    yield path
    run("umount", "-l", path)


def test_what_does_not_fit_is_not_begun(mirrors: Mirrors, source: Path, disk: Path) -> None:
    """What fits is fetched whole; of the others it is told how much they need. They were all left half."""
    every = {f"{number}.bin": pattern(3_000_000, number) for number in range(4)}
    mirror = mirrors.add("only", every, paced(2_000_000))
    for name, data in every.items():
        publish(source, name, data, [mirror.of(name)])
    done = fetched("-d", disk, source)

    assert done.returncode == 9
    there = [name for name in names(disk) if not name.startswith(STORE)]
    assert len(there) == 2 == done.stdout.count("\n")
    assert all((disk / name).read_bytes() == every[name] for name in there)
    assert done.stderr.count(f": 2.9 MiB are yet to come, and the disk of {disk} has room for ") == 2
    assert done.stderr.count("; make room, and the same command goes on\n") == 2
    assert mirror.sent < 2.5 * len(DATA)
    assert not (disk / STORE).exists()

    assert run("mount", "-o", "remount,size=20M", disk).returncode == 0
    assert fetched("-d", disk, source).returncode == 0
    assert set(names(disk)) == set(every)


def test_a_disk_that_others_fill_is_told_at_once(mirrors: Mirrors, source: Path, disk: Path) -> None:
    """Status 9, what is missing, and what is here is gone on with once there is room."""
    mirror = mirrors.add("only", {NAME: DATA}, paced(1_000_000))
    publish(source, NAME, DATA, [mirror.of(NAME)])
    words = command("fetch", "-d", disk, "--max-connection-per-server=1", source)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + patience(60)
        while mirror.sent < 500_000 and time.monotonic() < until:
            time.sleep(0.02)
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(1 << 16)):
                pass
        told, complaint = process.communicate(timeout=patience(60))
    assert (process.returncode, told) == (9, "")
    assert complaint.startswith(f"mountdl: {NAME}: no room is left on the disk that it goes to, and ")
    assert complaint.endswith("MiB of 2.9 MiB are yet to come; make room, and the same command goes on\n")

    (disk / "filler").unlink()
    mirror.manner, before = paced(None), len(mirror.asked)
    assert fetched("-d", disk, source).returncode == 0
    assert DATA == (disk / NAME).read_bytes()
    # What it was asked for, as it may count now what it went on sending to the one that had ended.
    spans = [span(request, len(DATA)) for request in mirror.asked[before:]]
    assert sum(stop - start for start, stop in spans) < len(DATA) - 200_000
