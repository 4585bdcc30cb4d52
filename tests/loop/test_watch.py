"""The tree follows the descriptors of a real folder, and only evidence changes it."""

import errno
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import trio
import trio.testing

from mountdl.catalog import inotify, reading, scan
from mountdl.catalog import watch as watch_module
from mountdl.catalog.build import Built, size_key
from mountdl.catalog.changes import Changes, Gatherer
from mountdl.catalog.document import Document
from mountdl.catalog.inotify import Event
from mountdl.catalog.place import find_place
from mountdl.catalog.reading import Known, Reading, judge, read
from mountdl.catalog.scan import UNKNOWN, Listing, Place, Stamp, Walk, differences, list_folder
from mountdl.catalog.sizes import Sizes
from mountdl.catalog.tree import Directory, File
from mountdl.catalog.watch import Helpers, Watch, WatchSettings
from mountdl.descriptors.learned import Learned, Pending
from mountdl.descriptors.limits import MAX_DOCUMENT
from mountdl.descriptors.model import Descriptor, Entry, MirrorRef, PieceDigests
from mountdl.errors import DescriptorError, ExitStatus, SourceUnavailable, UsageError
from mountdl.store.shelf import Shelf
from tests.support.machine import patience

SUFFIXES = frozenset({".meta4", ".metalink"})
OLD = 1_000_000_000


def parse(name: str, data: bytes) -> Descriptor:
    """Read the format of these tests: words "PATH SIZE"; "?" is an unknown size."""
    words = data.decode().split()
    if len(words) % 2 or not words:
        raise DescriptorError("not-well-formed", "it is cut off")
    pairs = zip(words[::2], words[1::2], strict=True)
    return Descriptor("metalink4", tuple(an_entry(path, size) for path, size in pairs))


def an_entry(path: str, size: str) -> Entry:
    mirrors = (MirrorRef(f"http://mirror/{path}/{size}"),)
    return Entry(PurePosixPath(path), None if size == "?" else int(size), mirrors=mirrors)


async def never(entry: Entry) -> Learned | None:
    raise SourceUnavailable("mirror", "does not answer")


class Shown:
    """Takes what a watch publishes, and waits for what a test expects."""

    def __init__(self) -> None:
        self.count = 0
        self.last: Built | None = None
        self.history: list[dict[str, int]] = []
        self._news = trio.Event()

    def publish(self, built: Built) -> None:
        self.count += 1
        self.last = built
        self.history.append(self.files())
        self._news.set()
        self._news = trio.Event()

    def files(self) -> dict[str, int]:
        """Shown paths and their sizes; -1 for an error, -2 for one that is being resolved."""
        assert self.last is not None
        found: dict[str, int] = {}
        paths = {self.last.tree.root.inode: ""}
        for node in self.last.tree.nodes():
            path = f"{paths[node.parent]}/{node.name}".strip("/")
            if isinstance(node, Directory):
                paths[node.inode] = path
            else:
                found[path] = {"error": -1, "resolving": -2}.get(getattr(node, "state", ""), node.size)
        return found

    async def until(self, expected: dict[str, int], seconds: float = 2.0) -> None:
        """Return once exactly *expected* is shown; fail long after the 2 s that the manual promises."""
        with trio.move_on_after(10 * patience(seconds)):
            while self.files() != expected:
                await self._news.wait()
        assert self.files() == expected


def put(path: Path, text: str, *, old: bool = True) -> None:
    """Write a descriptor in one go, dated long ago unless it is to look fresh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if old:
        os.utime(path, (OLD, OLD))


def settings(**changes: object) -> WatchSettings:
    return WatchSettings(suffixes=SUFFIXES, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def watching(source: Path, **more: object) -> AsyncIterator[tuple[Watch, Shown]]:
    shown = Shown()
    # Elsewhere than any source: what is set aside must not be reported as a change.
    shelf = Shelf(Path(tempfile.gettempdir()))
    how = {"parse": parse, "resolve": never, "settings": settings(), "helpers": Helpers(shelf=shelf), **more}
    watch = Watch(source, publish=shown.publish, **how)  # type: ignore[arg-type]
    with closing(shelf):
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            yield watch, shown
            nursery.cancel_scope.cancel()


# The first scan


async def test_all_subfolders_are_searched(tmp_path: Path) -> None:
    """Descriptors are found in every folder; other files and hidden ones are not shown."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    put(tmp_path / "a/c/d.iso.METALINK", "d.iso 2")
    put(tmp_path / "a/readme.txt", "no descriptor")
    put(tmp_path / "a/.hidden.meta4", "h 3")
    put(tmp_path / ".git/x.meta4", "x 4")
    (tmp_path / "folder.meta4").mkdir()
    os.mkfifo(tmp_path / "pipe.meta4")
    async with watching(tmp_path) as (watch, shown):
        await watch.first_scan.wait()
        assert shown.files() == {"b.iso": 1, "a/c/d.iso": 2}
        assert shown.last is watch.built
        statistics = watch.statistics()
        assert (
            statistics.descriptors,
            statistics.refused,
            statistics.reachable,
            statistics.mode,
        ) == (2, 0, True, "reports")


