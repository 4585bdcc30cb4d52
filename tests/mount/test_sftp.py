"""Files of sftp mirrors, mounted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sshd
from tests.support.mirrors import Mirrors, paced
from tests.support.mounts import LONGEST, Mounts, needs_fuse, within
from tests.support.samples import MIB, publish

pytestmark = [*needs_fuse, pytest.mark.skipif(sshd.SSHD is None, reason="sshd is not installed")]

NAME = "film.bin"


@pytest.fixture
def server(tmp_path: Path, film_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Sshd]:
    """Serve the film, to a user whose home is made up."""
    root = tmp_path / "files"
    root.mkdir()
    (root / NAME).write_bytes(film_bytes)
    with sshd.running(tmp_path / "sshd", root) as made:
        home = tmp_path / "home"
        home.mkdir()
        (home / ".ssh").symlink_to(made.ssh)
        monkeypatch.setenv("HOME", str(home))
        yield made


def test_an_sftp_mirror_alone(mounted: Mounts, source: Path, film_bytes: bytes, server: sshd.Sshd) -> None:
    """The file is there and right, from the first to the last byte."""
    publish(source, NAME, film_bytes, [server.url(NAME)])
    mount = mounted(source)

    assert within(LONGEST, (mount.path / NAME).read_bytes) == film_bytes


def test_an_unknown_host_is_told(mounted: Mounts, source: Path, film_bytes: bytes, server: sshd.Sshd) -> None:
    """A read fails soon, and `why` says what to do."""
    (server.ssh / "known_hosts").write_text("")
    publish(source, NAME, film_bytes, [server.url(NAME)])
    mount = mounted(source)

    with pytest.raises(OSError, match="Input/output"):
        within(LONGEST, (mount.path / NAME).read_bytes)
    assert "once, or add what `ssh-keyscan" in mount.why(NAME)


def test_beside_an_http_mirror(
    mounted: Mounts, source: Path, film_bytes: bytes, server: sshd.Sshd, mirrors: Mirrors
) -> None:
    """One that dies costs nothing but time: the other one has the rest."""
    slow = mirrors.add("slow", {NAME: film_bytes}, paced(20 * MIB))
    publish(source, NAME, film_bytes, [server.url(NAME), slow.of(NAME)])
    mount = mounted(source)

    with (mount.path / NAME).open("rb", buffering=0) as file:
        assert within(LONGEST, lambda: file.read(MIB)) == film_bytes[:MIB]
        server.process.terminate()
        server.signal(signal.SIGKILL, "sshd")
    assert within(LONGEST, (mount.path / NAME).read_bytes) == film_bytes
