"""Torrents and magnets in the folder, read through a real mount from real peers."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

pytest.importorskip("libtorrent")

from tests.support.mounts import Mounts, needs_fuse
from tests.support.swarms import free_port, one_file, seeding, tracker

pytestmark = needs_fuse

LOCAL = {"interface": "127.0.0.1", "enable_dht": "false", "enable_dht6": "false"}


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def test_a_torrent_in_the_folder_is_read_from_its_swarm(mounted: Mounts, tmp_path: Path) -> None:
    """First a piece in the middle, then the whole file, byte for byte."""
    data = noise(20_000_000)
    source = tmp_path / "source"
    source.mkdir()
    with tracker() as (names, url):
        made = one_file(tmp_path / "seed", data, length=262144, announce=url)
        (source / "a.torrent").write_bytes(made)
        with seeding(made, tmp_path / "seed") as peer:
            names.peers = [peer.port]
            mount = mounted(source, listen_port=free_port(), **LOCAL)
            start = time.monotonic()
            assert data[10_000_000:10_100_000] == mount.read("a.bin", 10_000_000, 100_000)
            first = time.monotonic() - start
            start = time.monotonic()
            assert data == mount.read("a.bin")
            print(f"first {first:.3f} s, all {time.monotonic() - start:.3f} s")
            assert mount.xattr("a.bin", "state") == "complete"
            assert mount.xattr("a.bin", "verified") == str(len(data))