async def test_what_is_shown_needs_no_descriptor_any_more(tmp_path: Path) -> None:
    """A file of which the descriptor changed or went has the sources that it had when it was shown."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    put(tmp_path / "c.iso.meta4", "c.iso 2")
    async with watching(tmp_path) as (watch, shown):
        nodes = [node for node in watch.built.tree.nodes() if isinstance(node, File)]
        put(tmp_path / "b.iso.meta4", "b.iso 3")
        (tmp_path / "c.iso.meta4").unlink()
        await shown.until({"b.iso": 3})
        assert [node.content.mirrors[0].url for node in nodes] == ["http://mirror/b.iso/1", "http://mirror/c.iso/2"]


async def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """No folder is shown twice, real folders come first, and links to nowhere are skipped."""
    source = tmp_path / "source"
    put(source / "z/b.iso.meta4", "b.iso 1")
    put(tmp_path / "elsewhere/c.iso.meta4", "c.iso 2")
    (source / "z/up").symlink_to(source)
    (source / "again").symlink_to(source / "z")
    (source / "other").symlink_to(tmp_path / "elsewhere")
    (source / "file.iso.meta4").symlink_to(tmp_path / "elsewhere/c.iso.meta4")
    (source / "nowhere.meta4").symlink_to("nothing")
    (source / "self.meta4").symlink_to("self.meta4")
    async with watching(source) as (_, shown):
        assert shown.files() == {"z/b.iso": 1, "other/c.iso": 2, "file.iso": 2}


async def test_the_mount_itself_is_not_entered(tmp_path: Path) -> None:
    """A mountpoint inside the source is left alone, by whatever path it is reached."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    put(tmp_path / "mount/c.iso.meta4", "c.iso 1")
    (tmp_path / "link").symlink_to("mount")
    async with watching(tmp_path, settings=settings(excluded=(tmp_path / "mount",))) as (_, shown):
        assert shown.files() == {"b.iso": 1}


async def test_one_descriptor_as_source(tmp_path: Path) -> None:
    """Its neighbours are not shown; it is followed when it changes."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    put(tmp_path / "c.iso.meta4", "c.iso 2")
    async with watching(tmp_path / "b.iso.meta4", settings=settings(poll=0.1)) as (watch, shown):
        assert shown.files() == {"b.iso": 1}
        put(tmp_path / "b.iso.meta4", "b.iso 7")
        await shown.until({"b.iso": 7})
        (tmp_path / "b.iso.meta4").rename(tmp_path / "gone")
        put(tmp_path / "new", "b.iso 8")
        (tmp_path / "new").rename(tmp_path / "b.iso.meta4")
        await shown.until({"b.iso": 8})


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda path: None, ExitStatus.NOT_FOUND, "does not exist"),
        (os.mkfifo, ExitStatus.BAD_OPTION, "neither a folder nor a file"),
        (lambda path: path.write_text("notes"), ExitStatus.BAD_OPTION, "descriptors end in .meta4, .metalink"),
        (lambda path: path.parent.write_text(""), ExitStatus.IO, "can't be read"),
    ],
)
async def test_what_is_no_source(
    tmp_path: Path, make: Callable[[Path], object], status: ExitStatus, words: str
) -> None:
    """Whatever is wrong at the start is said with a way out, before anything is mounted."""
    source = tmp_path / "deep/source"
    if "can't" not in words:
        source.parent.mkdir()
    make(source)
    watch = Watch(source, parse=parse, resolve=never, publish=Shown().publish, settings=settings())

    with pytest.raises(UsageError, match=words) as caught:
        await watch.run()
    assert status == caught.value.exit_status
    assert str(source) in str(caught.value)


async def test_a_bad_descriptor_is_no_source(tmp_path: Path) -> None:
    """As the only source it is a reason not to mount."""
    put(tmp_path / "b.meta4", "cut off here")

    with pytest.raises(UsageError, match="not-well-formed") as caught:
        await Watch(tmp_path / "b.meta4", parse=parse, resolve=never, publish=Shown().publish).run()
    assert caught.value.exit_status == ExitStatus.BAD_METALINK


# Changes


@pytest.mark.parametrize("reports", [True, False])
async def test_changes_show(tmp_path: Path, reports: bool) -> None:
    """Adding, changing, renaming and removing shows, with the kernel's reports and without."""
    async with watching(tmp_path, settings=settings(reports=reports, poll=0.1)) as (watch, shown):
        assert shown.files() == {}
        put(tmp_path / "a.iso.meta4", "a.iso 1")
        await shown.until({"a.iso": 1})
        put(tmp_path / "a.iso.meta4", "a.iso 2")
        await shown.until({"a.iso": 2})
        (tmp_path / "a.iso.meta4").rename(tmp_path / "b.iso.meta4")
        await shown.until({"b.iso": 2})
        (tmp_path / "b.iso.meta4").unlink()
        await shown.until({})
        assert ("reports" if reports else "polling") == watch.statistics().mode


