"""Whether anybody still waits for a handle."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mountdl.filesystem.orphans import _DOOMED, holders, orphaned

NOBODY = frozenset[int]()


def test_a_handle_without_any_process_is_orphaned() -> None:
    assert orphaned(10, frozenset(), [])


def test_its_opener_may_wait() -> None:
    assert not orphaned(10, frozenset(), [frozenset({9, 10})])


def test_a_process_that_opened_nothing_may_have_inherited_it() -> None:
    assert not orphaned(10, frozenset({20}), [frozenset({30})])
    assert not orphaned(10, frozenset({20}), [frozenset({20}), frozenset({30})])


def test_processes_that_opened_the_file_themselves_wait_for_their_own_handles() -> None:
    assert orphaned(10, frozenset({20, 30}), [frozenset({20}), frozenset({29, 30})])


def test_holders_have_the_file_open_or_mapped(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.write_bytes(b"x" * 4096)
    assert holders(file.name, NOBODY) == []
    with file.open("rb"):
        found = holders(file.name, NOBODY)
        assert found is not None
        assert [os.getpid() in threads for threads in found] == [True]
    assert holders(file.name, NOBODY) == []


def test_who_has_a_file_open_whose_name_is_gone_still_waits(tmp_path: Path) -> None:
    """Its descriptor was removed, and somebody asked for the name since: the kernel spells it with a remark."""
    file = tmp_path / "a file"
    file.write_bytes(b"x" * 4096)
    with file.open("rb"):
        file.unlink()
        found = holders(file.name, NOBODY)
        assert found is not None
        assert [os.getpid() in threads for threads in found] == [True]


def test_a_process_that_is_killed_and_not_gone_holds_nothing() -> None:
    """SIGKILL is pending while the kernel waits for an answer; other signals don't end a wait."""
    assert _DOOMED.search(b"Name:\tcat\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\nSigBlk:\t0\n")
    assert _DOOMED.search(b"SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n")
    assert not _DOOMED.search(b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000004002\nSigBlk:\t0000000000000100\n")
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
        assert not _DOOMED.search(Path(f"/proc/{process.pid}/status").read_bytes())
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("where", ["/proc", "/proc/{own}/fd"])
def test_who_can_not_look_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """Without a descriptor to look with, a reader who waits is not taken for one who is gone."""
    real = os.scandir

    def crowded(path: Any) -> Any:
        if path == where.format(own=os.getpid()):
            raise OSError(number, "not now")
        return real(path)

    file = tmp_path / "a file"
    file.write_bytes(b"x")
    with file.open("rb"):
        monkeypatch.setattr(os, "scandir", crowded)
        assert holders(file.name, NOBODY) is None


def test_without_proc_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container where something else, or nothing, is mounted there."""
    real = os.readlink

    def empty(path: str) -> str:
        if path == "/proc/self":
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return real(path)

    monkeypatch.setattr(os, "readlink", empty)
    assert holders("a file", NOBODY) is None


@pytest.mark.parametrize("closed", ["fd", "maps"])
def test_of_a_process_that_hides_its_files_its_threads_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """As of other users' processes, where they may read the mount: who opened the file there waits, others don't."""
    real_scandir, real_open = os.scandir, open

    def hidden(path: Any) -> None:
        if str(path) == f"/proc/{os.getpid()}/{closed}":
            raise PermissionError(errno.EACCES, "Permission denied", path)

    def scandir(path: Any) -> Any:
        hidden(path)
        return real_scandir(path)

    def opened(path: Any, *rest: Any) -> Any:
        hidden(path)
        return real_open(path, *rest)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr("builtins.open", opened)
    found = holders("nobody has this open", frozenset({os.getpid()}))
    assert found is not None
    assert [os.getpid() in threads for threads in found] == [True]
    assert holders("nobody has this open", frozenset({1 << 30})) == []


def test_a_file_has_other_paths_where_its_mount_is_bound(tmp_path: Path) -> None:
    """Or in a container: its name at least is the same."""
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere/film.mkv"
    file.write_bytes(b"x" * 4096)
    with file.open("rb"):
        found = holders("film.mkv", NOBODY)
        assert found is not None
        assert [os.getpid() in threads for threads in found] == [True]
        assert holders("ilm.mkv", NOBODY) == []
