"""Many torrents in the folder, and the order in which one is completed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("libtorrent")

from tests.support.content import pattern
from tests.support.mounts import Mounts, eventually, needs_fuse
from tests.support.ports import free_port
from tests.support.swarms import many_files, one_file, peer, seed, seeding, tracker, with_tracker

pytestmark = needs_fuse


def resident(pid: int) -> int:
    """Return the most memory that process *pid* ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_many_torrents_take_little_memory(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """Below 200 MB with 200 of them, 5 of which are read: those that nobody reads are in no session."""
    with tracker() as (names, url), peer() as other:
        for number in range(200):
            made = one_file(tmp_path / "seed", pattern(300_000, number), f"f{number}.bin")
            if number < 5:
                seed(other, made, tmp_path / "seed")
            (source / f"t{number}.torrent").write_bytes(with_tracker(made, url))
        names.peers = [other.port]
        mount = mounted(source, listen_port=free_port())
        eventually(90, lambda: (mount / "f199.bin").exists())
        for number in range(5):
            assert pattern(300_000, number) == mount.read(f"f{number}.bin")
        assert len({path.partition("info_hash=")[2].partition("&")[0] for path in names.asked}) <= 5
        assert resident(mount.pid) < 200_000_000


def test_a_torrent_is_completed_in_the_order_of_the_tree(mounted: Mounts, source: Path, tmp_path: Path) -> None:
    """With --background all: as its files are listed in the mount, whatever their order in the torrent."""
    files = {f"{name}.bin": pattern(1_500_000, place) for place, name in enumerate("febdac")}
    with tracker() as (names, url):
        made = many_files(tmp_path / "seed", files)
        (source / "t.torrent").write_bytes(with_tracker(made, url))
        with seeding(made, tmp_path / "seed", upload=1_500_000) as other:
            names.peers = [other.port]
            mount = mounted(source, listen_port=free_port(), background="all")
            done: list[str] = []

            def all_done() -> bool:
                for name in sorted(files):
                    if name not in done and mount.xattr(f"top/{name}", "state") == "complete":
                        done.append(name)
                return len(done) == len(files)

            eventually(60, all_done)
    places = [sorted(files).index(name) for name in done]
    # Two are completed side by side, and the last piece of one may be the other's first.
    assert all(abs(place - wanted) <= 1 for wanted, place in enumerate(places)), done