async def test_folders_come_move_and_go(tmp_path: Path) -> None:
    """New folders are watched at any depth, moved ones under their new name."""
    source = tmp_path / "source"
    put(tmp_path / "ready/x/a.iso.meta4", "a.iso 1")
    source.mkdir()
    async with watching(source) as (_, shown):
        (source / "1/2/3").mkdir(parents=True)
        put(source / "1/2/3/n.iso.meta4", "n.iso 1")
        await shown.until({"1/2/3/n.iso": 1})
        put(source / "1/2/3/m.iso.meta4", "m.iso 2")
        await shown.until({"1/2/3/n.iso": 1, "1/2/3/m.iso": 2})
        (source / "1").rename(source / "one")
        await shown.until({"one/2/3/n.iso": 1, "one/2/3/m.iso": 2})
        put(source / "one/2/3/n.iso.meta4", "n.iso 5")
        await shown.until({"one/2/3/n.iso": 5, "one/2/3/m.iso": 2})
        (source / "one").rename(tmp_path / "outside")
        await shown.until({})
        (tmp_path / "ready").rename(source / "ready")
        await shown.until({"ready/x/a.iso": 1})
        (source / "link").symlink_to(tmp_path / "outside")
        await shown.until({"ready/x/a.iso": 1, "link/2/3/n.iso": 5, "link/2/3/m.iso": 2})


async def test_an_emptied_folder_is_empty(tmp_path: Path) -> None:
    """Files that are removed one by one are gone."""
    for number in range(5):
        put(tmp_path / f"{number}.iso.meta4", f"{number}.iso 1")
    async with watching(tmp_path) as (_, shown):
        for path in tmp_path.iterdir():
            path.unlink()
        await shown.until({})


async def test_only_what_changed_is_parsed_again(tmp_path: Path) -> None:
    """Many descriptors cost nothing while they stay as they are."""
    names: list[str] = []

    def counting(name: str, data: bytes) -> Descriptor:
        names.append(name)
        return parse(name, data)

    for number in range(5):
        put(tmp_path / f"{number}.iso.meta4", f"{number}.iso 1")
    async with watching(tmp_path, parse=counting) as (_, shown):
        names.clear()
        put(tmp_path / "3.iso.meta4", "3.iso 9")
        await shown.until({"0.iso": 1, "1.iso": 1, "2.iso": 1, "3.iso": 9, "4.iso": 1})
        assert {"3.iso.meta4"} == set(names)


async def test_a_burst_is_one_tree(tmp_path: Path) -> None:
    """Changes that come together are shown together."""
    async with watching(tmp_path) as (_, shown):
        for number in range(100):
            put(tmp_path / f"{number}.iso.meta4", f"{number}.iso 1")
        await shown.until({f"{number}.iso": 1 for number in range(100)})
        assert shown.count <= 4


async def test_a_file_that_stays_open_is_read(tmp_path: Path) -> None:
    """Who writes into a descriptor without closing it is seen as well."""
    async with watching(tmp_path) as (_, shown):
        with (tmp_path / "a.iso.meta4").open("w") as file:
            file.write("a.iso 1")
            file.flush()
            await shown.until({"a.iso": 1})


# Refused, and not yet


