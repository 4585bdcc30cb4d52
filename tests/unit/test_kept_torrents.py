"""What magnets led to is kept as long as somebody uses it, and no longer than for long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from mountdl.control.cache import Pruning, prune
from mountdl.control.registry import Registry
from mountdl.descriptors import parse
from mountdl.descriptors.model import Descriptor
from mountdl.settings import SwarmSettings
from mountdl.sources.swarm import kept
from mountdl.sources.swarm.kept import DAY, FIRST_LOOK, LONGEST, LOOK, Kept, collect
from mountdl.sources.swarm.metadata import Library, hashes
from mountdl.sources.swarm.transport import SwarmTransport
from mountdl.store import Store
from tests.support.torrents import single, torrent

NOW = 1_700_000_000.0


def laid(directory: Path, number: int, age: float, length: int = 5000, now: float = NOW) -> Path:
    """Lay down what was used *age* seconds before *now*."""
    folder = kept.folder_of(directory)
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:040x}.torrent"
    path.write_bytes(bytes(range(1, 251)) * (length // 250))
    os.utime(path, (now - age, now - age))
    return path


def test_what_was_not_used_for_long_goes(tmp_path: Path) -> None:
    old, used, odd = laid(tmp_path, 1, LONGEST + 1), laid(tmp_path, 2, LONGEST - 1), tmp_path / "torrents/mine.torrent"
    odd.write_bytes(b"somebody's")
    os.utime(odd, (0, 0))
    half = kept.folder_of(tmp_path) / f"{3:064x}.4711.new"
    half.write_bytes(b"what a kill left")
    os.utime(half, (0, 0))

    assert collect(kept.folder_of(tmp_path), NOW - LONGEST, 1 << 30, NOW) > 0
    assert [path.exists() for path in (old, half, used, odd)] == [False, False, True, True]


def test_of_much_the_oldest_goes_and_what_a_mount_uses_stays(tmp_path: Path) -> None:
    paths = [laid(tmp_path, number, age * DAY, 100_000) for number, age in enumerate([0.4, 5, 3, 30, 0.9])]
    collect(kept.folder_of(tmp_path), NOW - LONGEST, 420_000, NOW)
    assert [path.exists() for path in paths] == [True, True, True, False, True]
    collect(kept.folder_of(tmp_path), NOW - LONGEST, 0, NOW)
    assert [path.exists() for path in paths] == [True, False, False, False, True]


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    """No link is followed, neither to a file nor to a folder, and nothing that can't be listed is an error."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = laid(elsewhere, 1, 2 * LONGEST)
    folder = kept.folder_of(tmp_path)
    folder.symlink_to(target.parent)
    assert collect(folder, NOW, 0, NOW) == 0
    folder.unlink()
    assert collect(folder, NOW, 0, NOW) == 0
    folder.mkdir()
    (folder / f"{2:040x}.torrent").symlink_to(target)
    assert collect(folder, NOW, 0, NOW) == 0
    assert target.exists()


def test_to_find_one_is_to_use_it(tmp_path: Path) -> None:
    """From then on for as long as the process lives, which tends to it."""
    said = parse("a.torrent", torrent(single(b"0123456789" * 9, 16384, "a.bin")))
    assert said.torrent is not None
    Library(Kept(tmp_path)).keep(said.torrent)
    wanted = hashes(said.torrent)
    del said
    [path] = kept.folder_of(tmp_path).iterdir()
    os.utime(path, (0, 0))
    library = Library(Kept(tmp_path))
    assert library.find(wanted) is not None
    assert path.stat().st_mtime > time.time() - DAY / 2
    os.utime(path, (0, 0))
    library.kept.tend()
    assert path.stat().st_mtime > time.time() - DAY / 2
    os.utime(path, (0, 0))
    Kept(tmp_path).tend()
    assert not path.exists()


async def test_a_mount_looks_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again."""
    monkeypatch.setattr("mountdl.sources.swarm.transport.FIRST_LOOK", 0.01)
    monkeypatch.setattr("mountdl.sources.swarm.transport.LOOK", 0.01)

    async def load(url: str, wanted: object) -> Descriptor:
        raise AssertionError(url)

    transport = SwarmTransport(
        SwarmSettings(dht=False, dht6=False, exchange=False), tmp_path, Library(Kept(tmp_path)), load
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        for number in range(3):
            await gone(laid(tmp_path, number, LONGEST + DAY, now=time.time()))
        nursery.cancel_scope.cancel()


async def gone(path: Path) -> None:
    """Return when *path* is gone: a thread removes it."""
    deadline = time.monotonic() + 60
    while path.exists():
        assert time.monotonic() < deadline
        await trio.sleep(0.01)


@pytest.mark.parametrize(("age", "left"), [(0.0, [True, False, False]), (4.0, [True, True, False])])
def test_prune_by_age_drops_them_too(
    tmp_path: Path, age: float, left: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what a mount that runs may use."""
    Store(tmp_path).close()
    paths = [laid(tmp_path, number, days * DAY, now=time.time()) for number, days in enumerate([0.6, 3, 5])]
    prune(tmp_path, Pruning(age=age), Registry(tmp_path / "run"), as_json=False)
    assert [path.exists() for path in paths] == left
    assert not capsys.readouterr().out.startswith("0 bytes freed")


CHECKS: list[Callable[[], bool]] = [
    lambda: LOOK * 2 <= DAY,  # else what a mount uses could be older than a day
    lambda: FIRST_LOOK >= 10 * SwarmSettings().metadata_timeout,  # the magnets that are shown have found theirs
    lambda: DAY < LONGEST,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_times_fit(check: Callable[[], bool]) -> None:
    assert check()
