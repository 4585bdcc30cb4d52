"""What tests with mounts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.mounts import Mounts


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounts]:
    """Mount by calling it; whatever happens, all mounts are gone afterwards."""
    mounts = Mounts(tmp_path)
    try:
        yield mounts
    finally:
        mounts.end()


@pytest.fixture(scope="session")
def film_bytes() -> bytes:
    """Sixteen MiB and a bit that look random."""
    return pattern((16 << 20) + 12345)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where real files for real tools are made."""
    return tmp_path_factory.mktemp("samples")
