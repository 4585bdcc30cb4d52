"""What a mount is called, and how it is found again among the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mountdl.filesystem import mount


@pytest.mark.parametrize(
    ("source", "name"),
    [("/srv/a", "/srv/a"), ("/srv/a,ro", "/srv/a_ro"), ("/srv/Müsli", "/srv/M_sli"), ("/srv/\udcff", "/srv/_")],
)
def test_the_name_of_a_mount_is_one_option_in_ascii(source: str, name: str) -> None:
    """pyfuse3 can't be given anything else: a source with an umlaut would not be mounted."""
    assert mount._named(source) == f"fsname={name}"  # noqa: SLF001


def test_mount8_finds_its_notes_by_the_name() -> None:
    """That fstab says _netdev, without which systemd takes the mount for a local one, is in no table of the kernel."""
    assert mount.name("/srv/a", by_mount8=True) == "/srv/a"
    assert mount.name("/srv/a", by_mount8=False) == "mountdl:/srv/a"


@pytest.mark.parametrize("place", ["/mnt/plain", "/mnt/Müsli", "/mnt/a b\n\\040", "/mnt/\udcff"])
def test_a_mount_is_found_by_its_place(place: str, tmp_path: Path) -> None:
    """Whatever bytes its name and the names of other mounts have."""
    octal = place.replace("\\", "\\134").replace(" ", "\\040").replace("\n", "\\012")
    table = tmp_path / "mountinfo"
    lines = [f"1 0 0:{number} / {name} rw - fuse x rw\n" for number, name in ((7, "/mnt/\udcfe"), (8, octal))]
    table.write_bytes("".join(lines).encode(errors="surrogateescape"))

    assert mount._device(place, table) == "0:8"  # noqa: SLF001
    assert mount._device("/elsewhere", table) is None  # noqa: SLF001


def test_who_has_no_name_is_told_why_nothing_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is run by a number: it was asked whether FUSE is there, which was no help."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr("pwd.getpwuid", lambda user: user)
    assert "is /dev/fuse there" in mount._advice()  # noqa: SLF001
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert mount._advice().endswith(f": user {os.getuid()} must be in /etc/passwd")  # noqa: SLF001
