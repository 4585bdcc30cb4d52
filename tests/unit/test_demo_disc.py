"""The disc image is ISO 9660 by the book: our reader and other people's agree on what is in it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mountdl.demo import disc
from mountdl.demo.disc import SECTOR
from mountdl.demo.samples import disc_files

NAME = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", min_size=1, max_size=8)
# Files have a suffix and directories none, so that no path is both.
PATHS = st.builds(lambda folders, name: PurePosixPath("/", *folders, f"{name}.BIN"), st.lists(NAME, max_size=6), NAME)
TREES = st.dictionaries(PATHS, st.binary(max_size=5000), max_size=120)


def listed(image: bytes) -> dict[PurePosixPath, bytes]:
    """Return the files that our reader finds in *image*."""
    found = disc.listing(lambda offset, length: image[offset : offset + length])
    return {each.path: image[each.offset : each.offset + each.size] for each in found}


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_listed(files: dict[PurePosixPath, bytes]) -> None:
    """Any tree comes back with all its bytes; the image is whole sectors, as many as it says."""
    image = disc.image(files, "LABEL")

    assert listed(image) == files
    assert len(image) == SECTOR * int.from_bytes(image[16 * SECTOR + 80 : 16 * SECTOR + 84], "little")


def test_both_byte_orders_say_the_same() -> None:
    """Path tables exist in both orders and name the same directories at the same sectors."""
    image = disc.image(disc_files(), "LABEL")
    primary = image[16 * SECTOR : 17 * SECTOR]
    size = int.from_bytes(primary[132:136], "little")
    tables = [
        image[SECTOR * place : SECTOR * place + size]
        for place in (int.from_bytes(primary[140:144], "little"), int.from_bytes(primary[148:152], "big"))
    ]

    assert primary[80:84] == primary[84:88][::-1]
    assert path_table(tables[0], "little") == path_table(tables[1], "big")
    assert path_table(tables[0], "little")[:2] == [(b"\0", 1), (b"BOOK", 1)]


def path_table(table: bytes, order: str) -> list[tuple[bytes, int]]:
    rows, offset = [], 0
    while offset < len(table):
        length = table[offset]
        parent = int.from_bytes(table[offset + 6 : offset + 8], order)  # type: ignore[arg-type]
        rows.append((table[offset + 8 : offset + 8 + length], parent))
        offset += 8 + length + length % 2
    return rows


def test_directories_that_need_several_sectors_are_whole() -> None:
    """No record crosses a sector (ECMA-119, 6.8.1.1), and all are found."""
    files = {PurePosixPath(f"/MANY/FILE{number:04}.BIN"): bytes([number % 256]) for number in range(500)}

    assert listed(disc.image(files, "LABEL")) == files


@given(st.binary(max_size=64), st.integers(0, 30 * SECTOR))
@settings(max_examples=200, deadline=None)
def test_a_damaged_disc_gives_a_listing_or_a_value_error(damage: bytes, place: int) -> None:
    """Whatever the bytes, the reader ends, and with nothing but a ValueError."""
    image = bytearray(disc.image({PurePosixPath("/A/B/FILE.BIN"): b"x", PurePosixPath("/C/FILE.BIN"): b"y"}, "LABEL"))
    image[place : place + len(damage)] = damage
    found = []
    with contextlib.suppress(ValueError):
        found = list(listed(bytes(image)))

    assert len(found) < 1000


def test_a_circle_of_directories_is_refused() -> None:
    """A directory that holds its parent is not followed for ever."""
    image = bytearray(disc.image({PurePosixPath("/A/FILE.BIN"): b"x"}, "LABEL"))
    root = int.from_bytes(image[16 * SECTOR + 158 : 16 * SECTOR + 162], "little")
    record = image.index(b"\x01A", root * SECTOR) - 32
    image[record + 2 : record + 6] = root.to_bytes(4, "little")

    with pytest.raises(ValueError, match="too many"):
        listed(bytes(image))


FILES = re.compile(rb"IMG\d{5}|CHAP\d\d|README")


@pytest.mark.parametrize("command", [["isoinfo", "-l", "-i"], ["bsdtar", "-tf"], ["7z", "l"], ["7z", "t", "-bb1"]])
def test_other_peoples_readers_list_it_without_a_warning(command: list[str], tmp_path: Path) -> None:
    """isoinfo, bsdtar and 7z name every file and complain of nothing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = tmp_path / "disc.iso"
    path.write_bytes(disc.image(disc_files(), "LABEL"))

    done = subprocess.run([*command, path], capture_output=True, check=True)

    assert len(disc_files()) == len(set(FILES.findall(done.stdout)))
    assert done.stderr == b""
    assert b"warning" not in done.stdout.lower()
