"""What rarer protocols need is there when something is shown that needs it, and not before."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
import trio

from mountdl.catalog.build import Built
from mountdl.catalog.watch import Watch
from mountdl.descriptors.model import METALINK4, TORRENT, Descriptor, Entry, Magnet, MirrorRef, SwarmRef
from mountdl.engine.addresses import suffice
from mountdl.layers import Layers
from mountdl.remote import plain
from mountdl.settings import MountSettings, Settings, StoreSettings
from tests.support.machine import patience

HTTP = frozenset({"http", "https"})
HTTPS = MirrorRef("https://a.example/a")


def described(*entries: Entry) -> Descriptor:
    return Descriptor("metalink4", entries)


@pytest.mark.parametrize(
    ("said", "enough"),
    [
        (described(), True),
        (described(Entry(PurePosixPath("a"), 1, mirrors=(HTTPS, MirrorRef("HTTP://b.example/a")))), True),
        (described(Entry(PurePosixPath("a"), 1, mirrors=(HTTPS, MirrorRef("ftp://b.example/a")))), False),
        (described(Entry(PurePosixPath("a"), None, mirrors=(HTTPS,))), False),
        (described(Entry(PurePosixPath("a"), 1, mirrors=(HTTPS,), swarms=(SwarmRef("u", TORRENT, None, 1),))), False),
        (described(Entry(PurePosixPath("a"), 1, mirrors=(HTTPS,), swarms=(SwarmRef("u", METALINK4, None, 1),))), False),
        (Descriptor("metalink4", (), origin="https://a.example/a.meta4", dynamic=True), False),
        (Descriptor("magnet", (), magnets=(Magnet(name="a"),)), False),
    ],
)
def test_http_suffices_where_nothing_else_is_named_and_nothing_is_to_be_learned(said: Descriptor, enough: bool) -> None:
    """What a mirror or a document tells later may lead to any protocol."""
    assert suffice(HTTP, said) is enough


@pytest.mark.parametrize(
    ("source", "enough"),
    [
        ("http://h/a.iso", True),
        ("HTTPS://h/a.iso#x", True),
        ("ftp://h/a.iso", False),
        ("magnet:?xt=urn:btih:x", False),
        ("http://h/a.iso#!metalink3!ftp://h/a.metalink", False),
    ],
)
def test_what_is_mounted_by_its_address_is_asked_by_http_alone_where_that_will_do(source: str, enough: bool) -> None:
    """The link behind a mark has an address of its own."""
    assert plain(source) is enough


def metalink(url: str) -> str:
    return (
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a"><size>1</size>'
        f"<url>{url}</url></file></metalink>"
    )


class Mounted:
    """Layers over a source, and the names of the sources that the engine has for each file as it is shown."""

    def __init__(self, source: Path, cache: Path) -> None:
        self.layers = Layers(Settings(MountSettings(str(source), source / "mnt"), StoreSettings(cache)), lambda _: None)
        self.source = source
        self.shown: dict[str, list[str]] = {}

    def publish(self, built: Built) -> None:
        for content in built.contents.values():
            names = [each.name for each in self.layers.engine.status(content).sources]
            self.shown.setdefault(str(content.key), names)

    async def watch(self, nursery: trio.Nursery) -> Watch:
        watch = await self.layers.watch(str(self.source), self.publish)
        await nursery.start(watch.run)
        await self.layers.equip()
        return watch

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(patience(20)):
            while not holds():
                await trio.sleep(0.02)


async def test_what_comes_later_and_needs_them_is_shown_when_they_are_there(source: Path, tmp_path: Path) -> None:
    """Else who opens it at once is told that it has no source."""
    (source / "a.meta4").write_text(metalink("http://127.0.0.1:9/a"))
    mounted = Mounted(source, tmp_path / "cache")
    async with mounted.layers.running(), trio.open_nursery() as nursery:
        await mounted.watch(nursery)
        assert [["http://127.0.0.1:9/a"]] == list(mounted.shown.values())
        (source / "b.meta4").write_text(metalink("ftp://127.0.0.1:9/b"))
        await mounted.until(lambda: len(mounted.shown) == 2)
        assert ["ftp://127.0.0.1:9/b"] == list(mounted.shown.values())[1]
        nursery.cancel_scope.cancel()


async def test_what_is_there_at_the_start_waits_for_nothing(source: Path, tmp_path: Path) -> None:
    """Mirrors by HTTP are connected to while the others are made ready, before there is a mount."""
    (source / "a.meta4").write_text(metalink("ftp://127.0.0.1:9/a"))
    mounted = Mounted(source, tmp_path / "cache")
    async with mounted.layers.running(), trio.open_nursery() as nursery:
        watch = await mounted.watch(nursery)
        assert [[]] == list(mounted.shown.values())
        mounted.shown.clear()
        mounted.publish(watch.built)
        assert [["ftp://127.0.0.1:9/a"]] == list(mounted.shown.values())
        nursery.cancel_scope.cancel()


async def test_what_a_swarm_left_is_looked_after_by_any_mount_of_its_store(source: Path, tmp_path: Path) -> None:
    """A process that was killed left up to a gigabyte of a torrent beside the store's files."""
    left = tmp_path / "cache/swarms/run-gone"
    left.mkdir(parents=True)
    mounted = Mounted(source, tmp_path / "cache")
    async with mounted.layers.running(), trio.open_nursery() as nursery:
        await mounted.watch(nursery)
        await mounted.until(lambda: not left.exists())
        nursery.cancel_scope.cancel()
