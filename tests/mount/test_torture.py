"""The store under everything at once, and what others do to its files while a mount runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.mirrors import Mirrors
from tests.support.mounts import Mounts, eventually, needs_fuse, run
from tests.support.samples import MIB, publish

pytestmark = needs_fuse

NAME = "film.bin"
TORTURE = Path(__file__).parents[2] / "contrib" / "torture"


def test_readers_evictions_and_kills_for_some_seconds() -> None:
    """`contrib/torture`, in short: no wrong byte, and no more room than the quota allows."""
    pytest.importorskip("libtorrent")
    done = run(sys.executable, TORTURE, "8", "2", timeout=250)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong: none" in done.stdout


@pytest.mark.parametrize("damage", ["cut", "emptied", "deleted"])
def test_a_data_file_damaged_under_a_running_mount(
    mirrors: Mirrors, mounted: Mounts, source: Path, film_bytes: bytes, damage: str
) -> None:
    """Readers get the right bytes, fetched again where they are gone, and so does the next mount."""
    mirror = mirrors.add("only", {NAME: film_bytes})
    publish(source, NAME, film_bytes, [mirror.of(NAME)])
    mount = mounted(source)
    assert mount.read(NAME) == film_bytes
    eventually(5, lambda: mount.file(NAME)["state"] == "complete")
    [file] = mount.data_files()
    if damage == "deleted":
        file.unlink()
    else:
        os.truncate(file, 0 if damage == "emptied" else 3 * MIB + 77)
    with open(mount / NAME, "rb") as reader:
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert reader.read() == film_bytes
    mount.unmount()

    again = mounted(source, on=mount.path)
    assert again.read(NAME) == film_bytes
