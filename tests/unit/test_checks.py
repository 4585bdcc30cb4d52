"""What is refused before a mount is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from mountdl.control.checks import check_store
from mountdl.errors import UsageError


@pytest.mark.parametrize("store", ["mnt", "mnt/cache", "link/cache", "elsewhere/../mnt/deep/er"])
def test_a_store_inside_the_mount_is_refused(store: str, tmp_path: Path) -> None:
    """Its daemon would ask itself for its own files: not even umount came back."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "link").symlink_to("mnt")

    with pytest.raises(UsageError, match="would be inside the mount"):
        check_store(tmp_path / store, tmp_path / "mnt")


@pytest.mark.parametrize("store", ["cache", "mnt2", ".", "loop/cache"])
def test_other_stores_are_left_to_the_store(store: str, tmp_path: Path) -> None:
    """The mount may be in the store's directory, and what can't be told is not refused here."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    check_store(tmp_path / store, tmp_path / "mnt")