async def test_a_bad_descriptor_shows_why(tmp_path: Path) -> None:
    """It gives way to the file as soon as it is good."""
    put(tmp_path / "b.iso.meta4", "cut")
    async with watching(tmp_path) as (watch, shown):
        assert shown.files() == {"b.iso.meta4.error": -1}
        assert watch.statistics().refused == 1
        put(tmp_path / "b.iso.meta4", "b.iso 3")
        await shown.until({"b.iso": 3})
        assert watch.statistics().refused == 0


async def test_a_fresh_bad_descriptor_shows_within_the_promise(tmp_path: Path) -> None:
    """First nothing, since it may be still being written; then, within 2 s, why it is refused."""
    async with watching(tmp_path) as (_, shown):
        put(tmp_path / "b.iso.meta4", "cut", old=False)
        put(tmp_path / "c.iso.meta4", "c.iso 1", old=False)
        await shown.until({"c.iso": 1})
        await shown.until({"c.iso": 1, "b.iso.meta4.error": -1}, 2.2)


async def test_a_descriptor_that_is_written_in_parts_keeps_its_earlier_version(tmp_path: Path) -> None:
    """No error shows in between."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    async with watching(tmp_path) as (_, shown):
        put(tmp_path / "b.iso.meta4", "b.iso", old=False)
        put(tmp_path / "c.iso.meta4", "c.iso 1")
        await shown.until({"b.iso": 1, "c.iso": 1})
        put(tmp_path / "b.iso.meta4", "b.iso 2", old=False)
        await shown.until({"b.iso": 2, "c.iso": 1})
        assert all("b.iso" in files for files in shown.history)


async def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """128 MiB are the limit; what is beyond is not even read."""
    with (tmp_path / "b.iso.meta4").open("w") as file:
        file.truncate(MAX_DOCUMENT + 1)
    os.utime(tmp_path / "b.iso.meta4", (OLD, OLD))

    found = read(str(tmp_path / "b.iso.meta4"), "b.iso.meta4", parse)

    assert found.document is not None
    assert isinstance(found.document.said, DescriptorError)
    assert found.document.said.kind == "too-large"


def test_a_parser_that_fails_refuses_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a parser costs one descriptor, not the mount."""

    def buggy(name: str, data: bytes) -> Descriptor:
        raise KeyError(name)

    put(tmp_path / "b.meta4", "b 1")
    found = read(str(tmp_path / "b.meta4"), "b.meta4", buggy)

    assert found.document is not None
    assert isinstance(found.document.said, DescriptorError)
    assert "bug" in caplog.text


@pytest.mark.parametrize(("number", "unreachable"), [(errno.EACCES, False), (errno.EIO, True), (errno.EMFILE, True)])
def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, unreachable: bool) -> None:
    """A permission is about the file; anything else is about the way to it."""
    put(tmp_path / "b.meta4", "b 1")

    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(reading.os, "open", refuse)
    found = read(str(tmp_path / "b.meta4"), "b.meta4", parse)

    assert found.document is not None
    assert isinstance(found.document.said, DescriptorError)
    assert ("unreadable", unreachable) == (found.document.said.kind, found.unreachable)


GOOD = Document("b.meta4", 0, Descriptor("metalink4", ()))
BAD = Document("b.meta4", 100 * 10**9, DescriptorError("empty", "it is empty"))
STAMP = Stamp(1, 2, 3, 4)


def test_a_file_that_comes_in_parts_is_read_whole() -> None:
    """A read that gives less than was asked for is no end; one that gives nothing is."""
    there, other = os.pipe()
    try:
        os.write(other, b"01234")
        worker = threading.Timer(0.05, lambda: (os.write(other, b"567"), os.close(other)))
        worker.start()
        assert reading._bytes(there, 10) == b"01234567"
        worker.join()
    finally:
        os.close(there)


