"""Swarms whose peers are other programs, and a metalink whose torrent and mirrors serve one file."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("libtorrent")

from tests.support.mirrors import Mirrors
from tests.support.mounts import Mounts, eventually, needs_fuse
from tests.support.swarms import free_port, info_hash, many_files, one_file, seeding, tracker, with_tracker

pytestmark = needs_fuse


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def meta4(data: bytes, mirror: str, torrent: str, name: str = "f.bin", inside: str = "") -> str:
    at = f' name="{inside}"' if inside else ""
    return (
        f'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="{name}"><size>{len(data)}</size>'
        f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash>'
        f'<url priority="1">{mirror}</url><metaurl mediatype="torrent" priority="2"{at}>{torrent}</metaurl>'
        "</file></metalink>"
    )


@contextmanager
def program(*command: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    running = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@needs("aria2c")
def test_aria2_gets_from_us_what_we_had_from_a_mirror(
    mounted: Mounts, mirrors: Mirrors, source: Path, tmp_path: Path
) -> None:
    """The metalink's torrent has no peer but us; what came by HTTP is given to the swarm."""
    data = noise(3_000_000)
    made = one_file(tmp_path / "seed", data, "f.bin")
    mirror = mirrors.add("m", {"f.bin": data, "f.torrent": made})
    (source / "f.meta4").write_text(meta4(data, mirror.of("f.bin"), mirror.of("f.torrent")))
    port = free_port()
    mount = mounted(source, listen_port=port)
    assert data == mount.read("f.bin")
    (tmp_path / "aria2").mkdir()
    with tracker() as (names, url):
        names.peers = [port]
        (tmp_path / "t.torrent").write_bytes(with_tracker(made, url))
        done = subprocess.run(
            ["aria2c", "-d", tmp_path / "aria2", "--enable-dht=false", "--enable-dht6=false", "--seed-time=0",
             "--interface=127.0.0.1", f"--listen-port={free_port()}", "--summary-interval=0", "--quiet",
             "--bt-stop-timeout=15", tmp_path / "t.torrent"],
            timeout=25, check=False, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert data == (tmp_path / "aria2" / "f.bin").read_bytes()


def test_a_metalink_names_a_file_inside_a_torrent(
    mounted: Mounts, mirrors: Mirrors, source: Path, tmp_path: Path
) -> None:
    """Its only mirror is gone: the swarm brings the file that the metalink's name picks, checked by its digest."""
    files = {"a.bin": noise(400_000, 1), "sub/b.bin": noise(400_000, 2)}
    with tracker() as (names, url):
        made = with_tracker(many_files(tmp_path / "seed", files), url)
        mirror = mirrors.add("m", {"t.torrent": made})
        with seeding(made, tmp_path / "seed") as peer:
            names.peers = [peer.port]
            text = meta4(files["sub/b.bin"], mirror.of("gone.bin"), mirror.of("t.torrent"), "f.bin", "top/sub/b.bin")
            (source / "f.meta4").write_text(text)
            mount = mounted(source, listen_port=free_port())
            assert files["sub/b.bin"] == mount.read("f.bin")
            eventually(5, lambda: mount.xattr("f.bin", "state") == "complete")


@needs("transmission-daemon")
def test_transmission_seeds(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """It lets a newcomer wait for up to 10 s before it sends anything."""
    files = {"one.bin": noise(700_000, 1), "sub/two.bin": noise(900_000, 2)}
    port = free_port()
    with tracker() as (names, url):
        names.peers = [port]
        made = with_tracker(many_files(tmp_path / "seed", files), url)
        (tmp_path / "watch").mkdir()
        (tmp_path / "watch" / "t.torrent").write_bytes(made)
        with program(
            "transmission-daemon", "-f", "-g", tmp_path / "config", "-w", tmp_path / "seed", "-c", tmp_path / "watch",
            "-P", port, "-p", free_port(), "-O", "-Y", "-M", "-i", "127.0.0.1", "-r", "127.0.0.1", "--no-utp",
        ):  # fmt: skip
            eventually(10, lambda: names.asked)
            (source / "m.magnet").write_text(f"magnet:?xt=urn:btih:{info_hash(made)}&x.pe=127.0.0.1:{port}")
            mount = mounted(source, listen_port=free_port())
            eventually(10, lambda: (mount / "top" / "sub" / "two.bin").exists())
            assert files["sub/two.bin"] == mount.read("top/sub/two.bin")
