"""How many files may be open, and who gets how many of them."""

from __future__ import annotations

import resource

import pytest

from mountdl import openfiles
from mountdl.engine.engine import MOST_OPEN
from mountdl.openfiles import OWN, allowed, attainable, share


@pytest.mark.parametrize(
    ("limit", "opened", "parked"),
    [(16, 1, 1), (64, 4, 2), (256, 28, 14), (1024, 124, 62), (1 << 16, MOST_OPEN, 64), (resource.RLIM_INFINITY, MOST_OPEN, 64)],
)  # fmt: skip
def test_what_is_kept_open_leaves_room_for_connections(
    monkeypatch: pytest.MonkeyPatch, limit: int, opened: int, parked: int
) -> None:
    """A content takes four files at most, whether it is in use or waits for its last checkpoint."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert (share(8, MOST_OPEN), share(16, 64)) == (opened, parked)
    assert allowed() == attainable()
    assert limit in {16, resource.RLIM_INFINITY} or 4 * (opened + parked) + OWN <= limit


def test_a_few_are_told_of() -> None:
    """What most systems begin with is no reason for a word."""
    assert openfiles.FEW <= 1024