def test_judging() -> None:
    """Good is shown, old and bad is refused, fresh and bad waits, unreachable stays."""
    earlier = Known(None, GOOD)

    assert Known(STAMP, GOOD) == judge(None, Reading(STAMP, GOOD), 101.0, 1.5)
    assert Known(STAMP, BAD) == judge(earlier, Reading(STAMP, BAD), 102.0, 1.5)
    assert Known(None, GOOD, 0.5) == judge(earlier, Reading(STAMP, BAD), 101.0, 1.5)
    assert Known(None, None, 0.5) == judge(None, Reading(STAMP, BAD), 101.0, 1.5)
    assert Known(None, GOOD, 2.5) == judge(earlier, Reading(STAMP, BAD), 99.0, 1.5)
    assert Known(STAMP, BAD) == judge(earlier, Reading(STAMP, BAD), 0.0, 1.5)
    assert Known(None, GOOD, 5.0) == judge(earlier, Reading(STAMP, BAD, unreachable=True), 102.0, 1.5)
    assert Known(None, BAD, 5.0) == judge(None, Reading(STAMP, BAD, unreachable=True), 102.0, 1.5)
    assert Known(UNKNOWN, None) == judge(earlier, Reading(UNKNOWN, None), 102.0, 1.5)


# Out of reach


async def test_a_source_that_vanishes_keeps_its_tree(tmp_path: Path) -> None:
    """Unreachable is not deleted; when it is back it is followed again."""
    source = tmp_path / "source"
    put(source / "a/b.iso.meta4", "b.iso 1")
    async with watching(source, settings=settings(poll=0.1)) as (watch, shown):
        source.rename(tmp_path / "away")
        with trio.fail_after(50):
            while watch.statistics().reachable:
                await trio.lowlevel.checkpoint()
        assert "can't be reached" in (watch.statistics().error or "")
        assert shown.files() == {"a/b.iso": 1}
        put(tmp_path / "away/a/c.iso.meta4", "c.iso 2")
        (tmp_path / "away").rename(source)
        await shown.until({"a/b.iso": 1, "a/c.iso": 2})
        put(source / "a/c.iso.meta4", "c.iso 3")
        await shown.until({"a/b.iso": 1, "a/c.iso": 3})
        assert watch.statistics().reachable
        assert watch.statistics().error is None


async def test_an_empty_mount_point_in_its_place_keeps_the_tree(tmp_path: Path) -> None:
    """Another file system where the source was, and nothing in it, is no evidence."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    async with watching(tmp_path, settings=settings(poll=0.05, reports=False)) as (watch, shown):
        watch._device = -1
        (tmp_path / "b.iso.meta4").unlink()
        with trio.fail_after(50):
            while watch.statistics().reachable:
                await trio.lowlevel.checkpoint()
        assert shown.files() == {"b.iso": 1}


def test_a_folder_that_cant_be_listed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It and all below it; its neighbours are followed."""
    put(tmp_path / "a/x/b.meta4", "b 1")
    put(tmp_path / "c/d.meta4", "d 1")
    place = Place(str(tmp_path), suffixes=SUFFIXES)
    before = Walk(place, {})
    assert before.step(10)

    def failing(place: Place, folder: str) -> Listing:
        if folder == "a":
            raise OSError(errno.EIO, "Input/output error")
        return list_folder(place, folder)

    monkeypatch.setattr(scan, "list_folder", failing)
    (tmp_path / "c/d.meta4").unlink()
    after = Walk(place, before.listings)
    assert after.step(10)

    assert before.listings["a"] == after.listings["a"]
    assert before.listings["a/x"] == after.listings["a/x"]
    assert after.listings["c"].files == {}
    assert after.problem == "a can't be listed: Input/output error"


def test_a_walk_goes_in_steps(tmp_path: Path) -> None:
    """One folder at least in each."""
    for number in range(4):
        put(tmp_path / f"{number}/b.meta4", "b 1")
    walk = Walk(Place(str(tmp_path), suffixes=SUFFIXES), {})

    assert [walk.step(0) for _ in range(5)] == [False, False, False, False, True]
    assert len(walk.listings) == 5


def test_differences() -> None:
    """New, changed and forced files are read; those of listed folders that are not there are gone."""
    other = Stamp(9, 9, 9, 9)
    listings = {"": Listing({"new": STAMP, "same": STAMP, "changed": other}), "a": Listing({"forced": STAMP})}
    stamps = {"same": STAMP, "changed": STAMP, "a/forced": STAMP, "gone": STAMP, "again": None}

    assert differences(listings, stamps, frozenset({"a/forced"})) == (["a/forced", "changed", "new"], ["again", "gone"])


