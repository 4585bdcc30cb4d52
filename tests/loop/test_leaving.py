"""What a mount that runs for months must not gather: what is over leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from mountdl.catalog.build import size_key
from mountdl.catalog.kept import kept
from mountdl.catalog.sizes import Sizes
from mountdl.descriptors import parse
from mountdl.descriptors.learned import Learned
from mountdl.descriptors.model import Entry
from mountdl.engine import engine
from mountdl.errors import ContentUnavailable, ContentUnreachable
from mountdl.extents import Extent
from mountdl.sources.swarm.kept import Kept
from mountdl.sources.swarm.metadata import Library, hashes
from mountdl.store.shelf import Shelf
from tests.support.content import content, entry, pattern
from tests.support.engines import running
from tests.support.fakes import FakeSource
from tests.support.scripts import dying
from tests.support.torrents import single, torrent

DATA = pattern(400)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave what refers to itself where it is."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("chunk", [16, None])
async def test_a_closed_file_leaves_memory_at_once(
    chunk: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: MockClock, no_collector: None
) -> None:
    """Without the collector, which comes seldom where there are many descriptors."""
    source = FakeSource(DATA, "mirror")
    shown = content(DATA, urls=("fake://mirror",), chunk=chunk)
    monkeypatch.setattr(engine, "LINGER", 5.0)
    async with running(tmp_path, {"fake://mirror": source}) as bench:
        reader = bench.engine.open(shown)
        assert DATA[:10] == await reader.read(Extent(0, 10))
        download = bench.engine.download(shown)
        parts = [weakref.ref(each) for each in (download, download.stored, download.roster, download.incidents)]
        reader.close()
        del reader, download
        await trio.sleep(10)
        bench.store.close()
        assert bench.engine.active() == ()
        assert [None] * 4 == [part() for part in parts]


async def test_what_went_wrong_is_forgotten_with_its_descriptor(tmp_path: Path, clock: MockClock) -> None:
    """And until then it is added up over all the times that the file is open."""
    what = content(DATA, urls=("fake://a",))
    async with running(tmp_path, {"fake://a": FakeSource(DATA, fault=dying(0))}) as bench:
        bench.engine.update({what.key: what})
        for _ in range(2):
            reader = bench.engine.open(what)
            with pytest.raises(ContentUnavailable):
                await reader.read(Extent(0, 10))
            reader.close()
            bench.engine._sweep(trio.current_time() + 1000)
        assert 2 == sum("a read failed" in incident.what for incident in bench.engine.incidents(what))
        bench.engine.update({what.key: what})
        assert bench.engine.incidents(what)
        bench.engine.update({})
        assert () == bench.engine.incidents(what)


def unsized(name: str) -> Entry:
    return replace(entry(b"", chunk=None, whole=False, urls=(f"fake://{name}",), name=name), size=None)


async def test_what_was_learned_is_forgotten_with_its_descriptor(clock: MockClock) -> None:
    """What is known of files that are shown stays, and what is asked for at the moment."""
    shown, asked, gone = (unsized(name) for name in ("shown", "asked", "gone"))

    async def resolve(entry: Entry) -> Learned | None:
        return Learned(7)

    sizes = Sizes(resolve, lambda: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(sizes.run)
        sizes.ask_for({size_key(each): (each,) for each in (shown, asked, gone)})
        await trio.sleep(1)
        assert 3 == len(sizes.known)
        sizes.ask_for({size_key(asked): (asked,)}, frozenset({size_key(shown)}))
        assert {size_key(shown), size_key(asked)} == sizes.known.keys()
        nursery.cancel_scope.cancel()


async def test_the_first_answer_after_an_outage_has_all_asked(clock: MockClock) -> None:
    """Many files of unknown size are asked for each five minutes while nobody answers, and at once when one does."""
    entries = [unsized(str(number)) for number in range(1500)]
    up = False

    async def resolve(entry: Entry) -> Learned | None:
        if not up:
            raise ContentUnreachable("no route to host")
        return Learned(7)

    sizes = Sizes(resolve, lambda: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(sizes.run)
        sizes.ask_for({size_key(each): (each,) for each in entries})
        await trio.sleep(20)
        sizes.ask_for({size_key(each): (each,) for each in [*entries, unsized("new")]})
        up = True
        while not sizes.known:
            await trio.sleep(0.1)
        await trio.sleep(1)
        assert 1501 == len(sizes.known)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("error", "longest"), [(ContentUnreachable, 30), (ContentUnavailable, 300)])
async def test_who_does_not_answer_is_asked_sooner_than_who_refuses(
    error: type[ContentUnavailable], longest: float, clock: MockClock
) -> None:
    """A network that is back should not be missed for minutes; a server that said no should not be asked each minute."""
    times: list[float] = []

    async def resolve(entry: Entry) -> Learned | None:
        times.append(trio.current_time())
        raise error("no")

    sizes = Sizes(resolve, lambda: None)
    asked = unsized("a")
    async with trio.open_nursery() as nursery:
        await nursery.start(sizes.run)
        sizes.ask_for({size_key(asked): (asked,)})
        await trio.sleep(50)
        nursery.cancel_scope.cancel()
    assert [5, 10, 20] == [round(b - a) for a, b in zip(times, times[1:], strict=False)]
    assert sizes._longest(size_key(asked), asked) == longest


async def test_mirrors_that_do_not_answer_are_no_refusal(tmp_path: Path, clock: MockClock) -> None:
    """A refused connection may be our own network; that nobody can be asked is not."""
    async with running(tmp_path, {}) as bench:
        with pytest.raises(ContentUnreachable):
            await bench.engine.resolve(unsized("a"))
        with pytest.raises(ContentUnavailable) as caught:
            await bench.engine.resolve(replace(unsized("a"), mirrors=()))
    assert not isinstance(caught.value, ContentUnreachable)


def test_a_torrent_is_known_as_long_as_a_descriptor_is_shown(tmp_path: Path) -> None:
    """Also where what the descriptor says of its files is set aside; of a large one it is megabytes."""
    shelf, library = Shelf(tmp_path), Library(Kept(tmp_path))
    said = parse("a.torrent", torrent(single(DATA, 65536, "a.bin")))
    assert said.torrent is not None
    library.learn(said.torrent)
    [hashed] = hashes(said.torrent)
    shown = kept("a.torrent", said, shelf)
    assert shown is not None
    del said
    assert library.find((hashed,)) is not None
    del shown
    gc.collect()
    assert library.find((hashed,)) is None
    shelf.close()
