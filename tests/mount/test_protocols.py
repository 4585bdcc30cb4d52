"""One file from mirrors of three protocols."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support import ftpservers, sshd
from tests.support.content import pattern
from tests.support.mirrors import Mirrors, paced
from tests.support.mounts import Mounts, needs_fuse
from tests.support.samples import MIB, publish

pytestmark = [
    *needs_fuse,
    pytest.mark.skipif(sshd.SSHD is None, reason="sshd is not installed"),
    pytest.mark.skipif(bool(ftpservers.vsftpd_missing()), reason=ftpservers.vsftpd_missing() or "-"),
]

NAME = "film.bin"


def test_http_ftps_and_sftp_together(
    mounted: Mounts, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrors: Mirrors
) -> None:
    """Equal, with bytes from all three; each is killed in turn (http comes back), and what is left has the rest."""
    data = pattern(96 * MIB)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(ftpservers.folder())
        (home / "root" / NAME).write_bytes(data)
        (home / "root" / NAME).chmod(0o644)
        ssh = stack.enter_context(sshd.running(tmp_path / "sshd", home / "root"))
        ftps = stack.enter_context(ftpservers.vsftpd(home, "implicit", rate=20 * MIB))
        (tmp_path / "home").mkdir()
        (tmp_path / "home/.ssh").symlink_to(ssh.ssh)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        http = mirrors.add("paced", {NAME: data}, paced(20 * MIB))
        publish(source, NAME, data, [http.of(NAME), f"ftps://127.0.0.1:{ftps.port}/{NAME}", ssh.url(NAME)])
        mount = mounted(source, ca_certificate=ftps.authority, background="off")

        quarter = len(data) // 4
        assert mount.read(NAME, 0, 2 * quarter) == data[: 2 * quarter]
        assert all(each["bytes"] > 0 for each in mount.file(NAME)["sources"]), mount.file(NAME)["sources"]
        os.killpg(ftps.pid, signal.SIGKILL)
        eighth = quarter // 2
        assert mount.read(NAME, 2 * quarter, eighth) == data[2 * quarter : 2 * quarter + eighth]
        with contextlib.ExitStack() as again:
            mirrors.stop(http)
            assert mount.read(NAME, 2 * quarter + eighth, eighth) == data[2 * quarter + eighth : 3 * quarter]
            again.callback(mirrors.start, http)
        ssh.process.terminate()
        ssh.signal(signal.SIGKILL, "sshd")
        assert mount.read(NAME, 3 * quarter) == data