async def test_no_room_for_watches_means_polling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the kernel has no more watches, folders are looked at in turn, and the log says so."""

    def full(self: inotify.Inotify) -> Callable[[str], int]:
        def add(path: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        return add

    monkeypatch.setattr(inotify.Inotify, "adder", full)
    async with watching(tmp_path, settings=settings(poll=0.1)) as (watch, shown):
        assert watch.statistics().mode == "polling"
        assert "is watched by looking at it" in caplog.text
        put(tmp_path / "b.iso.meta4", "b.iso 1")
        await shown.until({"b.iso": 1})


# Reports


def gather(*events: Event) -> Changes:
    gatherer = Gatherer(Place("/source", suffixes=SUFFIXES))
    for event in events:
        gatherer.event(event, {1: "", 2: "a"})
    return gatherer.take()


async def test_reports_say_where_to_look() -> None:
    """A descriptor is read again, a strange name may be a link to a folder, the rest is everything or nothing."""
    assert Changes(folders=frozenset({"a"}), files=frozenset({"a/b.meta4"})) == gather(
        Event(2, inotify.CLOSE_WRITE, "b.meta4")
    )
    assert Changes(folders=frozenset({""}), files=frozenset({"b.meta4"})) == gather(Event(1, inotify.DELETE, "b.meta4"))
    assert Changes(folders=frozenset({""})) == gather(Event(1, inotify.CREATE, "link"))
    assert Changes() == gather(Event(1, inotify.MODIFY, "movie.mkv"))
    assert Changes() == gather(Event(1, inotify.CREATE, ".b.meta4.part"))
    assert Changes() == gather(Event(7, inotify.IGNORED, ""))
    everything = Changes(everything=True)
    assert everything == gather(Event(7, inotify.CLOSE_WRITE, "b.meta4"))
    assert everything == gather(Event(-1, inotify.QUEUE_OVERFLOW, ""))
    assert everything == gather(Event(1, inotify.CREATE | inotify.IS_FOLDER, "new"))
    assert everything == gather(Event(1, inotify.DELETE_SELF, ""))


async def test_gathering_waits_for_quiet_but_not_for_ever(clock: trio.testing.MockClock) -> None:
    """A change is looked at when no other follows, or when others never end."""
    gatherer = Gatherer(Place("/source"))
    gatherer.folder("a")
    start = trio.current_time()
    await gatherer.settle(0.15, 0.5)
    assert pytest.approx(0.15) == trio.current_time() - start

    async def busy() -> None:
        while True:
            gatherer.folder("a")
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(busy)
        await gatherer.wait()
        start = trio.current_time()
        await gatherer.settle(0.15, 0.5)
        assert pytest.approx(trio.current_time() - start) == 0.5
        nursery.cancel_scope.cancel()


def test_events_are_unpacked() -> None:
    """Names are padded with zeroes; an event about the folder itself has none."""
    data = inotify._HEAD.pack(1, inotify.CREATE, 0, 16) + b"caf\xe9.meta4".ljust(16, b"\0")
    data += inotify._HEAD.pack(2, inotify.DELETE_SELF, 0, 0)

    assert [Event(1, inotify.CREATE, "caf\udce9.meta4"), Event(2, inotify.DELETE_SELF, "")] == inotify.parse(data)


# Sizes


async def test_sizes_are_learned(tmp_path: Path) -> None:
    """A note stands for the file until a source tells its size."""
    asked = trio.Event()
    told = trio.Event()

    async def resolve(entry: Entry) -> Learned | None:
        asked.set()
        await told.wait()
        return Learned(42)

    put(tmp_path / "b.iso.meta4", "b.iso ?")
    async with watching(tmp_path, resolve=resolve) as (watch, shown):
        assert shown.files() == {"b.iso.resolving": -2}
        assert watch.statistics().unresolved == 1
        await asked.wait()
        told.set()
        await shown.until({"b.iso": 42})
        put(tmp_path / "c.iso.meta4", "c.iso 1")
        await shown.until({"b.iso": 42, "c.iso": 1})


def run_long(body: Callable[[], Awaitable[None]]) -> None:
    """Run *body* on a clock that jumps, for longer than the minute that other tests have on theirs."""
    trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0))


def test_sizes_are_asked_for_again_and_again() -> None:
    """After 5 s, then ever more seldom, at most each 5 min; the reason is kept meanwhile."""
    unsized = an_entry("b.iso", "?")
    key = size_key(unsized)
    times: list[float] = []
    reasons: list[Pending | None] = []

    async def resolve(entry: Entry) -> Learned | None:
        times.append(trio.current_time())
        if len(times) < 3:
            return {1: None, 2: Learned(-1)}[len(times)]
        if len(times) < 10:
            raise SourceUnavailable("mirror", "does not answer")
        return Learned(7)

    sizes = Sizes(resolve, lambda: reasons.append(sizes.pending.get(key)))

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(sizes.run)
            sizes.ask_for({key: (unsized,)})
            await trio.sleep(4000)
            nursery.cancel_scope.cancel()

    run_long(body)
    gaps = [round(b - a) for a, b in zip(times, times[1:], strict=False)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert {key: Learned(7)} == sizes.known
    assert sizes.pending == {}
    bad_size = "a source tells -1 bytes, which no file can have"
    assert [*map(Pending, ("no source tells the size", bad_size, "mirror: does not answer")), None] == reasons


class Kept(dict[str, Learned]):
    """A memory of earlier mounts."""

    def recall(self, key: str) -> Learned | None:
        found = self.get(key)
        return None if found is None else replace(found, remembered=True)

    def keep(self, key: str, learned: Learned) -> None:
        self[key] = learned


def asked_for(entry: Entry, resolve: Callable[[Entry], Awaitable[Learned | None]], kept: Kept) -> dict[float, Learned]:
    """Ask for *entry* for 400 s; return what was known from when on."""
    seen: dict[float, Learned] = {}
    key = size_key(entry)
    sizes = Sizes(resolve, lambda: None, kept)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(sizes.run)
            sizes.ask_for({key: (entry,)})
            start = trio.current_time()
            while trio.current_time() < start + 400:
                found = sizes.known.get(key)
                if found is not None and found != (list(seen.values()) or [None])[-1]:
                    seen[round(trio.current_time() - start, 1)] = found
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    run_long(body)
    return seen


@pytest.fixture
def _inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do in the loop what threads do: a mock clock does not wait for them."""

    async def run_sync(work: Callable[..., object], *arguments: object, limiter: object) -> object:
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.mark.usefixtures("_inline")
@pytest.mark.parametrize("silent", [False, True])
def test_what_an_earlier_mount_learned_is_used_while_nobody_answers(silent: bool) -> None:
    """At once where asking fails, after 3 s where it takes long; asked again until somebody tells."""
    back = 100.0
    unsized = an_entry("b.iso", "?")

    async def resolve(entry: Entry) -> Learned | None:
        if trio.current_time() > back:  # the mock clock begins at 0
            return Learned(8)
        if silent:
            await trio.sleep_forever()
        raise SourceUnavailable("mirror", "does not answer")

    kept = Kept({size_key(unsized): Learned(7)})
    seen = asked_for(unsized, resolve, kept)
    (first, shown), (later, told) = seen.items()
    assert (shown, told) == (Learned(7, remembered=True), Learned(8))
    assert first - (3.0 if silent else 0.0) < 0.15  # it is looked at each 0.1 s
    assert back < later < 300
    assert kept == {size_key(unsized): Learned(8)}


