"""What FTP mirrors do beside others, and what is told of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import ftpservers
from tests.support.content import pattern
from tests.support.machine import patience
from tests.support.mirrors import Mirrors, paced
from tests.support.mounts import Mounts, needs_fuse
from tests.support.samples import MIB, publish

pytestmark = [
    *needs_fuse,
    pytest.mark.skipif(bool(ftpservers.vsftpd_missing()), reason=ftpservers.vsftpd_missing() or "-"),
]

DATA = pattern(8 * MIB + 3, seed=7)
SECRET = "gehe1m"


def test_the_preferred_protocol_is_read_first(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """With --metalink-preferred-protocol=ftp a first read's bytes are the ftp mirror's."""
    with ftpservers.folder() as home:
        (home / "root" / "f.bin").write_bytes(DATA)
        with ftpservers.vsftpd(home) as server:
            http = mirrors.add("http", {"f.bin": DATA}, paced(20 * MIB))
            publish(source, "f.bin", DATA, [http.of("f.bin"), f"ftp://127.0.0.1:{server.port}/f.bin"])
            mount = mounted(source, metalink_preferred_protocol="ftp", background="off")
            assert mount.read("f.bin", 4 * MIB, 1000) == DATA[4 * MIB : 4 * MIB + 1000]
            first = mount.file("f.bin")["sources"][0]
            assert "ftp://" in str(first)
            assert first["bytes"] > 0


def test_a_stopped_server_gives_way(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """An ftp server that is stopped while it sends costs no more than the patience with it."""
    with ftpservers.folder() as home:
        (home / "root" / "f.bin").write_bytes(DATA)
        with ftpservers.vsftpd(home, rate=2 * MIB) as server:
            http = mirrors.add("http", {"f.bin": DATA}, paced(4 * MIB))
            publish(source, "f.bin", DATA, [f"ftp://127.0.0.1:{server.port}/f.bin", http.of("f.bin")])
            mount = mounted(source, timeout=2, background="off")
            assert mount.read("f.bin", 0, 1000) == DATA[:1000]
            stopped = [server.pid, *ftpservers.below(server.pid)]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            assert mount.read("f.bin") == DATA
            assert time.monotonic() - began < patience(10)


def test_no_secret_is_told(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """Neither log nor status nor `why` has user or password, whether they are right or wrong."""
    with ftpservers.folder() as home:
        (home / "root" / "f.bin").write_bytes(DATA)
        with (
            ftpservers.pyftpdlib(home / "root", user="jemand", password=SECRET) as server,
            ftpservers.vsftpd(home) as other,  # lets anonymous ones in only
        ):
            place, refusing = f"127.0.0.1:{server.port}/f.bin", f"127.0.0.1:{other.port}/f.bin"
            publish(source, "f.bin", DATA, [f"ftp://jemand:{SECRET}@{place}", f"ftp://jemand:{SECRET}x@{refusing}"])
            log = tmp_path / "log"
            mount = mounted(source, log=log, log_level="debug")
            assert mount.read("f.bin") == DATA
            told = log.read_text() + str(mount.status()) + mount.why("f.bin")
            assert place in told
            assert SECRET not in told
            assert "jemand" not in told
            mount.unmount()
