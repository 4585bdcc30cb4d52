"""FTP mirrors in a mount: alone, and beside others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import ftpservers
from tests.support.content import pattern
from tests.support.mirrors import Mirrors, stalling
from tests.support.mounts import Mounts, needs_fuse
from tests.support.samples import MIB, publish

pytestmark = [
    *needs_fuse,
    pytest.mark.skipif(bool(ftpservers.vsftpd_missing()), reason=ftpservers.vsftpd_missing()),
]

DATA = pattern(8 * MIB + 3, seed=7)


@pytest.mark.parametrize("tls", ["", "explicit", "implicit"])
def test_a_file_of_an_ftp_mirror(tls: str, mounted: Mounts, source: Path) -> None:
    """An ftp or ftps mirror alone serves reads anywhere and the whole."""
    with ftpservers.folder() as home:
        (home / "root" / "f.bin").write_bytes(DATA)
        with ftpservers.vsftpd(home, tls) as server:
            publish(source, "f.bin", DATA, [f"ftp{'s' if tls else ''}://127.0.0.1:{server.port}/f.bin"])
            options = {"ca_certificate": server.authority} if tls else {}
            mount = mounted(source, **options)
            assert mount.read("f.bin", 5 * MIB, 1000) == DATA[5 * MIB : 5 * MIB + 1000]
            assert mount.read("f.bin") == DATA


def test_ftp_goes_on_where_http_stalls(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """One file, an http mirror that falls silent and an ftp mirror: the reader gets every byte."""
    with ftpservers.folder() as home:
        (home / "root" / "f.bin").write_bytes(DATA)
        with ftpservers.vsftpd(home) as server:
            stuck = mirrors.add("stuck", {"f.bin": DATA}, stalling(MIB))
            publish(source, "f.bin", DATA, [stuck.of("f.bin"), f"ftp://127.0.0.1:{server.port}/f.bin"])
            mount = mounted(source)
            assert mount.read("f.bin") == DATA
            assert any("ftp://" in str(one) for one in mount.file("f.bin")["sources"])
