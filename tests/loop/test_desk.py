"""What a mount answers to who waits for a file."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from mountdl.catalog.build import build
from mountdl.catalog.document import Document
from mountdl.catalog.tree import Inodes
from mountdl.catalog.watch import Statistics
from mountdl.content import content_of
from mountdl.control.desk import Desk
from mountdl.descriptors.model import Descriptor
from mountdl.errors import ExitStatus, SourceError, SourceRefused, SourceUnavailable, UsageError
from mountdl.settings import MountSettings
from tests.support.content import entry, pattern
from tests.support.engines import Bench, running
from tests.support.fakes import FakeSource, failing

DATA = pattern(100)
NAME = "file.bin"
ONE, TWO = "fake://a", "fake://b"


def desk(bench: Bench, *documents: Document) -> Desk:
    """Return that of a mount of *documents*, else of one file, which `ONE` and `TWO` have."""
    said = Document("x.meta4", 0, Descriptor("metalink4", (entry(DATA, urls=(ONE, TWO)),)))
    watch = SimpleNamespace(built=build(documents or [said], Inodes(), {}), statistics=Statistics)
    mount = MountSettings(source="/source", mountpoint=Path("/mount"))
    return Desk(mount, 1, watch, bench.engine, lambda: None)  # type: ignore[arg-type]  # of a watch it needs the tree


def refusing(error: SourceError) -> dict[str, FakeSource]:
    return {url: FakeSource(DATA, url, fault=failing(error)) for url in (ONE, TWO)}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SourceRefused("m", "answered 404"), ExitStatus.NOT_FOUND),
        (SourceRefused("m", "unable to get local issuer certificate"), ExitStatus.IO),
        (SourceUnavailable("m", "silent for 10 s"), ExitStatus.TIMEOUT),
    ],
)
async def test_a_wait_ends_once_no_source_is_left(
    error: SourceError, status: ExitStatus, tmp_path: Path, clock: MockClock
) -> None:
    """With what they answered and the status of that; it waited for ever."""
    async with running(tmp_path, refusing(error)) as bench:
        with trio.fail_after(600), pytest.raises(UsageError) as told:
            await desk(bench).want(NAME, "all", math.inf)
        assert str(told.value) == (
            f"{NAME} does not come: no source is left: {ONE}: {error.reason}; {TWO}: {error.reason}"
        )
        assert told.value.exit_status is status


async def test_who_waits_has_those_asked_again_that_refused(tmp_path: Path, clock: MockClock) -> None:
    """What was put right meanwhile is found, not what they said before; who sent wrong bytes stays out of it."""
    sources = refusing(SourceRefused("m", "answered 404"))
    sources[TWO].fault = lambda source, offset: bytes(len(DATA))
    async with running(tmp_path, sources) as bench:
        asked = desk(bench)
        with pytest.raises(UsageError, match="answered 404"):
            await asked.want(NAME, "all", 60)
        liar = len(sources[TWO].fetched)
        sources[ONE].fault = lambda source, offset: None
        started = trio.current_time()
        await asked.want(NAME, "all", math.inf)
        assert trio.current_time() - started < 5
        assert len(sources[TWO].fetched) == liar


async def test_who_waits_for_what_is_paused_is_told(tmp_path: Path, clock: MockClock) -> None:
    """Nothing of it comes before it is to go on: it waited for ever, without a word. What is complete needs nothing."""
    async with running(tmp_path, {url: FakeSource(DATA, url) for url in (ONE, TWO)}) as bench:
        asked, outline = desk(bench), content_of(entry(DATA, urls=(ONE, TWO)), len(DATA))
        bench.engine.pause(outline, on=True)
        assert (await asked.status(NAME))["files"][0]["paused"] is True  # type: ignore[call-overload,index]
        with pytest.raises(UsageError, match=r"file\.bin is paused: setfattr -n user\.mountdl\.pause -v 0"):
            await asked.want(NAME, "all", 60)
        bench.engine.pause(outline, on=False)
        assert (await asked.status(NAME))["files"][0]["paused"] is False  # type: ignore[call-overload,index]
        await asked.want(NAME, "all", 60)
        bench.engine.pause(outline, on=True)
        await asked.want(NAME, "all", 60)


async def test_a_source_that_is_back_in_time_ends_no_wait(tmp_path: Path, clock: MockClock) -> None:
    """It failed, and one that may do yet is no reason to give up."""
    sources = refusing(SourceRefused("m", "answered 404"))

    def back(source: FakeSource, offset: int) -> None:
        if len(source.fetched) < 3:
            raise SourceUnavailable("m", "reset")

    sources[TWO].fault = back
    async with running(tmp_path, sources) as bench:
        await desk(bench).want(NAME, "all", math.inf)


async def test_the_status_of_a_folder_is_that_of_all_below_it(tmp_path: Path, clock: MockClock) -> None:
    """Of a file it is its own; of what is not there, a sentence."""
    said = Descriptor("metalink4", (entry(DATA, urls=(ONE, TWO)),))
    documents = [Document(f"{folder}x.meta4", 0, said) for folder in ("", "a/", "a/b/", "ab/")]
    async with running(tmp_path, {ONE: FakeSource(DATA), TWO: FakeSource(DATA)}) as bench:
        asked = desk(bench, *documents)
        for path, below in ((None, 4), ("a", 2), ("a/b", 1), (f"a/{NAME}", 1)):
            files = (await asked.status(path))["files"]
            assert isinstance(files, list)
            assert len(files) == below
            assert all(each["path"].startswith(path or "") for each in files)
        with pytest.raises(UsageError, match="is not in the mount"):
            await asked.status("b")
