"""Finished files are handed out while a mount runs, and again where that failed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
import trio

from mountdl.content import Content, content_of
from mountdl.control import graduation
from mountdl.descriptors.model import Entry
from mountdl.extents import Extent
from mountdl.store import Store

DATA = os.urandom(100_000)
PATH = PurePosixPath("sub/a.bin")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graduation, "LOOK", 0.01)
    monkeypatch.setattr(graduation, "AGAIN", 0.05)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.01)


def stored(store: Store) -> Content:
    content = content_of(Entry(PATH, size=len(DATA)), len(DATA))
    made = store.open(content.key, content.size, content.chunk_map.fingerprint)
    made.write(0, DATA)
    made.mark_verified(Extent(0, len(DATA)))
    return content


async def test_what_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where its folder could not be made; it is told once, and nobody has to mount anew."""
    store, out = Store(tmp_path / "cache"), tmp_path / "out"
    content = stored(store)
    out.write_text("a file in the place of the folder")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(graduation.run, store.directory, out, lambda: [(PATH, content)], trio.Event())
        with caplog.at_level(logging.WARNING):
            await until(lambda: bool(caplog.records))
            await trio.sleep(10 * graduation.AGAIN)
        assert ["can't graduate" in record.message for record in caplog.records] == [True]
        out.unlink()
        await until((out / PATH).exists)
        nursery.cancel_scope.cancel()
    store.close()
    assert (out / PATH).read_bytes() == DATA
    caplog.clear()


async def test_what_made_room_is_handed_out_once_it_is_back(tmp_path: Path) -> None:
    """And never with zeros in place of it."""
    store, out = Store(tmp_path / "cache"), tmp_path / "out"
    content = stored(store)
    there = store.open(content.key, content.size, content.chunk_map.fingerprint)
    there.evict(Extent(0, 65536))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(graduation.run, store.directory, out, lambda: [(PATH, content)], trio.Event())
        await until(out.exists)
        assert not (out / PATH).exists()
        there.write(0, DATA[:65536])
        there.mark_verified(Extent(0, 65536))
        await until((out / PATH).exists)
        nursery.cancel_scope.cancel()
    store.close()
    assert (out / PATH).read_bytes() == DATA


async def test_what_is_complete_at_the_end_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mountdl wait FILE && mountdl unmount MOUNT` left less than a look's time for it."""
    monkeypatch.setattr(graduation, "LOOK", 3600.0)
    store, out = Store(tmp_path / "cache"), tmp_path / "out"
    content = stored(store)
    async with graduation.running(store.directory, out, lambda: [(PATH, content)]):
        assert not out.exists()
    store.close()
    assert (out / PATH).read_bytes() == DATA
