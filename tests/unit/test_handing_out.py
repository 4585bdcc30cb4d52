"""A finished file is handed out whole or not at all, on whatever file system its place is."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from mountdl.content import ContentKey
from mountdl.control import handing_out, logs
from mountdl.control.cli import Jobs, main
from mountdl.control.handing_out import handed_out
from mountdl.errors import ExitStatus, UsageError
from mountdl.extents import Extent
from mountdl.integrity import Digest
from mountdl.store import Store, Stored
from mountdl.store.kernel import punch_hole
from mountdl.store.place import Place
from mountdl.store.sums import LEAF
from tests.support.content import flip

SIZE = 3 * LEAF + 1000
DATA = os.urandom(SIZE)
KEY = ContentKey("pieces-x")
FINGERPRINT = f"sha-256/{LEAF}/{SIZE}/0"
WHOLE = Extent(0, SIZE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def stored(store: Store) -> Stored:
    made = store.open(KEY, SIZE, FINGERPRINT)
    made.write(0, DATA)
    made.mark_verified(WHOLE)
    return made


@pytest.fixture
def source(store: Store, stored: Stored) -> Place:
    return Place(store.directory / "contents", KEY)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def failing(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def nobody(_: int) -> None:
    """Hear of nothing."""


def come_back(stored: Stored) -> None:
    """Fetch what was evicted."""
    stored.write(LEAF, DATA[LEAF : 2 * LEAF])
    stored.mark_verified(Extent(LEAF, 2 * LEAF))


def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it copied leaf by leaf, on file systems with reflinks too."""
    monkeypatch.setattr(handing_out, "STEP", LEAF)
    monkeypatch.setattr(handing_out, "_reflinked", lambda *_: False)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_is_complete_is_handed_out_at_once(source: Place, stored: Stored, out: Path, checkpoint: bool) -> None:
    """Whether a checkpoint has come or not; a file without a name is in nobody's way until it is whole."""
    if checkpoint:
        stored.checkpoint()
    names: list[str] = []
    told = handed_out(source, None, out / "a.bin", lambda _: names.extend(os.listdir(out)))
    assert told is not None
    assert (out / "a.bin").read_bytes() == DATA
    assert not any(name == "a.bin" for name in names)
    assert (out / "a.bin").stat().st_nlink == 1
    with pytest.raises(UsageError, match="is there already"):
        handed_out(source, None, out / "a.bin", nobody)
    assert os.listdir(out) == ["a.bin"]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_made_room_before_is_not_handed_out(source: Place, stored: Stored, out: Path, checkpoint: bool) -> None:
    """Its record said that it was complete, and holes read as zeros; no digest of the whole could tell."""
    if checkpoint:
        stored.checkpoint()
    stored.evict(Extent(LEAF, 2 * LEAF))
    assert handed_out(source, None, out / "a.bin", nobody) is None
    assert handed_out(source, Digest("sha-256", sha256(DATA).digest()), out / "a.bin", nobody) is None
    come_back(stored)
    assert handed_out(source, Digest("sha-256", sha256(DATA).digest()), out / "a.bin", nobody) is not None
    assert (out / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("back", [False, True])
def test_what_makes_room_meanwhile(
    source: Place, stored: Stored, out: Path, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """Right before it is copied; it may come back right behind that."""
    in_small_steps(monkeypatch)
    steps: list[int] = []

    def tell(count: int) -> None:
        steps.append(count)
        if len(steps) == 1:
            stored.evict(Extent(LEAF, 2 * LEAF))
        elif len(steps) == 2 and back:
            come_back(stored)

    told = handed_out(source, None, out / "a.bin", tell)
    assert (told is not None) is back
    assert os.listdir(out) == ["a.bin"] * back
    assert not back or (out / "a.bin").read_bytes() == DATA


def test_zeros_that_a_file_system_makes_holes_of_are_no_loss(store: Store, out: Path) -> None:
    """As ZFS does with what it compresses: our own sums tell them from what went."""
    key, size = ContentKey("pieces-zeros"), 2 * LEAF
    stored = store.open(key, size, "x")
    stored.write(0, bytes(size))
    stored.checkpoint()
    with stored.path.open("r+b") as file:
        punch_hole(file.fileno(), 0, LEAF)
    assert handed_out(Place(store.directory / "contents", key), None, out / "a.bin", nobody) is not None
    assert (out / "a.bin").read_bytes() == bytes(size)


@pytest.mark.parametrize("whole", [False, True])
def test_what_rotted_is_not_handed_out(source: Place, stored: Stored, out: Path, whole: bool) -> None:
    """Also where no digest of the whole is known: what was stored had a sum."""
    stored.checkpoint()
    flip(stored.path, 2 * LEAF + 7)
    digest = Digest("sha-256", sha256(DATA).digest()) if whole else None
    with pytest.raises(UsageError, match="is not sound") as told:
        handed_out(source, digest, out / "a.bin", nobody)
    assert told.value.exit_status is ExitStatus.CHECKSUM
    assert os.listdir(out) == []


def test_what_waits_for_its_verdict_is_not_finished(
    store: Store, stored: Stored, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it is there, but a chunk may be a liar's; once it was judged it is handed out."""
    other = ContentKey("pieces-y")
    judged = store.open(other, SIZE, FINGERPRINT)
    judged.write(0, DATA)
    judged.mark_verified(Extent(0, LEAF))
    judged.checkpoint()
    given = ["cache", "export", "--cache-dir", str(store.directory), other, str(out / "a.bin")]
    assert main(given, JOBS) == ExitStatus.BAD_OPTION
    assert "is not complete in the cache" in capsys.readouterr().err
    judged.mark_verified(WHOLE)
    judged.checkpoint()
    assert main(given, JOBS) == 0
    assert (out / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_files_have_one_name_and_no_modes(
    source: Place, out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """FAT, as on most sticks: link(2) and chmod(2) say EPERM there. What is there already stays."""
    monkeypatch.setattr(handing_out, "_nameless", lambda _: None)
    monkeypatch.setattr(os, "link", failing(number))
    monkeypatch.setattr(os, "fchmod", failing(errno.EPERM))
    target = out / "out.bin"
    assert handed_out(source, None, target, nobody) is not None
    assert target.read_bytes() == DATA

    target.write_bytes(b"other")
    with pytest.raises(UsageError, match="is there already"):
        handed_out(source, None, target, nobody)
    assert target.read_bytes() == b"other"
    assert os.listdir(out) == ["out.bin"]


def test_a_place_that_is_missing_is_named(source: Place, out: Path) -> None:
    """Not by the name that the file has while it is written."""
    with pytest.raises(UsageError, match=r"can't write .*/none/out\.bin: No such file") as told:
        handed_out(source, None, out / "none" / "out.bin", nobody)
    assert told.value.exit_status is ExitStatus.IO


def test_a_log_that_is_rotated_is_begun_anew(tmp_path: Path) -> None:
    """Else the daemon would write to the old one until its end. One whose folder is gone ends nothing."""
    root = logging.getLogger()
    before, level, loud = list(root.handlers), root.level, logging.raiseExceptions
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "log"
    try:
        logs.set_up(file, "info", foreground=False)
        for word in ("one", "two"):
            logging.getLogger("mountdl").warning(word)
            file.rename(tmp_path / word)
        assert [(tmp_path / word).read_text().split()[-1] for word in ("one", "two")] == ["one", "two"]
        shutil.rmtree(folder)
        for _ in range(2):
            logging.getLogger("mountdl").warning("lost")
        folder.mkdir()
        logging.getLogger("mountdl").warning("three")
        assert file.read_text().split()[-1] == "three"
    finally:
        for handler in root.handlers:
            if handler not in before:
                handler.close()
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("mountdl").setLevel(logging.NOTSET)
        logging.raiseExceptions = loud


def test_a_descriptor_to_adopt_by_is_read_like_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A device without end took all memory, a pipe all time; what is wrong is said with the name."""
    pipe, empty, file = tmp_path / "pipe", tmp_path / "empty.meta4", tmp_path / "file"
    os.mkfifo(pipe)
    for each in (empty, file):
        each.touch()
    for descriptor, status, words in (
        (Path("/dev/zero"), 17, "it is a folder, pipe or device"),
        (pipe, 17, "it is a folder, pipe or device"),
        (tmp_path / "none", 3, "there is no such file"),
        (empty, 20, "the document is empty"),
    ):
        given = ["cache", "adopt", "--cache-dir", str(tmp_path / "c"), str(file), "--descriptor", str(descriptor)]
        assert main(given, JOBS) == status
        assert f"mountdl: {descriptor}: {words}" in capsys.readouterr().err


def _unused(*_: object) -> None:
    raise AssertionError("no mount is wanted")


JOBS = Jobs(_unused, _unused, _unused)