@pytest.mark.usefixtures("_inline")
def test_what_is_learned_is_kept_and_beats_what_was() -> None:
    """A source that answers in time is believed, not the memory."""
    unsized = an_entry("b.iso", "?")
    kept = Kept({size_key(unsized): Learned(7)})

    async def resolve(entry: Entry) -> Learned | None:
        await trio.sleep(2)
        return Learned(8)

    assert list(asked_for(unsized, resolve, kept).values()) == [Learned(8)]
    assert kept == {size_key(unsized): Learned(8)}


@pytest.mark.usefixtures("_inline")
def test_a_document_that_is_gone_today_still_counts() -> None:
    """Its mirror tells the same size and nothing against it; the document is asked for until it is back."""
    unsized = an_entry("b.iso", "?")
    pieces = PieceDigests("md5", 7, bytes(16))
    kept = Kept({size_key(unsized): Learned(7, pieces=pieces, described=True)})
    better = Learned(7, {"md5": bytes(16)}, pieces=pieces, described=True)

    async def resolve(entry: Entry) -> Learned | None:
        return better if trio.current_time() > 100 else Learned(7)

    seen = list(asked_for(unsized, resolve, kept).values())
    assert seen == [Learned(7, pieces=pieces, described=True, remembered=True), better]
    assert kept == {size_key(unsized): better}


