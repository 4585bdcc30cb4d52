"""contrib/quickstart, with a mountdl that only notes what it is asked, and nothing to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CONTRIB = Path(__file__).parents[2] / "contrib"
NOTHING = "install() { :; }\nenvironment() { :; }\ndevice() { :; }\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a clone that needs nothing installed."""
    for folder in ("contrib", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CONTRIB / "quickstart", tmp_path / "contrib")
    (tmp_path / "contrib/lib.sh").write_text((CONTRIB / "lib.sh").read_text() + NOTHING)
    return tmp_path


def mounts(root: Path, status: int, mountpoint: str) -> subprocess.CompletedProcess[str]:
    """Run it where mountdl ends with *status*."""
    mountdl = root / ".venv/bin/mountdl"
    mountdl.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    mountdl.chmod(0o755)
    command = [root / "contrib/quickstart", "s", mountpoint]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)


def test_a_mount_that_fails_leaves_no_folder_behind(root: Path) -> None:
    """Only what was there before stays; the status is mountdl's own."""
    (root / "mnt").mkdir()
    for place in ("fresh", "a/b/c", "mnt/below", "-x", "mnt", str(root / "far/away")):
        before = sorted(root.rglob("*"))
        done = mounts(root, 3, place)
        assert (done.returncode, done.stderr) == (3, "")
        assert f"mount -- s {place}\n" in done.stdout
        assert set(root.rglob("*")) - {root / ".venv/bin/mountdl"} == set(before) - {root / ".venv/bin/mountdl"}


def test_a_mount_has_its_folder_made(root: Path) -> None:
    done = mounts(root, 0, "a/b c")
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "a/b c").is_dir()
    assert done.stdout.endswith("mountdl unmount a/b c\n")
