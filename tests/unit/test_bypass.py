"""Past the page cache: whatever kernel, file system and disk can, right bytes, and never more than was asked."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mountdl.extents import Extent
from mountdl.pages import PAGE, aligned, padded, starts_page
from mountdl.store.bypass import REST, SLOW, Bypass
from tests.support.content import pattern

SIZE = 8 * PAGE + 1234
BYTES = pattern(SIZE)


class Clock:
    """Seconds that pass by *step* at each look."""

    def __init__(self) -> None:
        self.now, self.step = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Watched:
    """A file, and the flags of each way that was opened to it."""

    def __init__(self, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fd, self.opened, self.refuse = fd, list[int](), 0
        real = os.open

        def noted(path: str, flags: int, mode: int = 0o777) -> int:
            self.opened.append(flags)
            if self.refuse:
                raise OSError(self.refuse, "not now")
            return real(path, flags, mode)

        monkeypatch.setattr(os, "open", noted)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield Watched(fd, monkeypatch)
    os.close(fd)


@pytest.fixture
def bypass() -> Iterator[Bypass]:
    made = Bypass(Clock())
    yield made
    made.close()


def memory(data: bytes) -> memoryview:
    view = aligned(padded(len(data)))
    view[:] = data
    return view


def test_memory_for_it_begins_where_a_page_does() -> None:
    """Whatever its length; a view from the middle of a page does not, and what is read-only is not asked."""
    for length in (1, PAGE, SIZE):
        view = aligned(padded(length))
        assert len(view) == length
        assert starts_page(view)
    assert not starts_page(view[1:])
    assert not starts_page(memoryview(bytes(view)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, SIZE - 1), st.integers(1, SIZE), st.booleans(), st.booleans())
def test_what_it_says_it_wrote_is_there_and_nothing_else(
    tmp_path: Path, offset: int, length: int, on_page: bool, awaited: bool
) -> None:
    """From any memory to any place: the beginning of what was asked, as much as it says."""
    offset = offset // PAGE * PAGE if on_page else offset
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.pwrite(fd, bytes(2 * SIZE), 0)
    bypass = Bypass()
    done = bypass.write(fd, memory(BYTES[:length]), offset, awaited=awaited)
    bypass.close()

    expected = bytearray(2 * SIZE)
    expected[offset : offset + done] = BYTES[:done]
    assert 0 <= done <= length
    assert os.pread(fd, 2 * SIZE, 0) == expected
    os.close(fd)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, SIZE), st.integers(0, SIZE))
def test_what_it_reads_is_what_is_there(tmp_path: Path, one: int, other: int) -> None:
    """Any extent, on pages or not, up to the last byte; what a file does not have is not made up."""
    extent = Extent(min(one, other), max(one, other) + 1)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.pwrite(fd, BYTES, 0)
    found = Bypass().read(fd, extent)

    if extent.stop <= SIZE:
        assert found is None or found == BYTES[extent.start : extent.stop]
    else:
        assert found is None
    os.close(fd)


def test_who_waits_for_the_bytes_waits_for_no_disk(file: Watched, bypass: Bypass) -> None:
    """They go by the kernel's own cache, if not for long."""
    bypass.write(file.fd, memory(BYTES[:PAGE]), 0, awaited=True)
    assert file.opened == []
    bypass.write(file.fd, memory(BYTES[:PAGE]), 0)
    assert len(file.opened) == 1


def test_what_is_opened_for_writing_is_kept_until_it_is_closed(file: Watched, bypass: Bypass) -> None:
    """By however many threads; to write after that opens it anew."""
    view = memory(BYTES[:PAGE])
    bypass.write(file.fd, view, 0)
    threads = [threading.Thread(target=bypass.write, args=(file.fd, view, place * PAGE)) for place in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file.opened) == 1
    assert os.pread(file.fd, 9 * PAGE, 0) in {BYTES[:PAGE] * count for count in range(1, 10)}

    bypass.close()
    bypass.close()
    bypass.write(file.fd, view, 0)
    assert len(file.opened) == 2


