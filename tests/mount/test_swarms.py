"""Torrents and magnets in the folder, read through a real mount from real peers."""

from __future__ import annotations

import errno
import hashlib
import time
from pathlib import Path

import pytest

pytest.importorskip("libtorrent")

from mountdl.sources.swarm.session import STRIKES
from tests.support.content import pattern
from tests.support.mirrors import Mirrors
from tests.support.mounts import Mounts, eventually, mountdl, needs_fuse, run
from tests.support.ports import free_port
from tests.support.swarms import (
    info_hash,
    many_files,
    one_file,
    peer,
    seed,
    seeding,
    tracker,
    wire,
    with_tracker,
)

pytestmark = needs_fuse


def test_a_torrent_in_the_folder_is_read_from_its_swarm(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """First a piece in the middle, then the whole file, byte for byte."""
    data = pattern(20_000_000)
    with tracker() as (names, url):
        made = one_file(tmp_path / "seed", data, length=262144, announce=url)
        (source / "a.torrent").write_bytes(made)
        with seeding(made, tmp_path / "seed") as peer:
            names.peers = [peer.port]
            mount = mounted(source, listen_port=free_port())
            start = time.monotonic()
            assert data[10_000_000:10_100_000] == mount.read("a.bin", 10_000_000, 100_000)
            first = time.monotonic() - start
            start = time.monotonic()
            assert data == mount.read("a.bin")
            print(f"first {first:.3f} s, all {time.monotonic() - start:.3f} s")
            assert mount.xattr("a.bin", "state") == "complete"
            assert mount.xattr("a.bin", "verified") == str(len(data))


def test_a_magnet_gives_way_to_what_is_in_it(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """The note goes when a peer has told; the next mount needs no peer to know."""
    files = {"one.bin": pattern(300_000, 1), "sub/two.bin": pattern(500_000, 2), "three.bin": pattern(10, 3)}
    made = many_files(tmp_path / "seed", files)
    with seeding(made, tmp_path / "seed") as peer:
        link = f"magnet:?xt=urn:btih:{info_hash(made)}&dn=shown&so=0-1&x.pe={peer.address}"
        (source / "m.magnet").write_text(link)
        mount = mounted(source, listen_port=free_port())
        eventually(5, lambda: (mount / "top" / "sub" / "two.bin").exists())
        assert files["sub/two.bin"] == mount.read("top/sub/two.bin")
        assert files["one.bin"] == mount.read("top/one.bin")
        assert sorted(path.name for path in (mount / "top").iterdir()) == ["one.bin", "sub"]
        mount.unmount()
    again = mounted(source, listen_port=free_port())
    eventually(5, lambda: (again / "top" / "sub" / "two.bin").exists())
    assert files["sub/two.bin"] == again.read("top/sub/two.bin")
    assert again.xattr("top/one.bin", "infohash") == info_hash(made)


def test_a_killed_mount_goes_on_where_it_was(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """Nothing that was good is fetched or waited for again, and what was fetched into is swept away."""
    data = pattern(30_000_000)
    made = one_file(tmp_path / "seed", data, length=262144)
    with peer() as other, tracker() as (names, url), wire(other.port) as counted:
        handle = seed(other, made, tmp_path / "seed", upload=10_000_000)
        names.peers = [counted.port]
        (source / "a.torrent").write_bytes(with_tracker(made, url))
        mount = mounted(source, listen_port=free_port(), background="off")
        assert data[:12_000_000] == mount.read("a.bin", 0, 12_000_000)
        mount.kill()
        run("umount", "-l", mount.path)
        before = counted.sent
        handle.set_upload_limit(-1)
        again = mounted(source, listen_port=free_port(), background="off")
        assert data[:12_000_000] == again.read("a.bin", 0, 12_000_000)
        assert data == again.read("a.bin")
        assert len(list((again.cache / "swarms").glob("run-*"))) <= 1
        # What was ahead of the reader was not handed over when it ended, a second's worth and more.
        assert counted.sent - before < 20_000_000


def test_a_liar_is_named(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """A peer that sends garbage is found out by the pieces, and shut out when it comes again from other ports."""
    data = pattern(3_000_000)
    made = one_file(tmp_path / "seed", data, length=262144)
    one_file(tmp_path / "lies", pattern(3_000_000, 9), length=262144)
    with tracker() as (names, url), seeding(made, tmp_path / "seed", upload=2_000_000) as good:
        with seeding(made, tmp_path / "lies", host="127.0.0.3") as liar:
            names.peers = [good.port, liar.address]
            (source / "a.torrent").write_bytes(with_tracker(made, url))
            mount = mounted(source, listen_port=free_port())
            assert data == mount.read("a.bin")
            told = mount.why("a.bin")
            assert f"{liar.address} was sent away: wrong bytes" in told
            # Some are on their way when it is shut out: on a busy machine 14 in all. With it may go who had a part in the
            # same pieces, as 7 of 54 times on a machine with a load of 4; he comes back from another port.
            assert told.count("was sent away") <= 3 * (STRIKES + 8)


def test_libtorrent_is_loaded_for_swarms_alone(mounted: Mounts, mirrors: Mirrors, source: Path, tmp_path: Path) -> None:
    """A metalink is mounted and read without its time and memory; the first use of a torrent brings it in."""
    data = pattern(100_000)
    mirror = mirrors.add("m", {"plain.bin": data})
    (source / "a.meta4").write_text(
        f'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="plain.bin"><size>{len(data)}</size>'
        f'<hash type="sha-256">{hashlib.sha256(data).hexdigest()}</hash><url>{mirror.of("plain.bin")}</url>'
        "</file></metalink>"
    )
    (source / "b.torrent").write_bytes(one_file(tmp_path / "seed", pattern(1000)))
    mount = mounted(source, listen_port=free_port(), read_timeout=5)

    def loaded() -> bool:
        return "libtorrent" in Path(f"/proc/{mount.pid}/maps").read_text()

    assert data == mount.read("plain.bin")
    assert not loaded()
    assert mount.errno("a.bin") == errno.EIO
    assert loaded()


def test_without_libtorrent_all_else_works(
    mounted: Mounts, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torrent is shown and its read fails with a reason; a magnet's note says what is missing."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "libtorrent.py").write_text("raise ImportError('not on this machine')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}:{Path(__file__).parents[2]}")
    (source / "a.torrent").write_bytes(one_file(tmp_path / "seed", pattern(1000)))
    (source / "m.magnet").write_text(f"magnet:?xt=urn:btih:{'12' * 20}&dn=film.mkv")
    mounted.command = mountdl  # what another has imported already would not be looked for there
    mount = mounted(source, read_timeout=2)

    assert (mount / "a.bin").stat().st_size == 1000
    assert mount.errno("a.bin") == errno.EIO
    eventually(5, lambda: "needs libtorrent" in mount.xattr("film.mkv.resolving", "error"))
    assert "libtorrent can't be loaded" in mount.log.read_text()
