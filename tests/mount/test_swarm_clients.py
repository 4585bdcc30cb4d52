"""Swarms whose peers are other programs, and a metalink whose torrent and mirrors serve one file."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

pytest.importorskip("libtorrent")

from tests.support.content import pattern
from tests.support.mirrors import Mirrors
from tests.support.mounts import Mounts, eventually, needs_fuse, run
from tests.support.ports import free_port
from tests.support.samples import disc, film
from tests.support.swarms import info_hash, many_files, one_file, seeding, tracker, with_tracker

pytestmark = needs_fuse


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


@contextmanager
def opentracker(folder: Path, *hashes: str) -> Iterator[int]:
    """Run one that knows *hashes*, as Debian's must; give its port, for HTTP and UDP."""
    folder.mkdir()
    folder.chmod(0o755)
    known = folder / "known"
    known.write_text("".join(f"{each}\n" for each in hashes))
    known.chmod(0o644)
    port = free_port()
    # What root starts goes to live in its folder.
    where = "/known" if os.geteuid() == 0 else known
    with program("opentracker", "-i", "127.0.0.1", "-p", port, "-P", port, "-u", "nobody", "-d", folder, "-w", where):
        eventually(10, lambda: listens(port))
        yield port


def seeds(port: int, info_hash: str) -> bool:
    """Say whether the tracker on *port* has heard of somebody who has all of a torrent."""
    asked = f"http://127.0.0.1:{port}/scrape?info_hash={quote(bytes.fromhex(info_hash))}"
    with urlopen(asked, timeout=30) as answer:
        return b"8:completei1e" in answer.read()


def listens(port: int) -> bool:
    """Say whether a server is there."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def qbittorrent(home: Path, folder: Path, *torrents: Path) -> Iterator[int]:
    """Run one that seeds *torrents*, whose files are in *folder*; give its port."""
    port = free_port()
    settings = home / "qBittorrent" / "config" / "qBittorrent.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        "[LegalNotice]\nAccepted=true\n[Network]\nPortForwardingEnabled=false\n"
        f"[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={free_port()}\nConnection\\UPnP=false\n"
        "Connection\\ResolvePeerCountries=false\n"
        f"[BitTorrent]\nSession\\Port={port}\nSession\\InterfaceAddress=127.0.0.1\nSession\\DHTEnabled=false\n"
        # It else shuts all of an address out when it has met itself there, by the tracker's list.
        "Session\\MultiConnectionsPerIp=true\n"
        f"Session\\LSDEnabled=false\nSession\\PeXEnabled=false\nSession\\DefaultSavePath={folder}\n"
    )
    options = [f"--profile={home}", f"--save-path={folder}", "--skip-hash-check"]
    with program("qbittorrent-nox", *options, *torrents):
        eventually(25, lambda: listens(port))
        yield port


@needs("qbittorrent-nox")
@needs("opentracker")
@needs("ffmpeg")
@needs("ffprobe")
@needs("genisoimage")
@needs("isoinfo")
def test_programs_read_what_qbittorrent_seeds(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """Its address comes from a UDP tracker: a film is looked into, a disc is listed, each file compared."""
    (tmp_path / "made").mkdir()
    files = {"film.mp4": film(tmp_path / "made"), "discs/disc.iso": disc(tmp_path / "made"), "read me.txt": b"short"}
    made = many_files(tmp_path / "seed", files, length=262144)
    with opentracker(tmp_path / "tracker", info_hash(made)) as port:
        (tmp_path / "t.torrent").write_bytes(with_tracker(made, f"http://127.0.0.1:{port}/announce"))
        with qbittorrent(tmp_path / "q", tmp_path / "seed", tmp_path / "t.torrent"):
            eventually(30, lambda: seeds(port, info_hash(made)))
            link = f"magnet:?xt=urn:btih:{info_hash(made)}&tr=udp://127.0.0.1:{port}/announce"
            (source / "m.magnet").write_text(link)
            mount = mounted(source, listen_port=free_port(), interface="127.0.0.1")
            top = mount / "top"
            eventually(30, lambda: (top / "discs" / "disc.iso").exists())

            probed = run(
                "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv", top / "film.mp4"
            )
            assert (probed.stdout.strip(), probed.stderr) == ("stream,mpeg4,480", "")
            listed = run("isoinfo", "-l", "-R", "-i", top / "discs" / "disc.iso")
            assert listed.stdout.count(".bin") == 24, listed
            middle = len(files["discs/disc.iso"]) // 2
            assert files["discs/disc.iso"][middle : middle + 70_000] == mount.read("top/discs/disc.iso", middle, 70_000)
            for name in files:
                assert run("cmp", top / name, tmp_path / "seed" / "top" / name).returncode == 0


@needs("aria2c")
def test_aria2_gets_from_us_what_we_had_from_a_mirror(
    mounted: Mounts, mirrors: Mirrors, source: Path, tmp_path: Path
) -> None:
    """The metalink's torrent has no peer but us; what came by HTTP is given to the swarm."""
    data = pattern(3_000_000)
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
             "--bt-stop-timeout=60", tmp_path / "t.torrent"],
            timeout=90, check=False, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert data == (tmp_path / "aria2" / "f.bin").read_bytes()


def test_a_metalink_names_a_file_inside_a_torrent(
    mounted: Mounts, mirrors: Mirrors, source: Path, tmp_path: Path
) -> None:
    """Its only mirror is gone: the swarm brings the file that the metalink's name picks, checked by its digest."""
    files = {"a.bin": pattern(400_000, 1), "sub/b.bin": pattern(400_000, 2)}
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
    files = {"one.bin": pattern(700_000, 1), "sub/two.bin": pattern(900_000, 2)}
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