@pytest.mark.parametrize("missing", [errno.EINVAL, errno.ENOENT, errno.EROFS, errno.EACCES])
def test_a_file_system_that_can_not_is_asked_once(file: Watched, missing: int) -> None:
    """Nor one where no descriptor can be opened anew: no /proc, not ours, or nothing may be written any more."""
    file.refuse = missing
    bypass = Bypass()
    for _ in range(3):
        bypass.write(file.fd, memory(BYTES[:PAGE]), 0)
        bypass.read(file.fd, Extent(0, PAGE))
    assert len(file.opened) == 1


def test_a_crowded_moment_is_no_verdict(file: Watched) -> None:
    """Where all descriptors are in use there may be one the next time."""
    file.refuse = errno.EMFILE
    bypass = Bypass()
    bypass.write(file.fd, memory(BYTES[:PAGE]), 0)
    bypass.write(file.fd, memory(BYTES[:PAGE]), 0)
    assert len(file.opened) == 2


def test_a_slow_disk_is_left_to_the_kernel_for_a_while(file: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hiccup says nothing; many slow writes do, until it is tried again."""
    clock, written, real = Clock(), list[int](), os.pwrite
    bypass = Bypass(clock)

    def noted(fd: int, data: Any, offset: int) -> int:
        written.append(fd)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", noted)

    def write() -> int:
        written.clear()
        bypass.write(file.fd, memory(BYTES[:PAGE]), 0)
        return len(written)

    clock.step = 4 * PAGE / SLOW
    assert write() == 1
    clock.step = 0.0
    assert write() == 1
    clock.step = 4 * PAGE / SLOW
    assert sum(write() for _ in range(20)) < 20
    clock.step = 0.0
    assert write() == 0
    clock.now += REST
    assert write() == 1
    bypass.close()


def test_a_disk_that_fails_is_heard_of(file: Watched, bypass: Bypass, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no question of what can be done is not hidden."""

    def broken(fd: int, data: Any, offset: int) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match="broken"):
        bypass.write(file.fd, memory(BYTES[:PAGE]), 0)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_what_can_not_be_read_past_the_page_cache_may_be_in_it(
    file: Watched, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that failed has often still all that was read of it before: then nothing is lost."""

    def broken(*_: Any) -> int:
        raise OSError(number, "broken")

    os.pwrite(file.fd, BYTES, 0)
    monkeypatch.setattr(os, "preadv", broken)
    assert Bypass().read(file.fd, Extent(0, SIZE)) is None


def test_a_file_system_that_became_read_only_is_still_read_past_the_page_cache(
    file: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ext4 does after an error of the disk: what is asked for reading is not asked for writing."""
    Bypass().read(file.fd, Extent(0, PAGE))
    assert [flags & os.O_ACCMODE for flags in file.opened] == [os.O_RDONLY]


def test_a_disk_without_room_for_the_moment_is_no_verdict(
    file: Watched, bypass: Bypass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As btrfs says where room is short: what is left to do is the page cache's, and the next time is another."""
    tried = list[int]()

    def crowded(fd: int, *_: Any) -> int:
        tried.append(fd)
        raise OSError(errno.EAGAIN, "not now")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", crowded)
        patched.setattr(os, "pwritev", crowded)
        assert bypass.write(file.fd, memory(BYTES[:PAGE]), 0) == 0
        first = tried.count(file.fd), len(tried) - tried.count(file.fd)
        assert bypass.write(file.fd, memory(BYTES[:PAGE]), 0) == 0
    assert first == (1, 1)
    assert tried[:2] == tried[2:]


def test_one_thread_finds_out_whether_a_disk_is_slow(
    file: Watched, bypass: Bypass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others leave it to the kernel meanwhile: else each would wait for the disk, and a reader for all."""
    real, begun, go = os.pwrite, threading.Event(), threading.Event()
    asked = list[int]()

    def slow(fd: int, data: Any, offset: int) -> int:
        asked.append(offset)
        begun.set()
        assert go.wait(60)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    first = threading.Thread(target=bypass.write, args=(file.fd, memory(BYTES[:PAGE]), 0))
    first.start()
    assert begun.wait(60)
    bypass.write(file.fd, memory(BYTES[:PAGE]), PAGE)
    assert asked == [0]
    go.set()
    first.join()
    bypass.write(file.fd, memory(BYTES[:PAGE]), PAGE)
    assert asked == [0, PAGE]
