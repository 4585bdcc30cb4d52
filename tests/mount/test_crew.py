"""Streams that processes hash: what is read is right, and they are gone in time, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.content import pattern
from tests.support.mirrors import Mirror, Mirrors, honest, lying
from tests.support.mounts import Mounts, eventually, hands_of, lives, needs_fuse, run
from tests.support.samples import CHUNK, MIB, publish

pytestmark = needs_fuse

NAME = "stream.bin"
DATA = pattern(48 * MIB + 1234)
HASTY = """
from mountdl.engine import crew
crew.FAST, crew.SPAN = 1.0, 1
from mountdl.__main__ import main
main()
"""
"""As if every stream were a fast one."""


def hasty(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `mountdl ARGUMENTS` with processes that hash from the second chunk on."""
    return run(sys.executable, "-c", HASTY, *arguments)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounts]:
    """Mount by calling it."""
    mounts = Mounts(tmp_path, command=hasty)
    try:
        yield mounts
    finally:
        mounts.end()


def published(mirrors: Mirrors, source: Path) -> list[Mirror]:
    """Publish DATA on an honest mirror and one that lies in every tenth chunk."""
    made = [mirrors.add("liar", {NAME: DATA}, lying(CHUNK)), mirrors.add("honest", {NAME: DATA}, honest)]
    publish(source, NAME, DATA, [mirror.of(NAME) for mirror in made])
    return made


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there are none where there is one processor")
def test_a_stream_is_right_whatever_becomes_of_them(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """They hash, one is killed half-way, and the file is whole; they go with the daemon; all is there offline."""
    made = published(mirrors, source)
    mount = mounted(source)
    assert mount.read(NAME, 0, 4 * MIB) == DATA[: 4 * MIB]
    hands = eventually(10, lambda: hands_of(mount.pid))
    os.kill(hands[0], signal.SIGKILL)
    assert mount.read(NAME) == DATA
    eventually(10, lambda: not hands_of(mount.pid))

    mount.unmount()
    for mirror in made:
        mirrors.stop(mirror)
    again = mounted(source, cache=mount.cache)
    assert again.read(NAME) == DATA


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there are none where there is one processor")
def test_a_daemon_that_is_killed_leaves_none(mirrors: Mirrors, mounted: Mounts, source: Path) -> None:
    """What they had verified stays, what is in doubt is hashed again, and nobody writes after kill -9."""
    published(mirrors, source)
    mount = mounted(source)
    assert mount.read(NAME, 0, 8 * MIB) == DATA[: 8 * MIB]
    hands = eventually(10, lambda: hands_of(mount.pid))
    mount.kill()
    eventually(10, lambda: not any(lives(pid) for pid in hands))
    again = mounted(source, cache=mount.cache)
    assert again.read(NAME) == DATA