def test_sizes_are_asked_for_eight_at_a_time() -> None:
    """However many there are; who hangs gives up its place in the end."""
    entries = [an_entry(f"{number}", "?") for number in range(20)]
    asking: set[str] = set()
    most = 0

    async def resolve(entry: Entry) -> Learned | None:
        nonlocal most
        asking.add(entry.path.name)
        most = max(most, len(asking))
        try:
            await trio.sleep_forever()
        finally:
            asking.discard(entry.path.name)

    sizes = Sizes(resolve, lambda: None)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(sizes.run)
            sizes.ask_for({size_key(entry): (entry,) for entry in entries})
            await trio.sleep(500)
            assert most == 8
            assert len(sizes.pending) == 20
            sizes.ask_for({})
            assert sizes.pending == {}
            await trio.testing.wait_all_tasks_blocked()
            assert set() == asking
            nursery.cancel_scope.cancel()

    run_long(body)


async def test_the_loop_goes_on_while_descriptors_are_parsed(tmp_path: Path) -> None:
    """Parsing waits for the loop here: it would never end if it were done on it."""
    go = threading.Event()

    def slow(name: str, data: bytes) -> Descriptor:
        assert go.wait(60)
        return parse(name, data)

    put(tmp_path / "b.iso.meta4", "b.iso 1")
    shown = Shown()
    watch = Watch(tmp_path, parse=slow, resolve=never, publish=shown.publish, settings=settings())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        while not watch.statistics().scanning:
            await trio.lowlevel.checkpoint()
        assert not watch.first_scan.is_set()
        go.set()
        await watch.first_scan.wait()
        assert shown.files() == {"b.iso": 1}
        nursery.cancel_scope.cancel()


async def test_a_source_that_hangs_does_not_keep_the_mount_from_ending(tmp_path: Path) -> None:
    """Cancelling leaves the thread behind."""
    go = threading.Event()
    started = threading.Event()

    def hanging(name: str, data: bytes) -> Descriptor:
        started.set()
        assert go.wait(55)
        return parse(name, data)

    put(tmp_path / "b.iso.meta4", "b.iso 1")
    watch = Watch(tmp_path, parse=hanging, resolve=never, publish=Shown().publish, settings=settings())
    begin = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.to_thread.run_sync(started.wait)
        nursery.cancel_scope.cancel()
    go.set()

    assert time.monotonic() - begin < 50


def inotify_queues() -> int:
    numbers = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(path) == "anon_inode:inotify" for path in numbers if os.path.lexists(path))


async def test_nothing_of_the_kernels_is_kept(tmp_path: Path) -> None:
    """The queue of reports is closed with the watch."""
    before = inotify_queues()
    async with watching(tmp_path) as (watch, _):
        assert before + 1 == inotify_queues()
    assert watch.first_scan.is_set()
    assert before == inotify_queues()


async def test_a_folder_that_is_in_use_is_left_in_peace(tmp_path: Path) -> None:
    """Reports about other files, however many, neither list nor parse anything."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    async with watching(tmp_path) as (_, shown):
        with (tmp_path / "movie.mkv").open("wb", buffering=0) as file:
            for _ in range(1000):
                file.write(b"x" * 100)
        put(tmp_path / "c.iso.meta4", "c.iso 1")
        await shown.until({"b.iso": 1, "c.iso": 1})
        assert shown.count == 2


async def test_a_bug_in_building_leaves_the_last_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The mount lives on and says so."""
    put(tmp_path / "b.iso.meta4", "b.iso 1")
    async with watching(tmp_path) as (watch, shown):

        def broken(*arguments: object, **more: object) -> Built:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(watch_module, "build", broken)
            put(tmp_path / "c.iso.meta4", "c.iso 1")
            with trio.fail_after(50):
                while watch.statistics().error is None:
                    await trio.lowlevel.checkpoint()
        assert shown.files() == {"b.iso": 1}
        put(tmp_path / "d.iso.meta4", "d.iso 1")
        await shown.until({"b.iso": 1, "c.iso": 1, "d.iso": 1})


def test_a_refusal_keeps_its_exit_status(tmp_path: Path) -> None:
    """A bad magnet ends with 27, a bad torrent with 26, whoever reads it."""
    from mountdl.descriptors import parse as parse_any

    for name, text, status in (
        ("a.magnet", "magnet:?dn=x", ExitStatus.BAD_MAGNET),
        ("a.torrent", "dx", ExitStatus.BAD_TORRENT),
    ):
        (tmp_path / name).write_text(text)
        document = read(str(tmp_path / name), name, parse_any).document
        assert document is not None
        assert isinstance(document.said, DescriptorError)
        assert document.said.exit_status is status
        with pytest.raises(UsageError) as caught:
            find_place(tmp_path / name, frozenset({".magnet", ".torrent"}), (), parse_any)
        assert caught.value.exit_status is status
